"""Create, compare and clean up tables."""
