# /// script
# requires-python = ">=3.11"
# dependencies = ["matplotlib==3.10.*"]
# ///
"""Draw the seconds of all contenders against the users, out of the documents of `scoring.py --json`.

for n in 200000 2000000 5000000; do python benchmarks/scoring.py --users $n --json; done > benchmarks/scoring.jsonl
uv run --script benchmarks/picture.py benchmarks/scoring.jsonl docs/scoring.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib import pyplot, rcParams

# Colours of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = {
    "raypipe": "#D55E00",
    "one_process_streamed": "#0072B2",
    "one_process": "#009E73",
    "ray_builtin_compiled": "#CC79A7",
    "ray_builtin": "#E69F00",
    "ray_data_program": "#56B4E9",
    "raypipe_before": "#777777",
}

# Pixels between two names, and the width of a name.
LINE, LABEL_WIDTH = 15, 180


def points(documents: list[dict[str, Any]], name: str) -> list[tuple[int, float, float, float]]:
    """Return the users, the median, the shortest and the longest seconds of a contender in each document."""
    found = []
    for document in documents:
        seconds = document["seconds_of_each_run"].get(name)
        if seconds:
            found.append((document["users"], document["contenders"][name]["seconds"], min(seconds), max(seconds)))
    return sorted(found)


def _name(axes: Any, ends: list[tuple[float, int, str, str]]) -> None:
    """Write each contender's name beside its last point, and above names that would lie below it."""
    taken: list[tuple[float, float]] = []
    for seconds, users, name, colour in sorted(ends):
        x, y = axes.transData.transform((users, seconds))
        lift = 0.0
        while any(abs(x - other) < LABEL_WIDTH and abs(y + lift - height) < LINE for other, height in taken):
            lift += 1
        taken.append((x, y + lift))
        axes.annotate(name, (x + 9, y + lift - 4), xycoords="figure pixels", color=colour)


def draw(documents: list[dict[str, Any]], path: Path) -> None:
    rcParams.update({"svg.hashsalt": "raypipe", "font.family": "sans-serif", "font.size": 10})
    # An SVG has 72 pixels per inch; names placed by other pixels would lie outside it.
    figure, axes = pyplot.subplots(figsize=(9, 4.5), dpi=72)
    ends: list[tuple[float, int, str, str]] = []
    for name, colour in COLOURS.items():
        found = points(documents, name)
        if not found:
            continue
        users, medians, lowest, highest = zip(*found, strict=True)
        spread = [[m - low for m, low in zip(medians, lowest, strict=True)]]
        spread.append([high - m for m, high in zip(medians, highest, strict=True)])
        axes.errorbar(
            users,
            medians,
            yerr=spread,
            color=colour,
            marker="o",
            capsize=3,
            linewidth=2.5 if name == "raypipe" else 1.5,
        )
        ends.append((medians[-1], users[-1], name, colour))
    axes.set(xscale="log", yscale="log", xlabel="users", ylabel="seconds, from start to exit")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g} M")
    axes.set_yticks([1, 2, 5, 10, 20, 50, 100])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.grid(which="major", color="#DDDDDD")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.36)
    figure.tight_layout()
    _name(axes, ends)
    figure.savefig(path, metadata={"Date": None, "Title": "Seconds to score and publish, by users"})


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    draw([json.loads(line) for line in source.read_text().splitlines()], target)
