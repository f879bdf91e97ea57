"""Profile any ClickHouse database: its tables, their quality, and how they relate."""
