"""Cluster readers into segments, and describe each segment."""
