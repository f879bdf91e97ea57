"""Promote, roll back, prune and export model versions."""
