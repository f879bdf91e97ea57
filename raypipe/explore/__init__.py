"""Profile any ClickHouse database: its tables, their quality and their relationships."""
