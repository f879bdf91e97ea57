"""Watching published models: drift from the scoring pass itself."""
