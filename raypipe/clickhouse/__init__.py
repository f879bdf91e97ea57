"""Everything that talks to ClickHouse; the only package that imports its driver."""
