"""Fill a database with a publisher, or run one night and print each step as a line of JSON when it ends.

python -m contest.night_steps fill URL DATE USERS
python -m contest.night_steps run URL DATE ARTIFACTS
"""

from __future__ import annotations

import json
import sys
from datetime import date

from raypipe import night
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.schema import migrate
from raypipe.config.load import list_pipelines, load_pipeline
from raypipe.demo import publisher
from raypipe.progress import Progress
from raypipe.project import shipped

# Enough for whole windows of features before each training snapshot.
DAYS = 180


def fill(url: str, day: str, users: str) -> None:
    """Create the tables of a database, and fill them up to a day."""
    with connected(url) as endpoint, Client(endpoint) as client:
        migrate.migrate(client)
        publisher.build(client, int(users), DAYS, last_date=date.fromisoformat(day), progress=told())


def run(url: str, day: str, artifacts: str) -> None:
    """Run the night of a day."""
    configs = shipped() / "configs"
    settings = [f"artifacts={artifacts}"]
    pipelines = {name: load_pipeline(name, configs, overrides=settings, url=url) for name in list_pipelines(configs)}
    with connected(url) as endpoint:
        for step in night.run_night(endpoint, pipelines, date.fromisoformat(day), "UTC", told()):
            print(json.dumps(vars(step), default=str), flush=True)


def told() -> Progress:
    """Return a callback that shows each stage once on stderr."""
    shown: set[str] = set()

    def tell(stage: str, _done: int, _total: int) -> None:
        if stage not in shown:
            shown.add(stage)
            print(stage, file=sys.stderr, flush=True)

    return tell


if __name__ == "__main__":
    {"fill": fill, "run": run}[sys.argv[1]](*sys.argv[2:])
