"""Assign units to arms, compare the arms by one pass of aggregates, and evaluate policies on logged actions."""
