"""Snapshots of user features: a day computed from the sessions, and what its users read and did lately."""
