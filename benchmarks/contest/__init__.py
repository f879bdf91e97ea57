"""What makes a fair contest: one population, fresh processes, the same rows demanded of everyone."""
