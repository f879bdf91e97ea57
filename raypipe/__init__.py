"""raypipe: train, score and publish models over ClickHouse with Ray, exactly once."""

__version__ = "0.1.0"
