"""Define `raypipe fit`, and print a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raypipe.cli import comparisons, output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.metrics import METRICS, WITH_INTERVAL, cell
from raypipe.cli.options import AsOf, ChangedContract, Options, Pipeline, command
from raypipe.registry.record import Registered

if TYPE_CHECKING:
    from raypipe.ads.fit import FittedPolicy
    from raypipe.fit.fit import FitResult
    from raypipe.fit.fitted import Fitted


@command("`raypipe models` shows whether the version was registered", reads="fit", fits=True)
def fit(options: Options, pipeline: Pipeline, as_of: AsOf = LATEST, changed_contract: ChangedContract = False) -> None:
    """Fit, evaluate and register a version of a pipeline's model.

    Features are as of past snapshots, and labels come from the days after them. The newest snapshot with complete
    labels is the test. The version becomes the champion when it beats the standing champion by more than noise;
    otherwise it becomes the challenger. A features query that lacks a column of the champion is refused with the
    difference, unless --changed-contract is given.

    A comparison, such as `baselines`, fits all of its models anew, on the rows of the champion that it names.

    Example: raypipe fit churn --as-of 2026-01-31 --set model.params.max_depth=6
    """
    day = parse_date(as_of, "--as-of")
    with options.pipeline(pipeline, baselines=True) as (endpoint, loaded):
        # Ray comes along with these; `--help` and other commands stay quick without it.
        if loaded.config.baselines is not None:
            from raypipe.compare.compare import compare

            with output.progress() as progress:
                comparison = compare(endpoint, loaded, day, progress, again=True)
            comparisons.show(options, comparison)
            return
        from raypipe.sweep import auto as fitting

        with output.progress() as progress:
            result = fitting.fit(endpoint, loaded, day, progress, changed_contract=changed_contract)
    options.show(fit_document(result), print_fit, result)


def fit_document(result: FitResult) -> dict[str, Any]:
    """Return the JSON of a fit."""
    fitted = result.fitted
    metrics = {"test": fitted.test, "validation": fitted.validation, "baselines": fitted.baselines}
    return {
        **version_document(result.version, fitted, metrics),
        "rows": dict(fitted.rows),
        "dates": vars(result.dates),
        "read_as_now": list(result.read_as_now),
    }


def version_document(version: Registered, fitted: Fitted | FittedPolicy, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a version that was just fitted."""
    return {
        "pipeline": version.pipeline,
        "model_version": version.version,
        "model_id": version.model_id,
        "status": version.status,
        "metrics": metrics,
        "decision": fitted.decision.to_json(),
        "warnings": list(fitted.warnings),
        "artifact_sha256": version.artifact_sha256,
        "seconds": round(fitted.seconds, 3),
    }


def print_fit(result: FitResult) -> None:
    """Print a fit."""
    fitted, version = result.fitted, result.version
    print_metrics(version, {"model (test)": fitted.test, "model (validation)": fitted.validation}, fitted.baselines)
    train = ", ".join(map(str, result.dates.train))
    output.say(f"fitted on {train} ({result.dates.rule}), tested on {result.dates.test}")
    if result.read_as_now:
        tables = ", ".join(result.read_as_now)
        output.say(f"read as of now, also for past dates: {tables} (docs/lifecycle.md, Point in time)")
    output.say(fitted.decision.reason)
    output.warn(fitted.warnings)


def print_metrics(version: Registered, judged: Mapping[str, Any], baselines: Mapping[str, Any]) -> None:
    """Print a version's metrics above those of the baselines."""
    test = judged["model (test)"]
    names = [name for name in METRICS if isinstance(test.get(name), Mapping)]
    lines = {
        **{name: metrics for name, metrics in judged.items() if metrics},
        **{f"baseline: {name}": metrics for name, metrics in baselines.items()},
    }
    rows = [
        [line, *(cell(metrics.get(name), interval=name in WITH_INTERVAL) for name in names)]
        for line, metrics in lines.items()
    ]
    output.table(["", *names], rows, f"{version.pipeline} {version.version}: {version.status.lower()}")
