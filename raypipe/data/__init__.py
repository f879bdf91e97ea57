"""Read ClickHouse in slices: bounds, Ray Data source, and the split of snapshots."""
