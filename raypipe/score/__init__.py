"""Scoring a population and publishing it once: manifest, lock, slices, staging, ledger, gate, swap."""
