"""Create the contest's own database: the publisher's tables, a large population and a fitted model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from contenders.job import Job
from contenders.predictions import KEYS

from contest.processes import Finished, python, run
from raypipe.artifact.contract import describe_query
from raypipe.artifact.package import Package, load_package
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import migrate
from raypipe.clickhouse.statements import identifier, literal, load
from raypipe.config.load import Loaded, load_pipeline
from raypipe.data.slices import Slicing, place, unsliced
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.score import prepare, publish_sql
from raypipe.score.manifest import Manifest

PIPELINE = "churn"
SNAPSHOTS = [date(2025, 10, 18), date(2025, 11, 2), date(2025, 11, 17), date(2025, 12, 2), date(2026, 1, 1)]
SCORED = date(2026, 1, 31)
TRAINED_USERS = 20_000
TARGET = "ml_model_predictions"
VIEW, COMPILED_VIEW = "bench_rows", "bench_compiled_rows"
SQL = Path(__file__).parent.parent / "sql"
# The other contenders write no domain table and explain no rows, so raypipe does neither.
ONE_TARGET = ["publish=[{target: ml_model_predictions, sql: shared/predictions.sql}]", "score.explain.rows=0"]
# Both have the shipped config's other parameters.
MODELS: dict[str, Sequence[str]] = {
    "shipped": ["model.rounds=100", "model.early_stopping_rounds=0"],
    "deep": ["model.rounds=300", "model.early_stopping_rounds=0", "model.params.max_depth=8"],
}
# Tables that a run writes. Emptying them makes every repetition start alike.
TRACES = [TARGET, "raypipe_runs", "raypipe_slices", "raypipe_rejected_rows", "ml_model_monitoring", "raypipe_writes"]


@dataclass(frozen=True)
class Arena:
    """The database and artifacts of a contest.

    Attributes:
        checkout: The folder of the raypipe whose commands run, with its .venv; None for the installed raypipe.
    """

    endpoint: Endpoint
    artifacts: Path
    checkout: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a contender: the password and the Python path of the contenders."""
        folder = str(Path(__file__).parent.parent)
        path = os.pathsep.join(part for part in (folder, os.environ.get("PYTHONPATH", "")) if part)
        return {
            "RAYPIPE_PASSWORD": self.endpoint.password(),
            "PYTHONPATH": path,
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }

    def raypipe(self, command: str, *arguments: str, settings: list[str]) -> Finished:
        """Run one raypipe command from its start to its exit."""
        overrides = [part for one in [f"artifacts={self.artifacts}", *settings] for part in ("--set", one)]
        configs = (self.checkout or shipped()) / "configs"
        where = ["--config", str(configs), "--url", str(self.endpoint), "--json"]
        line = ["-m", "raypipe", command, PIPELINE, *arguments, *where, *overrides]
        if self.checkout is None:
            return run(python(*line), self.environment)
        # Ray's workers import the raypipe of the working directory.
        return run([str(self.checkout / ".venv/bin/python"), *line], self.environment, self.checkout)

    def loaded(self) -> Loaded:
        overrides = [f"artifacts={self.artifacts}", *ONE_TARGET]
        return load_pipeline(PIPELINE, shipped() / "configs", overrides=overrides, url=str(self.endpoint))

    def manifest(self, client: Client) -> tuple[Manifest, Package]:
        """Plan a run as `raypipe score` does: slices, counts and the checksum of the population."""
        loaded = self.loaded()
        population = prepare.population(client, loaded, SCORED)
        model = models.find(client, PIPELINE, "latest")
        package = load_package(model.artifact_uri, model.artifact_sha256, client)
        return prepare.manifest(client, loaded, model, package, population, write=False), package

    def clear(self) -> None:
        """Empty the tables that contenders write."""
        with Client(self.endpoint) as client:
            for table in TRACES:
                client.run(f"TRUNCATE TABLE {identifier(table)} SYNC")


@contextmanager
def arena(
    endpoint: Endpoint,
    database: str,
    users: int,
    folder: Path,
    *,
    trained: int = TRAINED_USERS,
    model: Sequence[str] | None = MODELS["shipped"],
) -> Iterator[Arena]:
    """Create and fill the database, fit a model unless it is None, and drop the database at the end."""
    own = Arena(replace(endpoint, database=database), folder)
    with Client(endpoint) as client:
        client.run(f"DROP DATABASE IF EXISTS {identifier(database)} SYNC")
        client.run(f"CREATE DATABASE {identifier(database)}")
        try:
            _fill(own, users, trained)
            if model is not None:
                own.raypipe("fit", settings=list(model))
            yield own
        finally:
            client.run(f"DROP DATABASE IF EXISTS {identifier(database)} SYNC")


def _fill(own: Arena, users: int, trained: int) -> None:
    users_sql, sessions_sql = load(SQL / "users.sql").text, load(SQL / "sessions.sql").text
    with Client(own.endpoint) as client:
        migrate.migrate(client)
        for day in SNAPSHOTS:
            client.run(users_sql, {"rows": trained, "date": day})
            client.run(sessions_sql, {"date": day})
        client.run(users_sql, {"rows": users, "date": SCORED})
        # One part, so that no merge runs during the contest.
        client.run("OPTIMIZE TABLE customer_user_features FINAL")


def job(own: Arena, chunk_rows: int, cores: int, options: dict[str, Any]) -> Job:
    """Return the manifest's work for a contender without raypipe, and create the views that it may read."""
    with Client(own.endpoint) as client:
        manifest, package = own.manifest(client)
        features = load(own.loaded().sql(f"{PIPELINE}/features.sql")).text.replace("{date:Date}", literal(SCORED))
        keys = ", ".join(KEYS)
        select = f"SELECT {keys}, {package.contract.matrix_expression()} AS x FROM ({features})"
        client.run(f"CREATE OR REPLACE VIEW {identifier(VIEW)} AS {unsliced(features)}")
        client.run(f"CREATE OR REPLACE VIEW {identifier(COMPILED_VIEW)} AS {unsliced(select)}")
        insert_into = _insert_into(own, client, manifest)
    return Job(
        url=own.endpoint.url,
        user=own.endpoint.user,
        database=own.endpoint.database,
        rows=manifest.source_rows,
        day=SCORED.isoformat(),
        run_at=datetime.now(UTC).replace(microsecond=0).isoformat(),
        batch_id=f"bench_{SCORED:%Y%m%d}",
        model_id=manifest.model_id,
        model_version=manifest.model_version,
        pipeline=PIPELINE,
        entity_type=manifest.entity_type,
        artifact_uri=manifest.artifact_uri,
        artifact_sha256=manifest.artifact_sha256,
        features_sql=unsliced(features),
        select=unsliced(select),
        slices=_slices(select, manifest.slicing),
        view=VIEW,
        compiled_view=COMPILED_VIEW,
        insert_into=insert_into,
        target=TARGET,
        levels=[(name, bound) for name, bound in package.levels],
        cores=cores,
        chunk_rows=chunk_rows,
        options=options,
    )


def _insert_into(own: Arena, client: Client, manifest: Manifest) -> str:
    """Return predictions.sql reading a contender's keys and scores instead of a staging table."""
    sent = ", ".join(f"{name} {kind}" for name, kind in zip(manifest.keys, manifest.key_types, strict=True))
    statement = load(own.loaded().sql("shared/predictions.sql"))
    fragments = publish_sql.fragments(manifest)
    described = statement.render(**{**fragments, "staging": f"null({literal(f'{sent}, score Float32')})"})
    names = ", ".join(identifier(name) for name in describe_query(client, described, publish_sql.bound(manifest, [])))
    rows = statement.render(**{**fragments, "staging": f"input({literal(f'{sent}, score Float32')})"})
    return f"{identifier(TARGET)} ({names}) {rows}"


def _slices(select: str, slicing: Slicing) -> list[str]:
    pieces = []
    for piece in slicing.slices:
        sql = place(select, slicing, piece)
        for name, value in slicing.parameters(piece).items():
            kind = slicing.types[int(name.rpartition("_")[2])]
            sql = sql.replace(f"{{{name}:{kind}}}", f"CAST({literal(value)} AS {kind})")
        pieces.append(sql)
    return pieces
