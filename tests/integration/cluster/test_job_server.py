"""Test a Ray job server's answers: refusals, broken or silent logs, and the end of a job."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from raypipe.cluster import job_log, job_server
from raypipe.cluster.job_request import Request
from raypipe.errors import ClusterError, UsageError

JOB = "raypipe_run_1"
TOKEN = "canary-51c0ffee"
LOG = "one\ntwo\nthree\n"


@dataclass
class JobServer:
    """A job server whose log connections end as a test wants them to.

    Attributes:
        endings: how each connection to the log ends: `broken` and `silent` after its first line, anything else at its
            end.
        states: what is answered when the state is asked for; the last one from then on. A number is an HTTP status.
        wants: the answer to a request with a token and to one without.
        takes: the answer to an upload and to a job.
        heard: the token of each request, '' where there was none.
    """

    endings: list[str] = field(default_factory=list)
    states: list[str | int] = field(default_factory=lambda: ["SUCCEEDED"])
    wants: tuple[int, int] = (200, 200)
    takes: tuple[int, int] = (200, 200)
    heard: list[str] = field(default_factory=list)
    address: str = ""

    async def version(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        self.heard.append(given)
        return web.json_response({"ray_version": "2.60.0"}, status=self.wants[0] if given else self.wants[1])

    async def state(self, _: web.Request) -> web.Response:
        found = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(found, int):
            return web.Response(status=found, text="no such luck")
        return web.json_response({"status": found, "driver_exit_code": 0 if found == "SUCCEEDED" else None})

    async def absent(self, _: web.Request) -> web.Response:
        return web.Response(status=404)

    async def upload(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=self.takes[0], text="no such luck")

    async def job(self, _: web.Request) -> web.Response:
        return web.json_response({"submission_id": JOB, "job_id": JOB}, status=self.takes[1])

    async def log(self, request: web.Request) -> web.WebSocketResponse:
        told = web.WebSocketResponse()
        await told.prepare(request)
        ending = self.endings.pop(0) if self.endings else "over"
        await told.send_str(LOG[:4])
        if ending == "silent":
            # Until the client goes away.
            await told.receive()
        if ending == "broken":
            assert request.transport is not None
            request.transport.abort()
        else:
            await told.send_str(LOG[4:])
            await told.close()
        return told


@pytest.fixture
def jobs() -> Iterator[JobServer]:
    made = JobServer()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/api/version", made.version)
        app.router.add_post("/api/jobs/", made.job)
        app.router.add_get("/api/packages/gcs/{name}", made.absent)
        app.router.add_put("/api/packages/gcs/{name}", made.upload)
        app.router.add_get(f"/api/jobs/{JOB}", made.state)
        app.router.add_get(f"/api/jobs/{JOB}/logs/tail", made.log)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    made.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits."""
    monkeypatch.setattr(job_log, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(job_server, "SILENT_SECONDS", 0.2)


@pytest.fixture
def asked(tmp_path: Path) -> Request:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.yaml").write_text("")
    return Request(JOB, ("runs",), tmp_path)


def test_a_folder_that_the_server_does_not_take_is_told_with_what_to_leave_out(jobs: JobServer, asked: Request) -> None:
    job_server.connect(jobs.address, {}).submit(asked)
    jobs.takes = (413, 200)
    with pytest.raises(UsageError, match="cannot be sent") as refused:
        job_server.connect(jobs.address, {}).submit(asked)
    assert ".rayignore" in str(refused.value)


@pytest.mark.parametrize("takes", [(500, 200), (200, 500)])
def test_a_server_that_does_not_take_a_job_is_named(jobs: JobServer, asked: Request, takes: tuple[int, int]) -> None:
    jobs.takes = takes
    with pytest.raises(ClusterError, match=f"{jobs.address} did not accept the job") as refused:
        job_server.connect(jobs.address, {}).submit(asked)
    assert "status code 500" in str(refused.value)


def followed(jobs: JobServer) -> tuple[str, job_server.JobState]:
    said: list[str] = []
    state = job_log.follow(job_server.connect(jobs.address, {}), JOB, said.append)
    return "".join(said), state


@pytest.mark.parametrize("ending", ["broken", "silent", "over"])
def test_a_connection_that_ends_before_its_job_is_made_again_and_nothing_is_said_twice(
    jobs: JobServer, ending: str
) -> None:
    jobs.endings, jobs.states = [ending], ["RUNNING", "SUCCEEDED"]
    if ending == "broken":
        # The state is not asked for when the log broke off.
        jobs.states = ["SUCCEEDED"]
    said, state = followed(jobs)
    assert said == LOG
    assert (state.status, state.exit_code, state.is_over) == ("SUCCEEDED", 0, True)
    assert jobs.endings == []


def test_a_job_that_is_silent_for_long_is_not_given_up(jobs: JobServer) -> None:
    silences = job_log.ATTEMPTS + 1
    jobs.endings, jobs.states = ["silent"] * silences, [*["RUNNING"] * silences, "SUCCEEDED"]
    assert followed(jobs)[0] == LOG


def test_a_log_that_breaks_off_now_and_then_is_not_given_up(jobs: JobServer) -> None:
    breaks = job_log.ATTEMPTS + 1
    jobs.endings, jobs.states = ["broken", "over"] * breaks, [*["RUNNING"] * breaks, "SUCCEEDED"]
    assert followed(jobs)[0] == LOG


def test_a_server_that_fails_for_long_is_given_up_and_the_job_is_not(jobs: JobServer) -> None:
    jobs.states = [500]
    with pytest.raises(ClusterError, match=f"Lost contact with the job {JOB}") as lost:
        followed(jobs)
    assert "status 500: no such luck" in str(lost.value)
    assert f"`ray job status {JOB} --address {jobs.address}`" in str(lost.value)


def test_a_token_that_is_no_longer_accepted_ends_the_log_at_once(
    jobs: JobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.states = [401]
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with pytest.raises(ClusterError, match="does not accept the token"):
        followed(jobs)


def test_a_server_that_goes_on_refusing_with_a_token_does_not_say_that_none_is_set(jobs: JobServer) -> None:
    jobs.wants = (401, 401)
    with pytest.raises(ClusterError, match="does not accept the token") as refused:
        job_server.connect(jobs.address, {"RAY_AUTH_TOKEN": TOKEN})
    assert "the token from RAY_AUTH_TOKEN" in str(refused.value)


@pytest.mark.parametrize(("without", "expected"), [(200, {""}), (401, {"", f"Bearer {TOKEN}"})])
def test_a_token_goes_to_a_server_that_asks_for_one_alone(jobs: JobServer, without: int, expected: set[str]) -> None:
    """Runs in its own process, because Ray reads its mode once and its client sends the token to both."""
    jobs.wants = (200, without)
    program = f"from raypipe.cluster import job_server; job_server.connect({jobs.address!r})"
    shell = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    subprocess.run([sys.executable, "-c", program], check=True, env=shell)
    assert len(jobs.heard) > 1
    assert set(jobs.heard) == expected
