"""Fit and score recommenders of articles."""
