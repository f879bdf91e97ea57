"""The programs that score the same rows in other ways; each runs as `python -m contenders.NAME JOB.json`."""
