"""Tell others about a night: alerts for receivers, metrics for Prometheus."""
