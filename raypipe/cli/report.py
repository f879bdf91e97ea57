"""Define `raypipe report`."""

import time
from datetime import UTC, datetime
from pathlib import Path

import typer

from raypipe.cli import output
from raypipe.cli.options import Only, Options, command, endpoint_of
from raypipe.clickhouse.client import Client
from raypipe.config.load import list_pipelines, load_shared
from raypipe.pages.figures import size
from raypipe.report import report as pages

FOLDER = Path(".raypipe/report")


@command()
def report(
    options: Options,
    pipeline: Only = None,
    out: Path = typer.Option(FOLDER, "--out", metavar="DIR", help="The folder of the pages; it is created."),
) -> None:
    """Write static pages of nights, models, experiments, data.

    The pages need no server and no network. The first page says whether the last night is complete, what changed and
    what to do; a page per pipeline says whether its model is still good, and for whom it is worst.

    Example: raypipe report --out report
    """
    names = [pipeline] if pipeline else list_pipelines(options.config)
    loaded = {name: options.load(name) for name in names}
    pages.require_writable(out)
    started = time.perf_counter()
    with (
        endpoint_of(load_shared(options.config, options.url).connection) as endpoint,
        Client(endpoint) as client,
        output.progress() as progress,
    ):
        written = pages.write(client, loaded, out, at=datetime.now(UTC), progress=progress)
    seconds = time.perf_counter() - started
    document = {
        "report": str(written.index),
        "pages": list(written.pages),
        "bytes": written.bytes,
        "seconds": round(seconds, 3),
    }
    options.show(
        document,
        output.say,
        f"report: {written.index} ({len(written.pages)} pages, {size(written.bytes)}, {seconds:.1f} s)",
    )
