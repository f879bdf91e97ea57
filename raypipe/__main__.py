"""`python -m raypipe` is the `raypipe` command."""

from raypipe.cli import main

main()
