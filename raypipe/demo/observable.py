"""Read the best that a model of what can be observed reaches on a demo, as benchmarks/observable.py measured it.

The figures stand in sql/demo/best_observable.json, for one demo.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from raypipe.clickhouse.client import Client
from raypipe.project import shipped

PATH = shipped() / "sql" / "demo" / "best_observable.json"


@dataclass(frozen=True)
class Observable:
    """The metrics by pipeline and metric's name, and the settings of the demo that they were measured on."""

    values: Mapping[tuple[str, str], float]
    settings: Mapping[str, str]

    def doubt(self, client: Client) -> str:
        """Return how this demo differs from the demo of the figures; '' if it does not, or without figures."""
        if not self.values:
            return ""
        here = {str(name): str(value) for name, value in client.rows("SELECT setting, value FROM demo_settings")}
        other = {name: value for name, value in self.settings.items() if here.get(name) != value}
        if not other:
            return ""
        found = ", ".join(f"{name} {here.get(name) or 'none'}" for name in other)
        measured = ", ".join(f"{name} {value or 'none'}" for name, value in other.items())
        return f"the best observable was measured on a demo with {measured}; this demo has {found}"


def observable() -> Observable:
    """Return the figures that ship with raypipe."""
    document = json.loads(PATH.read_text())
    values = {(name, best["metric"]): float(best["value"]) for name, best in document["best"].items()}
    return Observable(values, document["demo"])
