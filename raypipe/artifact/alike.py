"""Group the columns of a feature matrix that say almost the same, so that an explanation names each reason once."""

import numpy as np
import numpy.typing as npt

from raypipe.artifact.contract import Contract, Matrix

# The absolute rank correlation from which two columns are near-duplicates, and the rows that it is measured on.
ALIKE = 0.9
SAMPLE_ROWS = 20_000

Groups = tuple[tuple[str, ...], ...]


def groups(x: Matrix, contract: Contract) -> Groups:
    """Return the groups of two or more columns that are near-duplicates, in the order of the matrix.

    The columns of a one-hot category are one group. Of the other columns, any two of a group have a rank correlation
    (Spearman's) of at least ALIKE, whatever its sign; a missing value ranks below all others.

    Args:
        x: rows of the training part, (rows, features).
    """
    categories = [feature.columns for feature in contract.features if len(feature.columns) > 1]
    single = [feature.columns[0] for feature in contract.features if len(feature.columns) == 1]
    places = {name: place for place, name in enumerate(contract.columns)}
    alike = np.abs(_correlations(x[:SAMPLE_ROWS, [places[name] for name in single]])) >= ALIKE
    found: list[list[int]] = []
    for column in range(len(single)):
        group = next((group for group in found if alike[column, group].all()), None)
        if group is None:
            found.append([column])
        else:
            group.append(column)
    named = [tuple(single[column] for column in group) for group in found if len(group) > 1]
    return tuple(sorted((*named, *categories), key=lambda group: places[group[0]]))


def numbers(columns: tuple[str, ...], alike: Groups) -> npt.NDArray[np.intp]:
    """Return the number of each column's group; a column without a group has a number of its own."""
    first = {name: group[0] for group in alike for name in group}
    leaders = [first.get(name, name) for name in columns]
    return np.array([leaders.index(name) for name in leaders], np.intp)


def _correlations(x: Matrix) -> npt.NDArray[np.float64]:
    """Return the rank correlations of the columns, (columns, columns); 0 for a constant column."""
    ranks = np.stack([_ranks(x[:, column]) for column in range(x.shape[1])]) if x.size else np.zeros((x.shape[1], 1))
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(axis=1))
    ranks /= np.where(lengths > 0, lengths, np.inf)[:, None]
    return ranks @ ranks.T


def _ranks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the ranks of the values, equal for equal values."""
    known = np.where(np.isnan(values), -np.inf, values)
    _, places, counts = np.unique(known, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
