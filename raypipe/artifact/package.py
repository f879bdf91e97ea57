"""What is inside a model's artifact: the model, its contract, its bins, its decisions and its golden rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact import files, golden
from raypipe.artifact.bins import Bins
from raypipe.artifact.contract import Contract, Matrix
from raypipe.artifact.imports import without
from raypipe.errors import ModelError
from raypipe.models.protocol import Model, Rows, WideModel, answer, load_family

OURS = ("decision.json", "contract.json", "histograms.json", "evaluation.json", "golden.arrow")
GOLDEN_ROWS = 256
GOLDEN_TOLERANCE = 1e-5

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Card:
    """What a model version reads and how its scores are used: all of its artifact but the model.

    Attributes:
        family: the dotted path of the class that fitted it.
        threshold: the score from which the answer is yes; chosen on validation rows.
        levels: name and upper bound of each level of the score, ascending; may be empty.
        outputs: the columns of the model's answers beside the score, with their ClickHouse types.
        values: what publish.sql may bind of the model.
    """

    family: str
    contract: Contract
    bins: Bins
    threshold: float
    levels: tuple[tuple[str, float], ...]
    outputs: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    values: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class Package(Card):
    """A model version, ready to score."""

    model: Model


def pack(package: Package, golden_rows: Matrix | Rows, evaluation: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of an artifact.

    Args:
        package: the model and what it needs.
        golden_rows: rows whose scores are stored with the model, as a matrix (rows, features) or with their inputs;
            the first 256 count.
        evaluation: the metrics of the fit, kept with the model.
    """
    wide = package.model if isinstance(package.model, WideModel) else None
    decision = {
        "family": package.family,
        "threshold": package.threshold,
        "levels": package.levels,
        "outputs": dict(wide.outputs) if wide else {},
        "values": dict(wide.values) if wide else {},
    }
    rows = golden_rows if isinstance(golden_rows, Rows) else Rows(golden_rows, {}, golden.ANY_DAY)
    inputs = {name: column[:GOLDEN_ROWS] for name, column in rows.inputs.items()}
    rows = Rows(rows.x[:GOLDEN_ROWS], inputs, rows.at)
    return {
        **package.model.files(),
        "decision.json": _json(decision),
        "contract.json": _json(package.contract.to_json()),
        "histograms.json": _json(package.bins.to_json()),
        "evaluation.json": _json(evaluation),
        "golden.arrow": golden.golden(rows, answer(package.model, rows).scores),
    }


def load_card(uri: str, sha256: str) -> Card:
    """The card of an artifact, after every byte was verified; a model's library takes a second to import.

    Raises:
        ModelError: a byte differs, or a file is missing.
    """
    return _card(files.load(uri, sha256))


def load_package(uri: str, sha256: str, *, only_scores: bool = False) -> Package:
    """The model of an artifact, after every byte was verified and the golden rows were scored again.

    Args:
        uri: where it is.
        sha256: its digest in the registry.
        only_scores: whether this process does nothing else, so that what its family scores without is not loaded.

    Raises:
        ModelError: a byte differs, a file is missing, or this machine scores the golden rows differently.
    """
    return unpack(files.load(uri, sha256), only_scores=only_scores)


def unpack(files: Mapping[str, bytes], *, only_scores: bool = False) -> Package:
    """The model of an artifact's verified files."""
    card = _card(files)
    family = load_family(card.family)
    with without(*family.scores_without if only_scores else ()):
        model = family.from_files({name: body for name, body in files.items() if name not in OURS})
        golden.check_golden(model, files["golden.arrow"], GOLDEN_TOLERANCE)
    return Package(
        card.family,
        card.contract,
        card.bins,
        card.threshold,
        card.levels,
        model,
        outputs=card.outputs,
        values=card.values,
    )


def _card(files: Mapping[str, bytes]) -> Card:
    missing = [name for name in OURS if name not in files]
    if missing:
        raise ModelError("The model's artifact is incomplete", found=f"no {', '.join(missing)}")
    decision = json.loads(files["decision.json"])
    try:
        return Card(
            decision["family"],
            Contract.from_json(json.loads(files["contract.json"])),
            Bins.from_json(json.loads(files["histograms.json"])),
            float(decision["threshold"]),
            tuple((name, float(bound)) for name, bound in decision["levels"]),
            outputs=decision["outputs"],
            values=decision["values"],
        )
    except KeyError as error:
        raise ModelError(
            "The model's artifact is of another version of raypipe",
            found=f"no {error} in it",
            next_step="fit a new version, or score with the raypipe that fitted it",
        ) from error


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
