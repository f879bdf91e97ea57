"""The manifest: the whole plan of a run, frozen before the run begins.

A resumed run reads the manifest and never computes it again, so a config, table or SQL file that changes meanwhile
cannot mix two plans in one run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from raypipe.clickhouse import twins
from raypipe.data.days import end_of_day
from raypipe.data.pin import PinnedTable
from raypipe.data.slices import Slicing
from raypipe.errors import DataError

OWN_COLUMNS = {"score": "Float32", "slice": "UInt32", "chunk": "UInt32", "attempt": "UInt64"}


@dataclass(frozen=True)
class PublishTarget:
    """A table that the run publishes into, and the SELECT that yields its rows.

    Attributes:
        rows: the number of rows that the SELECT must yield, as an aggregate over the staged rows.
        current: a 0/1 column of the table that is 1 only in each entity's newest row, or None.
    """

    table: str
    sql: str
    rows: str = "count()"
    current: str | None = None


@dataclass(frozen=True)
class Manifest:
    """A scoring run, frozen.

    Attributes:
        run_id: also the `batch_id` of the published rows.
        run_at: the run's timestamp, UTC, whole seconds; every published row has it.
        select: the compiled query, with `{slice}` in it.
        source_checksum: the sum of the population's key hashes, modulo 2^64, whatever the order.
        levels: name and upper bound of each level of the score, ascending; may be empty.
        score_range: the lowest and the highest score to publish; None for any finite number.
        inputs: columns of the query that the model gets unchanged.
        outputs: name and ClickHouse type of each column that the model returns beside the score.
        values: the model's values that publish statements may bind.
        snapshot: the run's own copy of the features query, or None.
        pinned: the content of the tables that the query reads; empty where the run reads its own copy.
        features_select: the compiled query of the source where `select` reads the copy, or None.
        direct: whether the rows get the shape of the targets while they are scored; see `portions`.
        slices: columns by whose values the drift is measured as well.
        unseen: the rows with a value that the fit did not have, by category.
        compiled: whether compiled trees may score the run, where the model has such; False once they have differed.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    run_id: str
    run_at: datetime
    pipeline: str
    date: date
    entity_type: str
    entity_id: str
    model_id: str
    model_version: str
    artifact_uri: str
    artifact_sha256: str
    contract_sha256: str
    sql_sha256: str
    keys: tuple[str, ...]
    key_types: tuple[str, ...]
    carry: tuple[str, ...]
    carry_types: tuple[str, ...]
    select: str
    select_parameters: Mapping[str, Any]
    slicing: Slicing
    source_rows: int
    source_checksum: int
    chunk_rows: int
    max_rejected: float
    duplicates: str
    explain_rows: int
    explain_features: int
    threshold: float
    levels: tuple[tuple[str, float], ...]
    score_range: tuple[float, float] | None
    timezone: str
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    values: Mapping[str, Any]
    targets: tuple[PublishTarget, ...]
    snapshot: str | None
    pinned: tuple[PinnedTable, ...]
    features_select: str | None = None
    direct: bool = False
    compiled: bool = False
    slices: tuple[str, ...] = ()
    unseen: Mapping[str, int] = field(default_factory=dict)

    @property
    def day_end(self) -> datetime:
        """Return the end of the run's date in its zone."""
        return end_of_day(self.date, self.timezone)

    @property
    def staged_types(self) -> dict[str, str]:
        """Return the staging table's columns with their types: keys, carried columns, outputs and raypipe's own."""
        kinds = dict(zip((*self.keys, *self.carry), (*self.key_types, *self.carry_types), strict=True))
        return {**kinds, **dict(self.outputs), **OWN_COLUMNS}

    @property
    def staging(self) -> str:
        """Return the name of the run's staging table."""
        return f"raypipe_staging_{self.run_id}"

    @property
    def explanations(self) -> str:
        """Return the name of the run's table of explanations."""
        return f"raypipe_explain_{self.run_id}"

    def twin(self, target: PublishTarget, epoch: int) -> str:
        """Return the name of the run's twin of a target, which the owner of an epoch fills."""
        return twins.named(f"{target.table.replace('.', '_')}_{self.run_id}", epoch)

    def to_json(self) -> str:
        """Return the JSON text that `raypipe_runs` keeps."""
        return _JSON.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read the text of `to_json`.

        Raises:
            DataError: the text is not a manifest of this version of raypipe.
        """
        try:
            return _JSON.validate_json(text)
        except ValidationError as error:
            fields = ", ".join(sorted({str(item["loc"][0]) for item in error.errors() if item["loc"]}))
            raise DataError(
                "This version of raypipe cannot read the run's manifest",
                found=fields or error.errors()[0]["msg"],
                next_step="resume the run with the version that began it, or start a new run of its date",
            ) from error


_JSON = TypeAdapter(Manifest)
