"""From ClickHouse to feature matrices: contract, slices, Ray Data source, splits and loaders."""
