"""Choose the number of slices of a population."""

# Each slice costs some 25 ms of tables, ledger and waiting, which larger slices save; fewer than four leave cores
# without work at the end.
FEWEST_SLICES, SMALLEST_SLICE, LARGEST_SLICE = 4, 250_000, 500_000


def slices_of(rows: int, slice_rows: int | None) -> int:
    """Return the number of slices for some rows; without a number of rows per slice, one that suits them."""
    each = slice_rows or min(LARGEST_SLICE, max(SMALLEST_SLICE, rows // FEWEST_SLICES))
    return -(-rows // each)
