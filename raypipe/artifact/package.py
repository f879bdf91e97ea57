"""Pack a model with its contract, bins, decisions and golden rows into an artifact, and load it again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raypipe.artifact import golden, stores
from raypipe.artifact.alike import Groups
from raypipe.artifact.bins import Bins
from raypipe.artifact.contract import Contract, Matrix
from raypipe.artifact.imports import without
from raypipe.clickhouse.client import Client
from raypipe.errors import ModelError
from raypipe.models.model import CompilableModel, Model, Rows, WideModel, answer
from raypipe.models.protocol import load_family

OURS = ("decision.json", "contract.json", "histograms.json", "evaluation.json", golden.FILE)
GOLDEN_ROWS = 256


@dataclass(frozen=True)
class Card:
    """The description of a model: its columns, bins, threshold and levels.

    Attributes:
        family: the dotted path of the class that fitted the model.
        threshold: the score from which the answer is yes; chosen on validation rows.
        levels: name and upper bound of each level of the score, ascending; may be empty.
        score_range: the lowest and the highest score that may be published; None for any finite number.
        outputs: the columns of the model's answers beside the score, with their ClickHouse types.
        values: the model's own values that publish.sql may bind.
        alike: groups of near-duplicate columns, each one reason in an explanation.
    """

    family: str
    contract: Contract
    bins: Bins
    threshold: float
    levels: tuple[tuple[str, float], ...]
    score_range: tuple[float, float] | None = field(default=None, kw_only=True)
    outputs: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    values: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    alike: Groups = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Package(Card):
    """A model version, ready to score."""

    model: Model


def pack(package: Package, golden_rows: Matrix | Rows, evaluation: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of an artifact.

    Args:
        golden_rows: rows to score again at each loading, as a matrix (rows, features) or with their inputs; the first
            GOLDEN_ROWS are kept.
    """
    wide = package.model if isinstance(package.model, WideModel) else None
    decision = {
        "family": package.family,
        "threshold": package.threshold,
        "levels": package.levels,
        "score_range": package.score_range,
        "outputs": dict(wide.outputs) if wide else {},
        "values": dict(wide.values) if wide else {},
        "alike": package.alike,
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
        golden.FILE: golden.golden(rows, answer(package.model, rows).scores),
    }


def load_card(uri: str, sha256: str, client: Client | None, *, pipeline: str = "", version: str = "") -> Card:
    """Load the card of an artifact without its model, whose library takes a second to import.

    Args:
        client: the ClickHouse with the registry; None where the artifact is known to be in a folder.

    Raises:
        ModelError: a byte differs, a file is missing, or the artifact has another format.
    """
    return _card(stores.at(uri, client).open(sha256, pipeline=pipeline, version=version))


def load_package(
    uri: str,
    sha256: str,
    client: Client | None,
    *,
    pipeline: str = "",
    version: str = "",
    only_scores: bool = False,
    compiled: bool = False,
) -> Package:
    """Load a model after verifying every byte and scoring its golden rows again.

    Args:
        client: the ClickHouse with the registry; None where the artifact is known to be in a folder.
        only_scores: leave out the modules that the family needs for fitting alone.
        compiled: predict by compiled code if the model allows it.

    Raises:
        PredictorDiffers: compiled code scores the golden rows otherwise than the library.
        ModelError: a byte differs, a file is missing, the artifact has another format, or this machine scores the
            golden rows differently.
    """
    verified = stores.at(uri, client).open(sha256, pipeline=pipeline, version=version)
    return unpack(verified, only_scores=only_scores, compiled=compiled)


def unpack(files: Mapping[str, bytes], *, only_scores: bool = False, compiled: bool = False) -> Package:
    """Return the model of an artifact's verified files."""
    card = _card(files)
    family = load_family(card.family)
    with without(*family.scores_without if only_scores else ()):
        model = family.from_files({name: body for name, body in files.items() if name not in OURS})
        if compiled and isinstance(model, CompilableModel):
            model.compile()
        golden.check_golden(model, files[golden.FILE])
    return Package(**vars(card), model=model)


def _card(files: Mapping[str, bytes]) -> Card:
    missing = [name for name in OURS if name not in files]
    if missing:
        raise ModelError("The model's artifact is incomplete", found=f"no {', '.join(missing)}")
    decision = json.loads(files["decision.json"])
    return Card(
        decision["family"],
        Contract.from_json(json.loads(files["contract.json"])),
        Bins.from_json(json.loads(files["histograms.json"])),
        float(decision["threshold"]),
        tuple((name, float(bound)) for name, bound in decision["levels"]),
        score_range=tuple(decision["score_range"]) if decision["score_range"] else None,
        outputs=decision["outputs"],
        values=decision["values"],
        # Artifacts of earlier versions have none.
        alike=tuple(tuple(group) for group in decision["alike"]),
    )


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
