"""Load tables into a notebook, and save predictions made there."""
