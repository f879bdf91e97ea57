"""Compute the daily snapshots of user features."""
