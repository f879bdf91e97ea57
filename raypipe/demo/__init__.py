"""The synthetic publisher: a database with a known truth, to try raypipe on and to test it against."""

from raypipe.demo.publisher import Summary, build

__all__ = ["Summary", "build"]
