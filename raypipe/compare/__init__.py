"""Fit simpler models beside a champion and compare them on the same rows."""
