"""The command line: the only part of raypipe that prints or exits."""

from raypipe.cli.main import app, main

__all__ = ["app", "main"]
