"""Test addresses without a Ray cluster and the place of Ray's reports, without starting Ray."""

from __future__ import annotations

import pytest
from ray._private import worker

from raypipe.cluster import connection
from raypipe.errors import ClusterError, UsageError


def test_the_address_of_a_job_server_is_refused_with_the_command_for_it() -> None:
    address = "http://127.0.0.1:8265"
    with pytest.raises(UsageError, match="belongs to a job server") as refused:
        connection.connect(address, None)
    assert f"`raypipe submit {address}`" in str(refused.value)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "127.0.0.1:99999", "nonsense"])
def test_an_address_where_no_cluster_answers_is_told_at_once(address: str) -> None:
    with pytest.raises(ClusterError, match="cannot be used") as refused:
        connection.connect(address, None)
    assert address in refused.value.problem
    assert "ray.address" in str(refused.value)


@pytest.mark.parametrize(("nodes", "cpus", "expected"), [([2], 1, 2), ([8, 3], 2, 5), ([2, 2], 3, 0), ([0, 4], 4, 1)])
def test_a_process_lies_on_one_node(nodes: list[int], cpus: int, expected: int) -> None:
    assert connection.room(nodes, cpus) == expected


def test_what_rays_nodes_report_stays_out_of_a_commands_output(capsys: pytest.CaptureFixture[str]) -> None:
    sinks = set()
    for _ in range(2):
        with pytest.raises(UsageError):
            connection.connect("http://127.0.0.1:8265", None)
        sinks.add(worker.print_to_stdstream)
    assert len(sinks) == 1
    worker.print_to_stdstream(
        {"lines": ["Task ScoringActor.ready failed"], "pid": "raylet", "is_err": False}, ignore_prefix=False
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("Task ScoringActor.ready failed") == 1
