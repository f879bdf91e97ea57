"""Profiles any ClickHouse database: what stands in it, what can be trusted, and how its tables hang together."""
