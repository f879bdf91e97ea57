"""Offer contract suites that the tests of your own models can inherit."""
