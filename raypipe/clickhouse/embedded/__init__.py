"""ClickHouse without a server: the engine of chDB's wheel, in a process that the commands on a folder share.

`folder` holds its files and locks, `settings` its configuration. `process` runs it, `start` starts it, and `lease` is
what commands hold.
"""

from raypipe.clickhouse.embedded.lease import Lease, open_embedded, require_engine, serve

__all__ = ["Lease", "open_embedded", "require_engine", "serve"]
