"""Fitted models: their artifacts, their rows in the ml_model_* tables, and the aliases that name them."""
