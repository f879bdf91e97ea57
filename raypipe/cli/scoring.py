"""The commands that fit, score, publish and resume."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from raypipe.cli import bandits, comparisons, output, results
from raypipe.cli.options import (
    LATEST,
    AsOf,
    ChangedContract,
    Config,
    Date,
    Debug,
    Json,
    Model,
    Pipeline,
    Set,
    TakeOver,
    Url,
    client_of,
    parse_date,
    pipeline_of,
)
from raypipe.config.load import load_pipeline
from raypipe.errors import advised
from raypipe.score import runs

# `raypipe.score.score` brings Ray along, so each command imports it when it runs: `--help` and the others stay quick.
app = typer.Typer()


@app.command()
def fit(
    pipeline: Pipeline,
    as_of: AsOf = LATEST,
    changed_contract: ChangedContract = False,
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit, evaluate and register a version of a pipeline's model.

    Features are as of past snapshots and labels from the days after them; the newest snapshot with complete labels is
    the test. The version becomes the champion when it beats the standing one by more than noise, else the challenger.
    A features query that lacks what the champion reads is refused with the difference, unless --changed-contract.

    A comparison, such as `baselines`, fits all of its models anew, on the rows of the champion that it names.

    Example: raypipe fit churn --as-of 2026-01-31 --set model.params.max_depth=6
    """
    with output.reported(debug, "`raypipe models` shows whether the version was registered"):
        day = parse_date(as_of, "--as-of")
        with pipeline_of(pipeline, config, url, overrides, comparisons=True) as (endpoint, loaded):
            if loaded.config.baselines is not None:
                from raypipe.compare.compare import compare

                with output.progress() as progress:
                    compared = compare(endpoint, loaded, day, progress, again=True)
                comparisons.show(compared, json)
                return
            from raypipe.fit import fit as fitting

            with output.progress() as progress:
                outcome = fitting.fit(endpoint, loaded, day, progress, changed_contract=changed_contract)
        results.show_fit(outcome, json)


@app.command()
def score(
    pipeline: Pipeline,
    date: Date = LATEST,
    model: Model = "champion",
    take_over: TakeOver = False,
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a whole population and publish it, each entity once and all or nothing.

    Readers of the published tables see the old scores or the new ones. An interrupted run is finished with
    `raypipe resume`. Without a champion, `raypipe fit` or `raypipe run` comes first.

    Example: raypipe score churn --date 2026-01-31
    """
    with output.reported(debug, output.RESUMABLE):
        day = parse_date(date)
        with pipeline_of(pipeline, config, url, overrides) as (endpoint, loaded), output.progress() as progress:
            from raypipe.artifact import imports
            from raypipe.score import score as scoring

            imports.arrow_without_pandas()
            started = time.perf_counter()
            outcome = scoring.score(endpoint, loaded, day, model, progress, take_over=take_over)
        results.show_score(outcome, time.perf_counter() - started, json)


@app.command()
def run(
    pipeline: Pipeline,
    date: Date = LATEST,
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Do a night of one pipeline: fit where there is no champion, then score, publish and measure drift.

    A first version that is no better than the baselines is not published: exit code 3. A bandit, such as `ads`, learns
    anew every night, and is not published when it is worse than what was shown. A comparison, such as `baselines`, fits
    its models where they have not been compared with the champion yet.

    Example: raypipe run churn --date 2026-01-31
    """
    with output.reported(debug, output.RESUMABLE):
        day = parse_date(date)
        with pipeline_of(pipeline, config, url, overrides, bandits=True, comparisons=True) as (endpoint, loaded):
            started = time.perf_counter()
            if loaded.config.ads is not None:
                from raypipe.ads import ads

                with output.progress() as progress:
                    published = ads.run_ads(endpoint, loaded, day, progress)
                bandits.show(endpoint, loaded, published, time.perf_counter() - started, json)
                return
            if loaded.config.baselines is not None:
                from raypipe.compare.compare import compare

                with output.progress() as progress:
                    compared = compare(endpoint, loaded, day, progress)
                comparisons.show(compared, json)
                return
            from raypipe import night

            with output.progress() as progress:
                done = night.run_pipeline(endpoint, loaded, day, progress)
            results.show_run(endpoint, done, time.perf_counter() - started, url, json)


@app.command()
def resume(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, as `raypipe runs` lists it.")],
    take_over: TakeOver = False,
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Finish an interrupted run: only unfinished slices are read again.

    The run is done by its own manifest, whatever the configuration says by now.

    Example: raypipe resume churn_20260131_4f0c1a2b
    """
    with output.reported(debug, output.RESUMABLE), client_of(config, url) as client:
        started = time.perf_counter()
        with advised("`raypipe runs` lists the runs of this database"):
            run = runs.find(client, run_id)
        loaded = load_pipeline(run.pipeline, config, url=url)
        if loaded.config.ads is not None:
            from raypipe.ads import ads

            with output.progress() as progress:
                published = ads.resume_ads(client.endpoint, loaded, run_id, progress, take_over=take_over)
            bandits.show(client.endpoint, loaded, published, time.perf_counter() - started, json)
            return
        from raypipe.artifact import imports
        from raypipe.score import score as scoring

        imports.arrow_without_pandas()
        with output.progress() as progress:
            outcome = scoring.resume(client.endpoint, loaded, run_id, progress, take_over=take_over)
        results.show_score(outcome, time.perf_counter() - started, json)


@app.command()
def plan(
    pipeline: Pipeline,
    date: Date = LATEST,
    model: Model = "champion",
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what `score` would do with the same --date, --model and --set; change nothing.

    It finds what `score` would refuse, too: a missing snapshot, model, column or target, and grants that are missing.

    Example: raypipe plan churn --date 2026-01-31
    """
    with output.reported(debug):
        day = parse_date(date)
        with pipeline_of(pipeline, config, url, overrides) as (endpoint, loaded):
            from raypipe.score.plan import plan as planned_run

            planned = planned_run(endpoint, loaded, day, model)
        results.show_plan(planned, json)
