"""Measure drift and write the rows of ml_model_monitoring."""
