"""Read ClickHouse in slices: their bounds, the Ray Data source, and the split of snapshots."""
