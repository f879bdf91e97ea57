"""Build the synthetic publisher: a database with a known truth, to try raypipe and to test it."""

from raypipe.demo.publisher import Summary, build

__all__ = ["Summary", "build"]
