"""Define `raypipe runs`."""

from raypipe.cli import output
from raypipe.cli.options import Limit, Only, Options, command
from raypipe.score import runs as records

SHOWN = ("run_id", "date", "status", "model_version", "rows_published", "started_at", "error")
DOCUMENTED = (*SHOWN, "pipeline", "rows_rejected", "slices", "published_at")


@command()
def runs(options: Options, pipeline: Only = None, limit: Limit = 20) -> None:
    """List the scoring runs, newest first.

    `raypipe resume` finishes a run that was interrupted or failed, and one whose process died: INTERRUPTED, FAILED, or
    RUNNING, STAGED or PUBLISHING without a process.

    Example: raypipe runs churn --limit 5
    """
    with options.client() as client:
        listed = records.listed(client, pipeline, limit)
    if not listed:
        options.require_pipeline(pipeline)
    documents = [{name: getattr(run, name) for name in DOCUMENTED} for run in listed]
    rows = [[_first_line(document[name]) for name in SHOWN] for document in documents]
    options.show({"runs": documents}, output.table, SHOWN, rows)


def _first_line(value: object) -> object:
    return value.splitlines()[0][:80] if isinstance(value, str) and value else value
