"""Fit the examples on files of your own, and write the table of docs/benchmarks-of-models.md.

    python benchmarks/models.py --data FOLDER                   # all examples whose file is in the folder
    python benchmarks/models.py --data FOLDER --only telco --splits 1

Needs no server: each example gets an embedded engine in a temporary folder. benchmarks/README.md defines every number.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.schema.needed import needed
from raypipe.config.load import Loaded, load_pipeline
from raypipe.errors import RaypipeError
from raypipe.evaluation.metrics import gain
from raypipe.sweep.auto import fit

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks-of-models.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of the table -->\n"


@dataclass(frozen=True)
class Case:
    """An example: the file names that it goes by, the metric, and the published value with its source."""

    files: Sequence[str]
    metric: str
    published: str = "–"


CASES: Mapping[str, Case] = {
    "telco": Case(
        ("telco_churn.csv", "WA_Fn-UseC_-Telco-Customer-Churn.csv"),
        "auc",
        "0.845 (logistic regression and boosting alike, 5-fold)",
    ),
    "shoppers": Case(("online_shoppers.csv", "online_shoppers_intention.csv"), "auc", "0.936, 0.937 (XGBoost)"),
    "criteo": Case(("criteo_tiny.csv",), "log_loss", "the prior's"),
    "bike": Case(("bike_hour.csv", "hour.csv"), "r2"),
    "wholesale": Case(("wholesale_customers.csv",), "silhouette"),
    "wine": Case((), "log_loss"),
    "deskdrop": Case(
        ("deskdrop_interactions.csv.gz", "users_interactions.csv"),
        "precision_of_possible",
        "0.139 (implicit's ALS, 64 factors, a random fifth held out)",
    ),
}


# Their fits choose by themselves; there is no search to add.
WITHOUT_LABEL = ("wholesale", "deskdrop")


@dataclass(frozen=True)
class Row:
    """A line of the table: the test metric of each split, and the first split's interval and strongest baseline."""

    example: str
    settings: str
    rows: Mapping[str, int]
    metric: str
    first: Mapping[str, float]
    values: Sequence[float]
    baseline: str
    ece: float | None
    seconds: float


@contextmanager
def filled(name: str, path: Path | None) -> Iterator[tuple[Any, Path]]:
    """Yield an embedded engine with the example's table, and a folder for artifacts."""
    with tempfile.TemporaryDirectory(prefix="raypipe-models-") as folder, connected(f"chdb:{folder}/db") as endpoint:
        loaded = load_pipeline(name, ROOT / "examples" / name / "configs", environ={})
        with Client(endpoint) as client:
            migrate(client, needed(loaded.tables(), loaded.sql_files()).declarations)
            example = loader(name).EXAMPLE
            example.fill(client, example.read(path), replace=False)
        yield endpoint, Path(folder)


def loader(name: str) -> Any:
    """Import the example's load.py."""
    spec = importlib.util.spec_from_file_location(f"{name}_load", ROOT / "examples" / name / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judged(name: str, path: Path | None, splits: Sequence[int], settings: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """Fit the example on each split with each of the settings."""
    case = CASES[name]
    with filled(name, path) as (endpoint, folder):
        for called, overrides in settings.items():
            fits = [fit(endpoint, config(name, folder, seed, overrides), None, quiet).fitted for seed in splits]
            first = fits[0]
            yield Row(
                name,
                called,
                first.rows,
                case.metric,
                first.test[case.metric],
                [fitted.test[case.metric]["value"] for fitted in fits],
                strongest(case.metric, first.baselines),
                (first.test.get("ece") or {}).get("value"),
                float(np.median([fitted.seconds for fitted in fits])),
            )


def config(name: str, folder: Path, seed: int, overrides: Sequence[str]) -> Loaded:
    """Return the example's configuration for a split."""
    given = (f"artifacts={folder / 'artifacts'}", f"split.seed={seed}", *overrides)
    return load_pipeline(name, ROOT / "examples" / name / "configs", given, environ={})


def quiet(stage: str, done: int, total: int) -> None:
    """Show no progress."""


def strongest(metric: str, baselines: Mapping[str, Any]) -> str:
    """Name the best baseline with its value."""
    known = {name: (own.get(metric) or {}).get("value") for name, own in baselines.items()}
    reached = {name: value for name, value in known.items() if value is not None}
    if not reached:
        return "–"
    best = max(reached, key=lambda name: gain(metric, reached[name], 0))
    return f"{best} {reached[best]:.4f}"


def table(rows: Sequence[Row]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| example | settings | rows learned from, tested on | metric | first split [95 %] | mean of the splits |"
        " published | strongest baseline | ECE | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        first = f"{row.first['value']:.4f}"
        if row.first.get("low") is not None:
            first += f" [{row.first['low']:.4f}, {row.first['high']:.4f}]"
        spread = f" ± {np.std(row.values, ddof=1):.4f}" if len(row.values) > 1 else ""
        learned = f"{row.rows['train'] + row.rows['validation']:,}, {row.rows['test']:,}"
        ece = "–" if row.ece is None else f"{row.ece:.4f}"
        cells = (
            f"[{row.example}](../examples/{row.example}/README.md)",
            row.settings,
            learned,
            row.metric,
            first,
            f"{np.mean(row.values):.4f}{spread}",
            CASES[row.example].published,
            row.baseline,
            ece,
            f"{row.seconds:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write(page: Path, text: str) -> None:
    """Put the table into the page, in place of the earlier table."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def file_of(name: str, folder: Path) -> Path | None:
    """Return the example's file in a folder, or None."""
    return next((folder / file for file in CASES[name].files if (folder / file).is_file()), None)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the files")
    parser.add_argument("--only", choices=list(CASES), action="append", help="this example; may be repeated")
    parser.add_argument("--splits", type=int, default=5, help="splits, with the seeds 1, 2, …")
    parser.add_argument("--minutes", type=float, default=1, help="of a search for the tuned line; 0 leaves it out")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of writing the page")
    return parser.parse_args()


def main() -> int:
    """Fit the examples and write the page; return 1 where an example has no file."""
    arguments = parse()
    rows, missing = [], []
    for name in arguments.only or CASES:
        path = file_of(name, arguments.data)
        if path is None and CASES[name].files:
            missing.append(f"{name}: none of {', '.join(CASES[name].files)} in {arguments.data}")
            continue
        settings: dict[str, Sequence[str]] = {"defaults": ()}
        if arguments.minutes and name not in WITHOUT_LABEL:
            settings["tuned"] = (f"model.search_minutes={arguments.minutes}",)
        try:
            for row in judged(name, path, range(1, arguments.splits + 1), settings):
                rows.append(row)
                print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
        except RaypipeError as error:
            missing.append(f"{name}: {error}")
    if arguments.json:
        print(json.dumps([vars(row) for row in rows]))
    elif rows:
        write(PAGE, table(rows))
    for line in missing:
        print(line, file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
