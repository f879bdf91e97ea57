"""Contract suites that the tests of one's own models can inherit."""
