"""Define `raypipe reachable`."""

from collections.abc import Sequence
from typing import Any

from raypipe.cli import output
from raypipe.cli.metrics import cell
from raypipe.cli.options import Options, command
from raypipe.config.load import list_pipelines
from raypipe.errors import ModelError


@command()
def reachable(options: Options) -> None:
    """Show each model of a demo beside the best possible score.

    Its strongest baseline is shown, too. A demo knows the truth behind its rows, such as how likely a reader is to come
    back. The best possible score uses this truth on the same test rows; an RMSE that remains is noise. The best
    observable was measured once: a large ensemble on everything but the truth.

    Example: raypipe reachable
    """
    with options.client() as client:
        from raypipe.demo import reachable as reaching
        from raypipe.demo.observable import observable

        reaching.require_demo(client)
        results = [
            result for name in list_pipelines(options.config) for result in reaching.measure(client, options.load(name))
        ]
        doubt = observable().doubt(client)
    if not results:
        raise ModelError(
            "No model of this demo has a best that can be computed",
            found="no version of churn, clicks, conversion, engagement or recommendation",
            next_step="`raypipe nightly`, or `raypipe run churn`",
        )
    rows = [
        (
            *(line.pipeline, line.metric, cell(line.model), line.baseline_value, line.baseline),
            *(line.observable, line.best, line.rows),
        )
        for line in results
    ]
    columns = ("pipeline", "metric", "model", "strongest baseline", "", "best observable", "best possible", "test rows")
    document = {"models": [vars(result) for result in results], "warnings": [doubt] if doubt else []}
    options.show(document, _print, columns, rows, document["warnings"])


def _print(columns: Sequence[str], rows: Sequence[Sequence[Any]], warnings: Sequence[str]) -> None:
    output.table(columns, rows, "on the same test rows")
    output.warn(warnings)
