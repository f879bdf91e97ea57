"""Define `raypipe models promote`."""

import getpass

import typer

from raypipe.cli import output
from raypipe.cli.options import ChangedContract, Options, Pipeline, TakeOver, Version, command
from raypipe.errors import UsageError


@command(reads="models promote")
def promote(
    options: Options,
    pipeline: Pipeline,
    version: Version,
    reason: str = typer.Option("", metavar="TEXT", help="The reason, for the history; needed unless --if-better."),
    if_better: bool = typer.Option(False, "--if-better", help="Promote only if it beats the champion."),
    changed_contract: ChangedContract = False,
    take_over: TakeOver = False,
) -> None:
    """Make a registered version the champion.

    The champion until now becomes `previous`. Promote by hand with a reason, or by evidence with --if-better: both
    versions score the newest test rows, and exit code 3 means that the difference may be noise. Published predictions
    stay; `raypipe score` publishes the new champion's.

    Example: raypipe models promote churn 20260131.031502.4f0c1a --reason "calibrated for the new tier"
    """
    if not reason.strip() and not if_better:
        raise UsageError(
            "A promotion needs a reason",
            allowed="--reason with the words for the history, or --if-better for a comparison on the same rows",
            next_step=f'`raypipe models promote {pipeline} {version} --reason "…"`',
        )
    with options.pipeline(pipeline) as (endpoint, loaded):
        from raypipe.versions import promotion

        result = promotion.promote(
            endpoint,
            loaded,
            version,
            reason=reason.strip(),
            set_by=author("promote"),
            if_better=if_better,
            changed_contract=changed_contract,
            take_over=take_over,
        )
    champion = result.version
    document = {
        "pipeline": pipeline,
        "model_version": champion.version,
        "status": champion.status,
        "replaced": result.previous,
        "reason": result.reason,
        "decision": result.decision.to_json() if result.decision else None,
    }
    text = f"{champion.version} is the champion of {pipeline}, after {result.previous or 'none'}: {result.reason}"
    options.show(document, output.say, f"{text}\nnext: raypipe score {pipeline}, or raypipe rollback {pipeline}")


def author(command: str) -> str:
    """Return the author of a change, for the history."""
    try:
        return f"raypipe {command} by {getpass.getuser()}"
    except (KeyError, OSError):
        # A container's user may have no name.
        return f"raypipe {command}"
