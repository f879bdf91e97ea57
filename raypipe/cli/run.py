"""Define `raypipe run`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from raypipe.cli import bandits, comparisons, output, settings, validate
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.failures import tolerated
from raypipe.cli.fit import fit_document, print_fit, print_metrics
from raypipe.cli.options import Date, Options, Pipeline, TakeOver, command
from raypipe.cli.score import RESUMABLE, monitored_document, print_score
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import load
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.registry.record import Registered

if TYPE_CHECKING:
    from raypipe.night import NightResult
    from raypipe.score.score import ScoreResult


@command(RESUMABLE, reads="run", fits=True)
def run(options: Options, pipeline: Pipeline, date: Date = LATEST, take_over: TakeOver = False) -> None:
    """Fit if there is no champion; then score, publish, measure drift.

    A first version that is no better than the baselines is not published: exit code 3. A bandit, such as `ads`, learns
    anew every night; a policy worse than the ads that were shown is not published. A comparison, such as `baselines`,
    fits the models that were not compared with the champion yet.

    Example: raypipe run churn --date 2026-01-31
    """
    day = parse_date(date)
    started = time.perf_counter()
    with options.pipeline(pipeline, ads=True, baselines=True) as (endpoint, loaded):
        if loaded.config.ads is not None:
            from raypipe.ads import ads

            with output.progress() as progress:
                published = ads.run_ads(endpoint, loaded, day, progress, take_over=take_over)
            _warn_of_settings(options, settings.BANDIT, f"{pipeline} is a bandit and does not read them")
            bandits.show(options, endpoint, loaded, published, time.perf_counter() - started)
        elif loaded.config.baselines is not None:
            from raypipe.compare.compare import compare

            with output.progress() as progress:
                comparison = compare(endpoint, loaded, day, progress)
            _warn_of_settings(options, settings.COMPARISON, f"{pipeline} is a comparison and does not read them")
            comparisons.show(options, comparison)
        else:
            from raypipe import night

            with output.progress() as progress:
                result = night.run_pipeline(endpoint, loaded, day, progress, take_over=take_over)
            seconds = time.perf_counter() - started
            if result.fit is None:
                reason = f"{pipeline} has a champion, so nothing was fitted; `raypipe fit {pipeline}` fits with them"
                _warn_of_settings(options, (*settings.READS["score"], *settings.READS["validate"]), reason)
            document = {
                **monitored_document(result.score, seconds, result.scoring_seconds),
                "fit": fit_document(result.fit) if result.fit else None,
                "refit": result.refit.to_json() if result.refit else None,
                "warnings": list(result.warnings),
                "validated": validate.document(result.validation),
            }
            options.show(document, _print, endpoint, result, document, options.url)


def _warn_of_settings(options: Options, sections: Iterable[str], reason: str) -> None:
    """Name the values of --set that this run did not read."""
    keys = settings.unread(settings.keys_of(options.overrides), sections)
    if keys:
        output.tell(f"warning: --set {', '.join(keys)} had no effect: {reason}")


def _print(endpoint: Endpoint, result: NightResult, document: dict[str, Any], url: str | None) -> None:
    """Print a night of one pipeline, and the next steps."""
    fitted, scored = result.fit, result.score
    if fitted:
        print_fit(fitted)
    else:
        with tolerated(), Client(endpoint) as client:
            _print_registered(models.find(client, scored.manifest.pipeline, scored.manifest.model_version))
    print_score(scored, document)
    output.warn(result.warnings)
    with tolerated(), Client(endpoint) as client:
        _print_levels(client, scored)
    if result.validation.validations:
        validate.show(scored.manifest.pipeline, result.validation)
    where, first = f" --url {url}" if url else "", scored.manifest.targets[0].table
    output.say(f"next: raypipe runs{where}, raypipe models{where}, or")
    output.say(f'      raypipe sql{where} "SELECT * FROM {first} LIMIT 5"')


def _print_registered(version: Registered) -> None:
    """Print the metrics that a version got when it was fitted."""
    known: Any = version.evaluation
    print_metrics(version, {"model (test)": known.get("test", {})}, known.get("baselines", {}))
    output.say(f"fitted {version.created_at:%Y-%m-%d}; `raypipe fit {version.pipeline}` fits the next version")


def _print_levels(client: Client, scored: ScoreResult) -> None:
    """Print the published rows by level and brand, with the brands' names."""
    if not scored.manifest.levels:
        return
    query = load(shipped() / "sql" / "shared" / "published_levels.sql")
    rows = client.rows(query.text, {"run_id": scored.manifest.run_id, "run_at": scored.manifest.run_at})
    output.table(("level", "brand", "users", "mean score"), rows, "levels")
