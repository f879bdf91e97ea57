"""Run a fair contest: one population, fresh processes, and the same rows required of every contender."""
