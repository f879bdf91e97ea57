"""Test sql/grants.sql: its users do their work with exactly these grants, and each grant that is missing is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from raypipe.ads import ads
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import grants
from raypipe.clickhouse.schema.migrate import migrate, schema
from raypipe.clickhouse.schema.needed import Needed
from raypipe.clickhouse.statements import load_all
from raypipe.config.load import Loaded, load_pipeline
from raypipe.config.shared import CLICKHOUSE
from raypipe.demo import build
from raypipe.doctor import examine
from raypipe.errors import Denied
from raypipe.experiment.assign import assign
from raypipe.features import snapshots
from raypipe.fit import fit
from raypipe.night import Step, run_night
from raypipe.project import shipped
from raypipe.score import permissions, plan, runs, score
from raypipe.validate import validate as validation
from tests.conftest import PUBLISHER_DAYS, PUBLISHER_LAST_DATE, PUBLISHER_SEED, PUBLISHER_USERS
from tests.faults.servers import configured
from tests.integration.experiment.conftest import written

LAST = PUBLISHER_LAST_DATE
EVERYTHING = Needed(schema())
DATABASE = "publisher"
PASSWORD = "only for a test"
ANALYST, TRAINING, NIGHTLY = "raypipe_analyst", "raypipe_training", "raypipe_nightly"
EXPERIMENTS = "raypipe_experiments"
# Of boosted trees a third of the shipped rounds, and of the models beside churn's champion the quickest.
QUICK = ["model.rounds=80", "model.params.eta=0.15"]
LOGISTIC = "baselines.models=[{name: logistic, class: 'raypipe.models.sklearn:LogisticRegression', rounds: 50}]"
PIPELINES = ("ads", "baselines", "churn", "clicks", "conversion", "engagement", "recommendation", "segmentation")
# As in the configuration of a server: nothing is granted that no statement grants.
STRICT = """<access_control_improvements>
    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
    <table_engines_require_grant>true</table_engines_require_grant>
</access_control_improvements>"""
USER = """<{name}>
    <password_sha256_hex>{digest}</password_sha256_hex>
    <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
    <grants>{grants}</grants>
</{name}>"""


@dataclass(frozen=True)
class Grant:
    """One privilege on one thing, as `INSERT` on `publisher.raypipe_runs`."""

    privilege: str
    on: str

    def __str__(self) -> str:
        return f"{self.privilege} ON {self.on}"


def granted() -> dict[str, tuple[Grant, ...]]:
    """Return what each user of sql/grants.sql is granted through its roles."""
    roles: dict[str, list[Grant]] = {}
    users: dict[str, tuple[Grant, ...]] = {}
    for statement in load_all(shipped() / "sql" / "grants.sql"):
        if match := re.fullmatch(r"GRANT (.+) ON (\S+) TO (\w+)", statement.text):
            roles.setdefault(match[3], []).extend(Grant(one, match[2]) for one in match[1].split(", "))
        elif match := re.fullmatch(r"GRANT ([\w, ]+) TO (\w+)", statement.text):
            users[match[2]] = tuple(dict.fromkeys(grant for role in match[1].split(", ") for grant in roles[role]))
    return users


USERS = granted()
ALL = USERS[NIGHTLY]


def lost(grant: Grant) -> set[Grant]:
    """Return a grant with the grant that a server takes in its place: it moves a partition with ALTER DELETE, too."""
    return {grant, Grant("ALTER DELETE", grant.on)} if grant.privilege == "ALTER MOVE PARTITION" else {grant}


def without(grant: Grant) -> str:
    """Return the name of the nightly user that lacks one grant."""
    return f"without_{ALL.index(grant)}"


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def _user(name: str, held: Sequence[Grant]) -> str:
    queries = "".join(f"<query>GRANT {grant}</query>" for grant in held)
    return USER.format(name=name, digest=sha256(PASSWORD.encode()).hexdigest(), grants=queries)


@dataclass(frozen=True)
class Publisher:
    """The engine with the users of sql/grants.sql, and with a user for each grant that lacks this grant alone."""

    owner: Endpoint
    secret: Path
    artifacts: Path

    def of(self, user: str) -> Endpoint:
        """Return the publisher's database as a user reaches it."""
        return replace(self.owner, user=user, password_file=str(self.secret), database=DATABASE)

    def load(self, pipeline: str, *overrides: str) -> Loaded:
        quick = [f"artifacts={self.artifacts}", "evaluate.bootstrap=20", "score.explain.rows=20"]
        quick += {"baselines": [LOGISTIC], "churn": QUICK, "engagement": QUICK}.get(pipeline, [])
        return load_pipeline(pipeline, shipped() / "configs", [*quick, *overrides], environ={})

    def contents(self) -> list[tuple[object, ...]]:
        """Return a checksum of each table that others read."""
        with Client(self.owner) as client:
            tables = [row[0] for row in client.rows("SHOW TABLES FROM publisher LIKE 'customer_%'")]
            tables += ["raypipe_current_predictions", "ml_model_registry", "raypipe_aliases"]
            sums = " UNION ALL ".join(
                f"SELECT '{name}' AS name, count(), groupBitXor(cityHash64(*)) FROM publisher.{name}" for name in tables
            )
            # Final: a merge that drops what is replaced is no change.
            return sorted(client.rows(sums, settings={"final": 1}))


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    folder = tmp_path_factory.mktemp("clickhouse")
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    users = dict(USERS) | {without(grant): tuple(one for one in ALL if one not in lost(grant)) for grant in ALL}
    configured(folder, STRICT, users="".join(_user(name, held) for name, held in users.items()))
    with open_embedded(folder) as lease:
        with Client(lease.endpoint) as owner:
            owner.run(f"CREATE DATABASE {DATABASE}")
        with Client(replace(lease.endpoint, database=DATABASE)) as client:
            migrate(client)
            # As many readers as a first version of churn needs to beat its baselines.
            build(client, users=PUBLISHER_USERS, days=PUBLISHER_DAYS, seed=PUBLISHER_SEED, last_date=LAST)
            # The night is to make it.
            client.run("DELETE FROM customer_user_features WHERE feature_date = {day:Date}", {"day": LAST})
        yield Publisher(lease.endpoint, secret, Path(CLICKHOUSE))


@pytest.fixture(scope="module")
def night(publisher: Publisher) -> dict[str, Step]:
    """Run the whole night as the nightly user."""
    loaded = {name: publisher.load(name) for name in PIPELINES}
    return {step.pipeline: step for step in run_night(publisher.of(NIGHTLY), loaded, LAST, "UTC", silent)}


@pytest.mark.parametrize("pipeline", ["features", *PIPELINES])
def test_the_nightly_user_does_the_night_of_every_pipeline(night: dict[str, Step], pipeline: str) -> None:
    step = night[pipeline]
    assert (step.status, step.reason) == ("done", "")
    assert step.rows_published > 0


def test_no_shipped_pipeline_is_left_out() -> None:
    folder = shipped() / "configs"
    assert {path.stem for path in folder.glob("*.yaml")} - {"base"} == set(PIPELINES)


def test_the_nightly_user_judges_earlier_predictions(publisher: Publisher, night: dict[str, Step]) -> None:
    loaded = publisher.load("churn")
    score.score(publisher.of(NIGHTLY), loaded, LAST - timedelta(days=30), "champion", silent)
    with Client(publisher.of(NIGHTLY)) as client:
        assert validation.validate_newest(client, loaded, silent).new > 0


def test_the_nightly_user_publishes_a_date_again(publisher: Publisher, night: dict[str, Step]) -> None:
    result = score.score(publisher.of(NIGHTLY), publisher.load("churn"), LAST, "champion", silent)
    # The earlier run's rows were kept for readers meanwhile.
    assert json.loads(result.outcome.run.previous).keys() == {"customer_churn_predictions", "ml_model_predictions"}


def test_the_training_user_fits_and_does_not_publish(publisher: Publisher, night: dict[str, Step]) -> None:
    loaded = publisher.load("segmentation")
    assert fit.fit(publisher.of(TRAINING), loaded, LAST, silent).fitted
    before = publisher.contents()
    with pytest.raises(Denied):
        score.score(publisher.of(TRAINING), loaded, LAST, "champion", silent)
    assert publisher.contents() == before


def test_the_analyst_looks_and_changes_nothing(publisher: Publisher, night: dict[str, Step]) -> None:
    before = publisher.contents()
    with Client(publisher.of(ANALYST)) as client:
        assert runs.listed(client, "churn")
    assert plan.plan(publisher.of(ANALYST), publisher.load("churn"), LAST, "champion").lacking
    with pytest.raises(Denied):
        fit.fit(publisher.of(ANALYST), publisher.load("segmentation"), LAST, silent)
    assert publisher.contents() == before


def test_the_user_of_experiments_alone_assigns_readers(publisher: Publisher, tmp_path: Path) -> None:
    metrics = [{"name": "readers", "kind": "mean", "value": "1"}]
    loaded = written(tmp_path, table="users", arm=None, salt="headline-2026", metrics=metrics)
    now = datetime(2026, 2, 2, tzinfo=UTC)
    for user in (ANALYST, NIGHTLY):
        with Client(publisher.of(user)) as client, pytest.raises(Denied, match="raypipe_exposures"):
            assign(client, loaded, "users", now, silent)
    with Client(publisher.of(EXPERIMENTS)) as client:
        assert assign(client, loaded, "users", now, silent).added > 0


# A statement of each kind that a run makes, and that needs the privilege; `{table}` is what it is granted on.
STATEMENTS = {
    "SELECT": "SELECT 1 FROM {table} LIMIT 0",
    "INSERT": "INSERT INTO {table} SELECT * FROM {table} WHERE 0",
    "CREATE TABLE": "CREATE TABLE {table}new (x UInt8) ENGINE = Null",
    "DROP TABLE": "DROP TABLE {table} SYNC",
    "ALTER DELETE": "ALTER TABLE {table} DROP PARTITION ID 'none'",
    "ALTER MOVE PARTITION": "ALTER TABLE {table} MOVE PARTITION ID 'none' TO TABLE publisher.ml_model_predictions",
    "TABLE ENGINE": "CREATE TABLE publisher.raypipe_snapshot_new ENGINE = {table} ORDER BY 1 AS SELECT 1",
}
# The doctor alone reads them, and no run.
FOR_THE_DOCTOR = {"system.disks": "disk of the server", "system.merge_tree_settings": "deduplication"}


def _covered(on: str) -> str:
    """Return a table that a grant covers: the one that is named, or one of those that a fixture made."""
    return {"publisher.*": "publisher.ml_model_registry", "Null": "Null"}.get(on, on.replace("_*", "_probe"))


@pytest.fixture(scope="module")
def scratch(publisher: Publisher) -> None:
    """Make a table of each kind that runs make for themselves."""
    with Client(publisher.owner) as client:
        for on in sorted({grant.on for grant in ALL if grant.on.endswith("_*")}):
            client.run(f"CREATE TABLE {_covered(on)} AS {DATABASE}.ml_model_predictions")


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("grant", ALL, ids=str)
def test_each_grant_that_is_missing_is_refused_and_the_doctor_names_it(publisher: Publisher, grant: Grant) -> None:
    statement = STATEMENTS[grant.privilege].format(table=_covered(grant.on))
    with Client(publisher.of(without(grant))) as client:
        with pytest.raises(Denied, match=grant.privilege):
            client.run(
                statement if grant.on != "Null" else "CREATE TABLE publisher.raypipe_lock_new (x UInt8) ENGINE = Null"
            )
        if grant.on in FOR_THE_DOCTOR:
            (check,) = [
                one for one in examine(publisher.of(without(grant)), EVERYTHING) if one.name == FOR_THE_DOCTOR[grant.on]
            ]
            assert grant.on in check.detail
            return
        lacking = grants.missing(client, grants.required(DATABASE, schema()))
    assert lacking
    named = {Grant(privilege, one.on) for one in lacking for privilege in one.privileges}
    if grant.on == f"{DATABASE}.*":
        assert {one.privilege for one in named} == {"SELECT"}
    else:
        assert named == lost(grant)


def test_the_doctor_misses_no_grant_of_the_nightly_user(publisher: Publisher) -> None:
    (check,) = [one for one in examine(publisher.of(NIGHTLY), EVERYTHING) if one.name == "grants"]
    assert check.status == "ok", check.detail


def _publish(publisher: Publisher, at: Endpoint, pipeline: str) -> None:
    """Do again what the night did for a pipeline, without its fit."""
    if pipeline == "ads":
        ads.run_ads(at, publisher.load("ads"), LAST, silent)
    elif pipeline == "features":
        with Client(at) as client:
            now = datetime(2026, 2, 2, tzinfo=UTC)
            snapshots.compute(client, LAST, run_at=now, timezone="UTC", progress=silent, replace=True)
    else:
        score.score(at, publisher.load(pipeline), LAST, "champion", silent)


def begun(publisher: Publisher) -> int:
    """Return the number of runs that have a row."""
    with Client(publisher.owner) as client:
        return int(client.value(f"SELECT uniqExact(run_id) FROM {DATABASE}.raypipe_runs"))


def test_scoring_names_every_grant_that_is_missing_before_a_run_begins(
    publisher: Publisher, night: dict[str, Step]
) -> None:
    before = begun(publisher)
    with pytest.raises(Denied, match="lacks grants that a run of segmentation needs") as refused:
        score.score(publisher.of(ANALYST), publisher.load("segmentation"), LAST, "champion", silent)
    for text in (
        "INSERT ON publisher.raypipe_runs",
        "INSERT, ALTER DELETE ON publisher.customer_user_segments",
        "CREATE TABLE, DROP TABLE ON publisher.raypipe_lock_*",
        "TABLE ENGINE ON ReplacingMergeTree",
    ):
        assert text in str(refused.value.found)
    assert begun(publisher) == before


def test_without_that_check_a_run_begins_that_cannot_end(
    publisher: Publisher, night: dict[str, Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = begun(publisher)
    monkeypatch.setattr(permissions, "require", lambda *_: None)
    limited = publisher.of(without(Grant("TABLE ENGINE", "ReplacingMergeTree")))
    with pytest.raises(Denied, match="TABLE ENGINE"):
        score.score(limited, publisher.load("segmentation"), LAST, "champion", silent)
    assert begun(publisher) == before + 1


# Steps that end at the first statement that is refused, with one grant each that they lack.
@pytest.mark.parametrize(
    ("pipeline", "grant"),
    [
        ("ads", Grant("CREATE TABLE", "publisher.raypipe_snapshot_*")),
        ("ads", Grant("CREATE TABLE", "publisher.raypipe_twin_*")),
        ("segmentation", Grant("CREATE TABLE", "publisher.raypipe_lock_*")),
        ("segmentation", Grant("INSERT", "publisher.raypipe_staging_*")),
        ("segmentation", Grant("TABLE ENGINE", "ReplacingMergeTree")),
        ("features", Grant("INSERT", "publisher.customer_user_features")),
    ],
    ids=str,
)
def test_a_step_that_lacks_a_grant_publishes_nothing(
    publisher: Publisher, night: dict[str, Step], pipeline: str, grant: Grant
) -> None:
    limited = publisher.of(without(grant))
    before = publisher.contents()
    with pytest.raises(Denied, match=grant.privilege):
        _publish(publisher, limited, pipeline)
    assert publisher.contents() == before
