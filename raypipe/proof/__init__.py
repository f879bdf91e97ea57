"""Prove what was published: verify a run, explain one prediction again, and audit the features of an earlier date."""
