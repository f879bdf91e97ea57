"""Measure models: metrics, intervals, trivial baselines, and the decision to promote."""
