"""Prove what was published: explain one prediction again, and audit the features of an earlier date."""
