"""Define `raypipe resume`."""

import time

import typer

from raypipe.cli import bandits, output
from raypipe.cli.options import Options, TakeOver, command
from raypipe.cli.score import RESUMABLE, show_score
from raypipe.errors import advised
from raypipe.score import runs


@command(RESUMABLE)
def resume(
    options: Options,
    run_id: str = typer.Argument(metavar="RUN", help="The run's id, as `raypipe runs` lists it."),
    take_over: TakeOver = False,
) -> None:
    """Finish an interrupted run; it repeats only unfinished slices.

    The run follows its own manifest, whatever the configuration says by now.

    Example: raypipe resume churn_20260131_4f0c1a2b
    """
    started = time.perf_counter()
    with options.client() as client:
        with advised("`raypipe runs` lists the runs of this database"):
            run = runs.find(client, run_id)
        loaded = options.load(run.pipeline)
        if loaded.config.ads is not None:
            from raypipe.ads import ads

            with output.progress() as progress:
                published = ads.resume_ads(client.endpoint, loaded, run_id, progress, take_over=take_over)
            bandits.show(options, client.endpoint, loaded, published, time.perf_counter() - started)
            return
        from raypipe.score import score as scoring

        with output.progress() as progress:
            result = scoring.resume(client.endpoint, loaded, run_id, progress, take_over=take_over)
    show_score(options, result, time.perf_counter() - started)
