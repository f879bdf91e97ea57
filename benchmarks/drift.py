"""Compare drift by raypipe's histograms with evidently on pandas, by the same measures on the same rows.

    python -m venv /tmp/evidently && /tmp/evidently/bin/pip install 'evidently==0.7.*' 'pandas<3' pyarrow
    python benchmarks/drift.py --evidently /tmp/evidently/bin/python
    python benchmarks/drift.py --rows 100000 --columns 10 --json

Two tables of Float32 columns, a reference and a current table. Both sides give the population stability index, the
Jensen-Shannon distance, the Kolmogorov-Smirnov statistic and the Wasserstein distance of every column. raypipe's time
is that of counting the current rows and of comparing the counts: the reference was counted in the night before. It is
measured twice: on all rows, and on the sample that a scoring pass counts. Without --evidently, raypipe is measured
alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

from raypipe.artifact.bins import Bins, fit_bins
from raypipe.monitor import drift
from raypipe.monitor.drift import Limits, Reference, Terms
from raypipe.monitor.histograms import Histogram, Series
from raypipe.score.tally import Tally, stride

BATCH = 32_768
# Runs in evidently's own environment.
OTHER = """
import json, sys, time
import pandas as pd
from evidently import Dataset, DataDefinition, Report
from evidently.metrics import ValueDrift
folder, method = sys.argv[1:]
before, after = (pd.read_feather(f"{folder}/{name}.arrow") for name in ("before", "after"))
started = time.process_time()
definition = DataDefinition(numerical_columns=list(before.columns))
data = [Dataset.from_pandas(frame, data_definition=definition) for frame in (after, before)]
report = Report([ValueDrift(column=name, method=method) for name in before.columns])
result = report.run(*data)
seconds = time.process_time() - started
values = {m["config"]["column"] if "config" in m else m["metric_id"]: m["value"] for m in result.dict()["metrics"]}
print(json.dumps({"seconds": seconds, "values": {k: float(v) for k, v in values.items()}}))
"""
METHODS = ("psi", "jensenshannon", "ks", "wasserstein")


def tables(rows: int, columns: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return a reference and a current matrix; every third column has shifted, and every fifth has whole numbers."""
    rng = np.random.default_rng(seed)
    before, after = (np.empty((rows, columns), np.float32) for _ in range(2))
    for place in range(columns):
        moved = 0.3 if place % 3 == 0 else 0.0
        for matrix, shift in ((before, 0.0), (after, moved)):
            values = rng.gamma(2 + shift, 3, rows) if place % 2 else rng.normal(shift, 1, rows)
            matrix[:, place] = np.round(values) if place % 5 == 0 else values
    return before, after


def counted(bins: Bins, x: np.ndarray, every: int) -> list[Histogram]:
    """Count a matrix as a scoring pass does."""
    tally = Tally(bins, every)
    batch = pa.record_batch({"key": pa.nulls(BATCH)})
    for first in range(0, len(x), BATCH):
        part = x[first : first + BATCH]
        tally.add(batch, part, part[:, 0])
    return [
        Histogram(np.array(counts, dtype=float), np.asarray(item.edges, np.float32), np.asarray(item.means), item.wide)
        for item, counts in zip(bins.features, tally.to_json()["features"], strict=True)
    ]


def measured(bins: Bins, before: np.ndarray, after: np.ndarray, every: int) -> tuple[float, dict[str, Any]]:
    """Return the CPU seconds of counting and comparing, and the measures by column."""
    names = [f"c{place}" for place in range(after.shape[1])]
    then = dict(zip(map(Series, names), counted(bins, before, every), strict=True))
    reference = Reference("night", None, "run", "v1", then)
    started = time.process_time()
    now = dict(zip(map(Series, names), counted(bins, after, every), strict=True))
    found = drift.compare(now, reference, lambda _: Terms(Limits(0.1, 0.25)))
    return time.process_time() - started, {item.series.column: item for item in found}


def evidently(python: Path, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Return evidently's CPU seconds and values by method."""
    with tempfile.TemporaryDirectory() as folder:
        for name, matrix in (("before", before), ("after", after)):
            columns = {f"c{place}": matrix[:, place] for place in range(matrix.shape[1])}
            feather.write_feather(pa.table(columns), f"{folder}/{name}.arrow", compression="uncompressed")
        results = {}
        for method in METHODS:
            done = subprocess.run([python, "-c", OTHER, folder, method], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            results[method] = json.loads(done.stdout.splitlines()[-1])
            print(f"evidently {method}: {results[method]['seconds']:.1f} s", file=sys.stderr, flush=True)
        return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=60)
    parser.add_argument("--evidently", type=Path, help="the interpreter of an environment with evidently 0.7")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    before, after = tables(arguments.rows, arguments.columns)
    bins = fit_bins(before, before[:, 0])
    whole_seconds, whole = measured(bins, before, after, 1)
    sample_seconds, sample = measured(bins, before, after, stride(arguments.rows))
    document: dict[str, Any] = {
        "rows": arguments.rows,
        "columns": arguments.columns,
        "raypipe_seconds": {"all rows": round(whole_seconds, 3), "as a scoring pass": round(sample_seconds, 3)},
        "largest_ks_error": max(item.ks_error or 0 for item in whole.values()),
        "largest_ks_difference_of_sample": max(abs((whole[c].ks or 0) - (sample[c].ks or 0)) for c in whole),
    }
    if arguments.evidently:
        other = evidently(arguments.evidently, before, after)
        seconds = sum(item["seconds"] for item in other.values())
        document |= {
            "evidently_seconds": {method: round(item["seconds"], 2) for method, item in other.items()},
            "times_faster": {
                "all rows": round(seconds / whole_seconds, 1),
                "as a scoring pass": round(seconds / sample_seconds, 1),
            },
            "first_columns": {
                name: {
                    "raypipe": {key: getattr(whole[name], key) for key in ("psi", "js", "ks", "wasserstein")},
                    "evidently": {method: list(item["values"].values())[place] for method, item in other.items()},
                }
                for place, name in enumerate(list(whole)[:6])
            },
        }
    print(json.dumps(document) if arguments.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
