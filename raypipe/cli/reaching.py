"""The command that shows a demo's models beside the best that can be reached."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from raypipe.cli import output
from raypipe.cli.options import Config, Debug, Json, Url, client_of
from raypipe.config.load import list_pipelines, load_pipeline
from raypipe.errors import ModelError

app = typer.Typer()


@app.command()
def reachable(
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show each model of a demo beside its strongest baseline and the best that anybody could reach.

    A demo knows the truth behind its rows, such as how often a reader really comes. The best scores the same test rows
    by that truth; of an RMSE what is left is noise.

    Example: raypipe reachable
    """
    with output.reported(debug), client_of(config, url) as client:
        from raypipe.demo import reachable as reaching

        reaching.require_demo(client)
        found = [
            one
            for name in list_pipelines(config)
            for one in reaching.measure(client, load_pipeline(name, config, (), url=url))
        ]
        if not found:
            raise ModelError(
                "No pipeline of this demo has a model whose best is known",
                found="no version of churn, clicks, conversion, engagement or recommendation",
                next_step="`raypipe nightly`, or `raypipe run churn`",
            )
        if json:
            output.emit({"models": [vars(one) for one in found]})
            return
        rows = [
            (one.pipeline, one.metric, _interval(one.model), one.baseline_value, one.baseline, one.best, one.rows)
            for one in found
        ]
        columns = ("pipeline", "metric", "model", "strongest baseline", "", "best reachable", "test rows")
        output.table(columns, rows, "on the same test rows")


def _interval(found: Mapping[str, float | None]) -> str:
    value, low, high = (found.get(name) for name in ("value", "low", "high"))
    span = "" if low is None or high is None else f" [{low:.4f}, {high:.4f}]"
    return "–" if value is None else f"{value:.4f}{span}"
