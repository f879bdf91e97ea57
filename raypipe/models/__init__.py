"""Fit and score models of the shipped libraries, and define the protocol of a model family."""
