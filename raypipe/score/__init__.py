"""Score a population in slices and publish it exactly once."""
