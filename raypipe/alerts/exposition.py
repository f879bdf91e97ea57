"""Write metrics in Prometheus's text format.

https://prometheus.io/docs/instrumenting/exposition_formats (version 0.0.4)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Family:
    """A metric with its samples by labels."""

    name: str
    kind: Literal["gauge", "counter"]
    meaning: str
    samples: list[tuple[Mapping[str, str], float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        """Add a sample."""
        self.samples.append((labels, float(value)))

    def text(self) -> str:
        """Return the family's lines; empty without samples."""
        if not self.samples:
            return ""
        meaning = self.meaning.replace("\\", "\\\\").replace("\n", "\\n")
        head = f"# HELP {self.name} {meaning}\n# TYPE {self.name} {self.kind}\n"
        return head + "".join(f"{self.name}{_labels(labels)} {value!r}\n" for labels, value in self.samples)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def text(families: Iterable[Family]) -> str:
    """Return the exposition of families."""
    return "".join(family.text() for family in families)


def write(path: Path, exposition: str) -> None:
    """Replace a file in one step, so that the collector never reads a part of it.

    Raises:
        OSError: the folder does not exist, or is not writable.
    """
    # The collector reads every file that ends with .prom.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(exposition, encoding="utf-8")
        # The node exporter runs as another user.
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
