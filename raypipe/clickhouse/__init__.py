"""Talk to ClickHouse. No other package imports its driver."""
