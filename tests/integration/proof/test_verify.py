"""Test `raypipe verify`: each statement that it prints yields the same to a plain client that may only read."""

from __future__ import annotations

import json
import secrets
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from raypipe import night
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import UsageError
from raypipe.proof import checks, last_runs
from raypipe.proof import verify as module
from raypipe.proof.checks import Check
from raypipe.proof.verify import Verification
from raypipe.score import runs
from tests.faults.few import few_readers
from tests.faults.oracle import loaded
from tests.faults.servers import LIMITED, Embedded
from tests.integration.proof.conftest import copied
from tests.integration.proof.places import FEATURES, Place, spend
from tests.integration.proof.test_commands import documented, invoked

DAY = date(2026, 1, 31)
CHURN, PREDICTIONS = "customer_churn_predictions", "ml_model_predictions"
CHURN_VIEW, PREDICTIONS_VIEW = "raypipe_current_customer_churn_predictions", "raypipe_current_predictions"
ROWS, VIEW = f"rows of {CHURN}", f"view {CHURN_VIEW}"


@dataclass(frozen=True)
class Proven:
    """A published pipeline, and the endpoint of a user who may only read."""

    place: Place
    reader: Endpoint

    @property
    def client(self) -> Client:
        return self.place.client

    def run(self, sql: str) -> None:
        self.place.run(sql)

    def newest(self) -> runs.Run:
        return runs.find(self.client, runs.listed(self.client, limit=1)[0].run_id)

    def verify(self, run: runs.Run | None = None, *, fresh: bool = False) -> Verification:
        """Verify a run, and see that each statement yields the same to the reader."""
        result = module.verify(self.client, run or self.newest(), fresh=fresh)
        for check in result.checks:
            if check.sql:
                assert asked(self.reader, self.client.endpoint.database, check.sql) == check.found, check.name
        return result

    def wrong(self) -> dict[str, Check]:
        return {check.name: check for check in self.verify().wrong}


def asked(reader: Endpoint, database: str, sql: str) -> dict[str, object]:
    """Send a statement as text over HTTP; {} where the server refuses it."""
    options = {"database": database, "default_format": "JSONEachRow", "output_format_json_quote_64bit_integers": "0"}
    secret = Path(str(reader.password_file)).read_text(encoding="utf-8")
    request = urllib.request.Request(
        f"{reader.url}/?{urllib.parse.urlencode(options)}",
        data=sql.encode(),
        headers={"X-ClickHouse-User": reader.user, "X-ClickHouse-Key": secret},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, object] = json.loads(response.read())
            return answer
    except urllib.error.HTTPError as error:
        if "UNKNOWN_" not in error.read().decode():
            raise
        return {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    engine = Embedded(tmp_path_factory.mktemp("verified"), grants=["GRANT SELECT ON *.*"])
    try:
        yield engine.start()
    finally:
        engine.stop()


@pytest.fixture(scope="module")
def published(server: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with few_readers(server, tmp_path_factory.mktemp("churn")) as few:
        few.score()
        yield Place(few.publisher, few.client, loaded(few.publisher))


@pytest.fixture
def churn(published: Place, server: Endpoint) -> Iterator[Proven]:
    with copied(published) as place:
        yield Proven(place, replace(server, user=LIMITED))


@pytest.fixture(scope="module")
def shops(server: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proven]:
    with spend(server, tmp_path_factory.mktemp("shops")) as place:
        place.publish()
        yield Proven(place, replace(server, user=LIMITED))


def test_a_published_run_is_right(churn: Proven) -> None:
    result = churn.verify(fresh=True)
    assert result.is_ok
    assert [(check.name, check.status) for check in result.checks] == [
        *((name, "ok") for name in ("source", "ledger", "model", "artifact")),
        *((name, "ok") for name in (ROWS, VIEW, f"rows of {PREDICTIONS}", f"view {PREDICTIONS_VIEW}")),
    ]
    run = churn.newest()
    everything = {"rows": 300, "keys": 300, "checksum": run.source_checksum, "rows_of_other_runs": 0}
    assert all(check.found == everything for check in result.checks[4:])


def test_the_reader_may_only_read(churn: Proven) -> None:
    with pytest.raises(urllib.error.HTTPError):
        asked(churn.reader, churn.client.endpoint.database, f"TRUNCATE TABLE {CHURN}")


def test_a_copied_population_is_counted_in_its_source(shops: Proven) -> None:
    result = shops.verify()
    assert result.is_ok
    assert result.checks[0].name == "source"
    # The target has one of the two keys, so its rows are counted only.
    assert result.checks[-1].found == {"rows": 400, "rows_of_other_runs": 0}


def test_rejected_rows_are_not_in_the_checksum(server: Endpoint, tmp_path: Path) -> None:
    features = FEATURES.replace("AND {slice}", "AND shop = 1 AND {slice}")
    options = ("entity.keys=[customer]", "score.max_rejected=1")
    with spend(server, tmp_path, *options, features=features, high=60.0) as place:
        place.publish()
        proven = Proven(place, replace(server, user=LIMITED))
        run, result = proven.newest(), proven.verify()
        assert result.is_ok
        assert 0 < run.rows_rejected < 200
        found = result.checks[-1].found
        assert found["rows"] == found["keys"] == 200 - run.rows_rejected
        assert found["checksum"] != run.source_checksum
        proven.run(f"DELETE FROM {PREDICTIONS} WHERE entity_id = (SELECT min(entity_id) FROM {PREDICTIONS})")
        assert proven.wrong().keys() == {f"rows of {PREDICTIONS}", f"view {PREDICTIONS_VIEW}"}


def test_a_lost_row_is_wrong(churn: Proven) -> None:
    churn.run(f"DELETE FROM {CHURN} WHERE user_id = 'u17'")
    assert {name: check.found["rows"] for name, check in churn.wrong().items()} == {ROWS: 299, VIEW: 299}


def test_a_doubled_row_is_wrong(churn: Proven) -> None:
    churn.run(f"INSERT INTO {CHURN} SELECT * FROM {CHURN} WHERE user_id = 'u17'")
    wrong = churn.wrong()
    assert wrong.keys() == {ROWS, VIEW}
    assert (wrong[ROWS].found["rows"], wrong[ROWS].found["keys"]) == (301, 300)


def swap_in_a_foreign_key(churn: Proven) -> None:
    row = f"(SELECT * FROM {CHURN} WHERE user_id = 'u17')"
    churn.run(f"INSERT INTO {CHURN} SELECT * REPLACE ('nobody' AS user_id) FROM {row}")
    churn.run(f"DELETE FROM {CHURN} WHERE user_id = 'u17'")


def test_a_foreign_key_is_wrong_though_the_counts_are_right(churn: Proven) -> None:
    swap_in_a_foreign_key(churn)
    wrong = churn.wrong()
    assert wrong.keys() == {ROWS, VIEW}
    assert wrong[ROWS].found == {**wrong[ROWS].expected, "checksum": wrong[ROWS].found["checksum"]}


def test_without_the_checksum_a_foreign_key_is_not_seen(churn: Proven, monkeypatch: pytest.MonkeyPatch) -> None:
    swap_in_a_foreign_key(churn)
    monkeypatch.setattr(checks, "key_columns", lambda *_: ())
    assert churn.verify().is_ok


def test_resurrected_rows_are_wrong_for_both_runs(churn: Proven) -> None:
    first = churn.newest()
    churn.run(f"CREATE TABLE earlier AS {CHURN}")
    churn.run(f"INSERT INTO earlier SELECT * FROM {CHURN}")
    churn.place.publish()
    second = churn.newest()
    assert second.run_id != first.run_id
    assert churn.verify().is_ok
    gone = churn.verify(runs.find(churn.client, first.run_id))
    assert (gone.is_ok, gone.status, gone.superseded_by) == (True, "SUPERSEDED", second.run_id)
    assert [check.found for check in gone.checks] == [{"rows": 0}] * 4
    churn.run(f"INSERT INTO {CHURN} SELECT * FROM earlier LIMIT 7")
    assert {name: check.found["rows_of_other_runs"] for name, check in churn.wrong().items()} == {ROWS: 7}
    again = churn.verify(runs.find(churn.client, first.run_id))
    assert {check.name: check.found for check in again.wrong} == {ROWS: {"rows": 7}}


@pytest.mark.parametrize("cut", ["LIMIT 299", "WHERE user_id != 'u17'"])
def test_a_view_that_was_replaced_is_wrong(churn: Proven, cut: str) -> None:
    churn.run(f"CREATE OR REPLACE VIEW {CHURN_VIEW} AS SELECT * FROM {CHURN} {cut}")
    assert churn.wrong().keys() == {VIEW}


def test_a_view_that_is_gone_is_wrong(churn: Proven) -> None:
    churn.run(f"DROP VIEW {CHURN_VIEW}")
    wrong = churn.wrong()
    assert wrong.keys() == {VIEW}
    assert "UNKNOWN_TABLE" in wrong[VIEW].reason


def test_rows_of_others_stay_right(churn: Proven) -> None:
    churn.run(
        f"INSERT INTO {PREDICTIONS} (prediction_id, prediction_type, prediction_date, entity_id)"
        " VALUES ('theirs', 'churn', '2026-01-31', 'by hand')"
    )
    assert churn.verify().is_ok


def test_a_source_that_changed_is_a_warning_later_and_wrong_at_once(churn: Proven) -> None:
    churn.run("DELETE FROM customer_user_features WHERE user_id = 'u17'")
    (source, *_) = churn.verify().checks
    assert (source.status, source.reason, source.found["rows"]) == ("warning", "the source has changed since", 299)
    assert churn.verify().is_ok
    assert [check.name for check in churn.verify(fresh=True).wrong] == ["source"]


def test_a_source_that_is_gone_is_a_warning(churn: Proven) -> None:
    churn.run("DROP TABLE customer_user_features SYNC")
    (source, *_) = churn.verify().checks
    assert (source.status, "UNKNOWN_TABLE" in source.reason) == ("warning", True)


def test_a_copied_population_may_change_right_after_the_run(server: Endpoint, tmp_path: Path) -> None:
    with spend(server, tmp_path) as place:
        place.publish()
        place.run("DELETE FROM customers WHERE customer = 5")
        proven = Proven(place, replace(server, user=LIMITED))
        later, at_once = proven.verify(), proven.verify(fresh=True)
    assert (later.is_ok, later.checks[0].name, later.checks[0].status) == (True, "source", "warning")
    assert at_once.is_ok
    assert "source" not in [check.name for check in at_once.checks]


def test_a_changed_ledger_and_a_changed_registry_are_wrong(churn: Proven) -> None:
    churn.run("ALTER TABLE raypipe_slices UPDATE checksum = checksum + 1 WHERE slice = 0")
    assert churn.wrong().keys() == {"ledger"}
    churn.run("ALTER TABLE ml_model_registry UPDATE metadata = replace(metadata, 'artifact_sha256', 'x') WHERE 1")
    assert churn.wrong().keys() == {"ledger", "model"}


def test_an_altered_artifact_is_wrong_and_one_that_is_elsewhere_a_warning(churn: Proven, tmp_path: Path) -> None:
    folder = Path(json.loads(churn.newest().manifest)["artifact_uri"])
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    try:
        with (folder / "model.ubj").open("ab") as file:
            file.write(secrets.token_bytes(1))
        wrong = churn.wrong()
        assert wrong.keys() == {"artifact"}
        assert "model.ubj" in wrong["artifact"].reason
        shutil.rmtree(folder)
        result = churn.verify()
        assert result.is_ok
        assert {check.name for check in result.checks if check.status == "warning"} == {"artifact"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kept, folder)


def test_while_a_later_run_is_swapped_in_the_committed_run_is_right_in_its_copy(
    server: Endpoint, tmp_path: Path
) -> None:
    with few_readers(server, tmp_path) as few:
        first = few.score()
        second = few.plan()
        few.dies(second, runs, "commit")
        proven = Proven(Place(few.publisher, few.client, loaded(few.publisher)), replace(server, user=LIMITED))
        result = proven.verify(few.find(first))
        assert result.is_ok
        assert f"raypipe_previous_{first}" in result.checks[4].sql
        unfinished = proven.verify(few.find(second))
        assert (unfinished.is_ok, unfinished.status, unfinished.checks) == (False, "FAILED", ())
        few.run(second)
        assert proven.verify(few.find(second)).is_ok


def test_the_runs_of_a_date(churn: Proven) -> None:
    newest = churn.newest().run_id
    for day, pipeline in ((DAY, None), (None, "churn"), (None, None)):
        assert [run.run_id for run in module.committed(churn.client, day, pipeline)] == [newest]
    with pytest.raises(UsageError, match="churn has no published run of 2026-01-30"):
        module.committed(churn.client, date(2026, 1, 30), "churn")
    with pytest.raises(UsageError, match="clicks has no published run of any date"):
        module.committed(churn.client, None, "clicks")


def test_the_last_runs_are_right_until_a_view_shows_something_else(churn: Proven) -> None:
    run = churn.newest()
    (committed,) = last_runs.committed(churn.client)
    assert committed.run_id == run.run_id
    assert last_runs.wrong(churn.client, [committed]) == {}
    churn.run(f"DELETE FROM {CHURN} WHERE user_id = 'u17'")
    sentence = f"{CHURN_VIEW} shows 299 of 300 rows, and 0 of other runs"
    assert last_runs.wrong(churn.client, [committed]) == {run.run_id: [sentence]}
    churn.run(f"DROP VIEW {PREDICTIONS_VIEW}")
    assert last_runs.wrong(churn.client, [committed])[run.run_id][1] == f"{PREDICTIONS_VIEW} does not exist"


def test_a_view_that_shows_a_superseded_run_is_named_with_the_committed_run(churn: Proven) -> None:
    churn.run(f"CREATE TABLE earlier AS {CHURN}")
    churn.run(f"INSERT INTO earlier SELECT * FROM {CHURN}")
    churn.place.publish()
    churn.run(f"INSERT INTO {CHURN} SELECT * FROM earlier LIMIT 7")
    committed = last_runs.committed(churn.client)
    assert last_runs.wrong(churn.client, committed) == {}
    churn.run(f"CREATE OR REPLACE VIEW {CHURN_VIEW} AS SELECT * FROM {CHURN}")
    assert last_runs.wrong(churn.client, committed) == {
        churn.newest().run_id: [f"{CHURN_VIEW} shows 300 of 300 rows, and 7 of other runs"]
    }


def test_a_night_refuses_what_is_wrong_and_fails_what_cannot_be_verified(churn: Proven) -> None:
    run = churn.newest()
    step = night.Step("churn", "done", run.run_id, run.date, run.rows_published)
    good = night._verified(churn.client.endpoint, step, run)
    assert (good.status, good.verified, good.reason) == ("done", True, "")
    assert good.verify_seconds > 0
    churn.run(f"DELETE FROM {CHURN} WHERE user_id = 'u17'")
    wrong = night._verified(churn.client.endpoint, step, run)
    assert (wrong.status, wrong.verified, wrong.run_id) == ("refused", False, run.run_id)
    assert f"{ROWS}, {VIEW}; `raypipe verify {run.run_id}`" in wrong.reason
    churn.run(f"DROP TABLE {CHURN} SYNC")
    failed = night._verified(churn.client.endpoint, step, run)
    assert (failed.status, failed.verified) == ("failed", False)
    assert "could not be verified" in failed.reason


def test_verify_prints_the_documented_json(churn: Proven) -> None:
    run_id = churn.newest().run_id
    result = invoked(churn.place, "verify", run_id, "--json")
    assert result.exit_code == 0, result.stderr
    document, wanted = json.loads(result.stdout), documented("verify")
    assert document.keys() == wanted.keys()
    assert document["runs"][0].keys() == wanted["runs"][0].keys()
    assert document["runs"][0]["checks"][0].keys() == wanted["runs"][0]["checks"][0].keys()
    assert document["database"] == churn.client.endpoint.database
    assert (document["runs"][0]["run_id"], document["runs"][0]["ok"]) == (run_id, True)
    for options in (("--date", "2026-01-31"), ("--date", "latest", "--pipeline", "churn")):
        other = json.loads(invoked(churn.place, "verify", *options, "--json").stdout)
        assert [run["run_id"] for run in other["runs"]] == [run_id]


def test_verify_prints_the_sql_of_what_is_wrong_and_all_of_it_when_asked(churn: Proven) -> None:
    run_id = churn.newest().run_id
    result = invoked(churn.place, "verify", run_id)
    assert result.exit_code == 0
    assert f"{run_id}: PUBLISHED" in result.stdout
    assert "FROM" not in result.stdout
    assert invoked(churn.place, "verify", run_id, "--sql").stdout.count("\n-- ") == 7
    churn.run(f"DELETE FROM {CHURN} WHERE user_id = 'u17'")
    wrong = invoked(churn.place, "verify", run_id)
    assert wrong.exit_code == 3
    assert wrong.stdout.count("\n-- ") == 2
    # Printed as it is sent: nothing wrapped, nothing left to fill in.
    shown = wrong.stdout[wrong.stdout.index("\n-- ") :].split(";")[0]
    answer = asked(churn.reader, churn.client.endpoint.database, shown)
    assert (answer["rows"], answer["keys"]) == (299, 299)


def test_a_run_that_is_not_published_ends_with_code_3_and_an_unknown_one_with_code_2(churn: Proven) -> None:
    run = churn.newest()
    for arguments in (("nobody",), ("--date", "2026-01-30"), (), (run.run_id, "--date", "latest"), ("--date", "31")):
        assert invoked(churn.place, "verify", *arguments).exit_code == 2, arguments
    runs.save(churn.client, run, run.sequence + 1, status=runs.REFUSED)
    result = invoked(churn.place, "verify", run.run_id)
    assert result.exit_code == 3
    assert f"{run.run_id} is REFUSED" in result.stdout


def test_the_doctor_names_the_run_to_verify(churn: Proven) -> None:
    def checked() -> dict[str, str]:
        document = json.loads(invoked(churn.place, "doctor", "--json").stdout)
        return next(check for check in document["checks"] if check["name"] == "last runs")

    assert checked()["detail"] == "the views show the 1 committed runs of the last 7 dates"
    churn.run(f"CREATE OR REPLACE VIEW {CHURN_VIEW} AS SELECT * FROM {CHURN} WHERE user_id != 'u17'")
    found = checked()
    assert (found["status"], found["next_step"]) == ("problem", f"`raypipe verify {churn.newest().run_id}`")
    assert "299 of 300 rows" in found["detail"]
