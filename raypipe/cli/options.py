"""The options that commands share, and the connection and config they lead to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.needed import Needed, needed
from raypipe.config.load import Loaded, list_pipelines, load_pipeline, load_shared
from raypipe.config.shared import Connection
from raypipe.errors import UsageError

LATEST = "latest"
# The range of ClickHouse's Date.
FIRST_DATE, LAST_DATE = date(1970, 1, 1), date(2149, 6, 6)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="DIR",
        help="Folder of the YAML files; SQL is in `sql` beside it. Default: ./configs, else raypipe's own.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="http(s)://user@host:port/database, or chdb:PATH. Default: RAYPIPE_URL, then the config.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; messages go to stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and more of the log.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a config value, such as model.params.max_depth=4. May be repeated."
    ),
]
Pipeline = Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's name: churn is configs/churn.yaml.")]
Only = Annotated[str | None, typer.Argument(metavar="PIPELINE", help="Only of this pipeline.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most, newest first.")]
AsOf = Annotated[
    str,
    typer.Option("--as-of", metavar="DATE", help="The last day whose data may be used: YYYY-MM-DD, or latest."),
]
Date = Annotated[str, typer.Option("--date", metavar="DATE", help="The snapshot: YYYY-MM-DD, or latest.")]
Model = Annotated[str, typer.Option("--model", metavar="REF", help="A version, an alias such as champion, or latest.")]
Version = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="A version, an alias such as challenger, or latest, as `models` lists it."),
]
ChangedContract = Annotated[
    bool, typer.Option("--changed-contract", help="It may read other columns than the champion.")
]
TakeOver = Annotated[bool, typer.Option("--take-over", help="Take the lock of a run that is surely dead.")]


def parse_date(text: str, option: str = "--date") -> date | None:
    """A date from the command line; None means the newest.

    Raises:
        UsageError: the text is neither YYYY-MM-DD nor `latest`, or ClickHouse has no such date.
    """
    return None if text == LATEST else _date(text, option, f", or {LATEST}", f"leave {option} out for the newest")


def parse_day(text: str, option: str) -> date:
    """A date from the command line where `latest` would mean nothing.

    Raises:
        UsageError: the text is not YYYY-MM-DD, or ClickHouse has no such date.
    """
    return _date(text, option, "", f"leave {option} out")


def _date(text: str, option: str, others: str, without: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # Python also reads 20260131 and 2026-W05-6.
    if day is None or day.isoformat() != text or not FIRST_DATE <= day <= LAST_DATE:
        raise UsageError(
            f"{option} is not a date that can be used",
            found=text,
            allowed=f"YYYY-MM-DD from {FIRST_DATE} to {LAST_DATE}{others}",
            next_step=f"write it as {date(2026, 1, 31)}, or {without}",
        )
    return day


@contextmanager
def endpoint_of(connection: Connection, *, check: bool = True) -> Iterator[Endpoint]:
    """The ClickHouse that a config or the command line names."""
    with connected(connection.url, connection.password_file, connection.ca_file, check=check) as endpoint:
        yield replace(endpoint, cluster=connection.cluster)


@contextmanager
def client_of(config: Path | None, url: str | None) -> Iterator[Client]:
    """A client for a command that has no pipeline."""
    with endpoint_of(load_shared(config, url).connection) as endpoint, Client(endpoint) as client:
        yield client


def needed_of(config: Path | None, url: str | None) -> Needed:
    """Return the tables that the configured pipelines need.

    Raises:
        ConfigError: the configuration of a pipeline has problems.
    """
    pipelines = [load_pipeline(name, config, url=url) for name in list_pipelines(config)]
    return needed(
        {table for loaded in pipelines for table in loaded.tables()},
        {path for loaded in pipelines for path in loaded.sql_files()},
    )


@contextmanager
def pipeline_of(
    name: str,
    config: Path | None,
    url: str | None,
    overrides: list[str] | None,
    *,
    bandits: bool = False,
    comparisons: bool = False,
) -> Iterator[tuple[Endpoint, Loaded]]:
    """A pipeline's config, and the ClickHouse that it names.

    Raises:
        UsageError: the pipeline is a bandit, and the command is not for `bandits`, or likewise for `comparisons`.
    """
    loaded = load_pipeline(name, config, overrides or (), url=url)
    if loaded.config.ads is not None and not bandits:
        raise UsageError(
            f"{name} learns and scores at once, so there is nothing to do in steps",
            found="a config with a section ads",
            next_step=f"`raypipe run {name}`",
        )
    if loaded.config.baselines is not None and not comparisons:
        raise UsageError(
            f"{name} compares models and scores nobody",
            found="a config with a section baselines",
            next_step=f"`raypipe run {name}`, or this command with {loaded.config.baselines.of}",
        )
    with endpoint_of(loaded.config.connection) as endpoint:
        yield endpoint, loaded


def require_pipeline(name: str | None, config: Path | None) -> None:
    """Tells a pipeline of which there is nothing yet from one that does not exist."""
    known = list_pipelines(config)
    if name is not None and name not in known:
        raise UsageError(
            f"There is no pipeline {name!r}, and nothing of it in the database",
            allowed=", ".join(known),
            next_step="correct the name; `raypipe config show` lists the pipelines",
        )
