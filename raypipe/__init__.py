"""Train, score and publish models over ClickHouse with Ray, exactly once."""

import importlib
from typing import Any

__version__ = "0.1.0"

# Loaded on first use: `raypipe.read_sql` imports Ray, and commands without Ray should not wait for it.
_PUBLIC = {
    "ClickHouseSink": "raypipe.dataset.sink",
    "Scorer": "raypipe.dataset.scorer",
    "read_features": "raypipe.dataset.features",
    "Client": "raypipe.clickhouse.client",
    "Endpoint": "raypipe.clickhouse.endpoint",
    "connected": "raypipe.clickhouse.connect",
    "read_sql": "raypipe.data.source",
    "load_user_features": "raypipe.loaders.loaders",
    "load_session_features": "raypipe.loaders.loaders",
    "load_daily_metrics": "raypipe.loaders.loaders",
    "load_interactions": "raypipe.loaders.loaders",
    "save_predictions": "raypipe.loaders.save",
}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'raypipe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
