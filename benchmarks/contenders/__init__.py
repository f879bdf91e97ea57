"""Score the same rows in other ways. Each contender runs as `python -m contenders.NAME JOB.json`."""
