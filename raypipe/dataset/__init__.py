"""Serve Ray Data programs: features of a pipeline, a scorer for `map_batches`, an exactly-once sink."""
