"""Fitting on Ray Train, honest evaluation beside baselines, and the decision to promote."""
