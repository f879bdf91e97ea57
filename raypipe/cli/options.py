"""Define the options that commands share, and the decorator that supplies them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from raypipe.artifact import imports
from raypipe.cli import failures, output, settings
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected, on_cluster
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.needed import Needed, needed
from raypipe.config.load import Loaded, list_pipelines, load_pipeline, load_shared
from raypipe.config.shared import Connection
from raypipe.errors import UsageError

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
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a config value: model.rounds=100. May be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; messages go to stderr.")]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="Write log and progress on stderr as a JSON object per line.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and more of the log.")]

Pipeline = Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's name: churn is configs/churn.yaml.")]
Only = Annotated[str | None, typer.Argument(metavar="PIPELINE", help="Restrict the command to this pipeline.")]
Experiment = Annotated[
    str, typer.Argument(metavar="NAME", help="The experiment's name: headline is configs/experiments/headline.yaml.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="The most rows to list, newest first.")]
AsOf = Annotated[str, typer.Option("--as-of", metavar="DATE", help="The last day to use: YYYY-MM-DD, or latest.")]
Date = Annotated[str, typer.Option("--date", metavar="DATE", help="The snapshot: YYYY-MM-DD, or latest.")]
Model = Annotated[str, typer.Option("--model", metavar="REF", help="A version, an alias such as champion, or latest.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="A version, an alias such as challenger, or latest.")]
ChangedContract = Annotated[bool, typer.Option("--changed-contract", help="Accept other columns than the champion's.")]
TakeOver = Annotated[bool, typer.Option("--take-over", help="Take the lock of a run that is certainly dead.")]


@dataclass
class Options:
    """The shared options of one call of a command.

    Attributes:
        overrides: the values of --set.
        after_interrupt: the next step after Ctrl-C or SIGTERM; a command may change it on its way.
        has_printed: whether the JSON document is out, so that an error prints no second one.
    """

    config: Path | None = None
    url: str | None = None
    overrides: tuple[str, ...] = ()
    json: bool = False
    log_json: bool = False
    debug: bool = False
    after_interrupt: str = ""
    has_printed: bool = False

    def show(self, document: Mapping[str, Any], printer: Callable[..., None], *arguments: Any) -> None:
        """Print the document for --json; otherwise call the printer."""
        if not self.json:
            printer(*arguments)
            return
        output.emit(document)
        self.has_printed = True

    @contextmanager
    def endpoint(self, *, check: bool = True) -> Iterator[Endpoint]:
        """Connect to the ClickHouse of a command that has no pipeline; `check` requires its database."""
        with endpoint_of(load_shared(self.config, self.url).connection, check=check) as endpoint:
            yield endpoint

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a client for a command that has no pipeline."""
        with self.endpoint() as endpoint, Client(endpoint) as client:
            yield client

    def load(self, pipeline: str) -> Loaded:
        """Load a pipeline's configuration."""
        return load_pipeline(pipeline, self.config, self.overrides, url=self.url)

    @contextmanager
    def pipeline(self, name: str, *, ads: bool = False, baselines: bool = False) -> Iterator[tuple[Endpoint, Loaded]]:
        """Load a pipeline's configuration and connect to its ClickHouse.

        Raises:
            UsageError: the command is not for a pipeline of ads, or not for a comparison.
        """
        loaded = self.load(name)
        if loaded.config.ads is not None and not ads:
            raise UsageError(
                f"{name} learns and scores in one step, so it has no separate steps",
                found="a config with a section ads",
                next_step=f"`raypipe run {name}`",
            )
        if loaded.config.baselines is not None and not baselines:
            raise UsageError(
                f"{name} compares models and publishes no scores",
                found="a config with a section baselines",
                next_step=f"`raypipe run {name}`, or this command with {loaded.config.baselines.of}",
            )
        with endpoint_of(loaded.config.connection) as endpoint:
            yield endpoint, loaded

    def require_pipeline(self, name: str | None) -> None:
        """Refuse a name that neither the database nor the configuration knows."""
        known = list_pipelines(self.config)
        if name is not None and name not in known:
            raise UsageError(
                f"There is no pipeline {name!r}, and the database has nothing under this name",
                allowed=", ".join(known),
                next_step="correct the name; `raypipe config show` lists the pipelines",
            )


Command = Callable[..., None]


def command(
    after_interrupt: str = "", *, needs_database: bool = True, reads: str = "", fits: bool = False
) -> Callable[..., Command]:
    """Pass the shared options to a command as an `Options`, and turn its errors into messages and exit codes.

    Args:
        needs_database: whether the command takes --config and --url.
        reads: the command's entry in `settings.READS`, for a command that takes --set.
        fits: whether the command fits models; a user's own family may hand pandas objects to pyarrow then.
    """
    shared = [*([_option("config", Config), _option("url", Url)] if needs_database else ())]
    shared += [*([_option("overrides", Set)] if reads else ()), _option("json", Json)]
    shared += [_option("log_json", LogJson), _option("debug", Debug)]

    def decorate(function: Command) -> Command:
        own = [*signature(function, eval_str=True).parameters.values()][1:]

        @wraps(function)
        def run(**values: Any) -> None:
            given = {option.name: values.pop(option.name) for option in shared}
            given["overrides"] = tuple(given.get("overrides") or ())
            options = Options(after_interrupt=after_interrupt, **given)
            if not fits:
                imports.arrow_without_pandas()
            with failures.reported(options):
                settings.refuse_unread(reads, options.overrides)
                function(options, **values)

        # Typer reads a command's options from its signature.
        parameters = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)]
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _option(name: str, annotation: Any) -> Parameter:
    default = False if annotation in (Json, LogJson, Debug) else None
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


@contextmanager
def endpoint_of(connection: Connection, *, check: bool = True) -> Iterator[Endpoint]:
    """Connect to the ClickHouse of a configuration."""
    with connected(connection.url, connection.password_file, connection.ca_file, check=check) as endpoint:
        endpoint = replace(
            endpoint,
            cluster=connection.cluster,
            timeout_seconds=connection.timeout_seconds,
            quorum=connection.quorum,
            wait_seconds=connection.wait_seconds,
        )
        yield on_cluster(endpoint, check=check)


def needed_tables(options: Options) -> Needed:
    """Return the tables that the configured pipelines need."""
    pipelines = [options.load(name) for name in list_pipelines(options.config)]
    # The commands of a pipeline report its missing files.
    files = {path for loaded in pipelines for path in loaded.sql_files() if path.is_file()}
    targets = sorted({publish.target for loaded in pipelines for publish in loaded.config.publish})
    return replace(needed({table for loaded in pipelines for table in loaded.tables()}, files), targets=tuple(targets))
