"""Two embedded engines are two shards of one ClickHouse."""

from __future__ import annotations

from pathlib import Path

from raypipe.clickhouse.client import Client
from tests.shards import CLUSTER, pair


def test_a_distributed_table_spreads_its_rows_over_both_and_reads_them_back(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second), Client(first) as one, Client(second) as other:
        for client in (one, other):
            client.run("CREATE TABLE local (k UInt64) ENGINE = MergeTree ORDER BY k")
        one.run(f"CREATE TABLE spread AS local ENGINE = Distributed({CLUSTER}, default, local, k)")
        one.run("INSERT INTO spread SELECT number FROM numbers(1000)", settings={"distributed_foreground_insert": 1})
        assert [client.value("SELECT count() FROM local") for client in (one, other)] == [500, 500]
        assert one.rows("SELECT count(), sum(k) FROM spread") == [(1000, sum(range(1000)))]
        ports = one.rows(f"SELECT DISTINCT getServerPort('tcp_port') FROM clusterAllReplicas({CLUSTER}, system.one)")
        assert len(ports) == 2
