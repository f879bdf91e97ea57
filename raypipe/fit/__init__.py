"""Fit a model version: recipe, training table, trainer, rivals, registration."""
