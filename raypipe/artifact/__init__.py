"""Pack, store, verify and load the files of a model version."""
