"""A ClickHouse of two shards: two embedded engines that reach one another by the native protocol."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from tests.faults.servers import configured, free_port

CLUSTER = "pair"
CONFIG = """
<tcp_port>{port}</tcp_port>
<remote_servers><{cluster}><secret>{secret}</secret>{shards}</{cluster}></remote_servers>
"""
SHARD = "<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>"


@contextmanager
def pair(folder: Path) -> Iterator[tuple[Endpoint, Endpoint]]:
    """Yield two engines, both of which know the cluster `pair` with one shard on each."""
    ports = [free_port(), free_port()]
    secret = secrets.token_hex(16)
    shards = "".join(SHARD.format(port=port) for port in ports)
    endpoints = []
    with ExitStack() as stack:
        for port in ports:
            place = folder / str(port)
            configured(place, CONFIG.format(port=port, cluster=CLUSTER, secret=secret, shards=shards))
            endpoints.append(stack.enter_context(open_embedded(place)).endpoint)
            with Client(endpoints[-1]) as client:
                client.run("SYSTEM START LISTEN TCP")
        yield endpoints[0], endpoints[1]
