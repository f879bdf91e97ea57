"""Test sql/grants.sql: its users do their work with exactly these grants, and each grant that is missing is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from raypipe.ads import ads
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load_all
from raypipe.config.load import Loaded, load_pipeline
from raypipe.demo import build
from raypipe.errors import Denied
from raypipe.features import snapshots
from raypipe.fit import fit
from raypipe.night import Step, run_night
from raypipe.project import shipped
from raypipe.score import plan, runs, score
from raypipe.validate import validation
from tests.faults.servers import configured

LAST = date(2026, 1, 31)
DATABASE = "publisher"
PASSWORD = "only for a test"
ANALYST, TRAINING, NIGHTLY = "raypipe_analyst", "raypipe_training", "raypipe_nightly"
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


def without(grant: Grant) -> str:
    """Return the name of the nightly user that lacks one grant."""
    return f"without_{ALL.index(grant)}"


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def _user(name: str, grants: Sequence[Grant]) -> str:
    queries = "".join(f"<query>GRANT {grant}</query>" for grant in grants)
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
        quick = (f"artifacts={self.artifacts}", "evaluate.bootstrap=20", "score.explain.rows=20")
        return load_pipeline(pipeline, shipped() / "configs", [*quick, *overrides], environ={})

    def contents(self) -> list[tuple[object, ...]]:
        """Return a checksum of each table that others read."""
        with Client(self.owner) as client:
            tables = [row[0] for row in client.rows("SHOW TABLES FROM publisher LIKE 'customer_%'")]
            tables += ["raypipe_current_predictions", "ml_model_registry", "raypipe_aliases"]
            sums = " UNION ALL ".join(
                f"SELECT '{name}' AS name, count(), groupBitXor(cityHash64(*)) FROM publisher.{name}" for name in tables
            )
            return client.rows(f"{sums} ORDER BY name")


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    folder = tmp_path_factory.mktemp("clickhouse")
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    users = dict(USERS) | {without(grant): tuple(one for one in ALL if one != grant) for grant in ALL}
    configured(folder, STRICT, users="".join(_user(name, grants) for name, grants in users.items()))
    with open_embedded(folder) as lease:
        with Client(lease.endpoint) as owner:
            owner.run(f"CREATE DATABASE {DATABASE}")
        with Client(replace(lease.endpoint, database=DATABASE)) as client:
            migrate(client)
            build(client, users=2000, days=120, last_date=LAST)
            # The night is to make it.
            client.run("DELETE FROM customer_user_features WHERE feature_date = {day:Date}", {"day": LAST})
        yield Publisher(lease.endpoint, secret, tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def night(publisher: Publisher, ray_session: None) -> dict[str, Step]:
    """Run the whole night as the nightly user."""
    loaded = {name: publisher.load(name) for name in PIPELINES}
    return {step.pipeline: step for step in run_night(publisher.of(NIGHTLY), loaded, LAST, "UTC", silent)}


@pytest.mark.parametrize("pipeline", ["features", *PIPELINES])
def test_the_nightly_user_does_the_night_of_every_pipeline(night: dict[str, Step], pipeline: str) -> None:
    step = night[pipeline]
    assert (step.status, step.said) == ("done", "")
    assert step.rows > 0


def test_no_shipped_pipeline_is_left_out() -> None:
    folder = shipped() / "configs"
    assert {path.stem for path in folder.glob("*.yaml")} - {"base"} == set(PIPELINES)


def test_the_nightly_user_judges_earlier_predictions(publisher: Publisher, night: dict[str, Step]) -> None:
    loaded = publisher.load("churn")
    score.score(publisher.of(NIGHTLY), loaded, LAST - timedelta(days=30), "champion", silent)
    with Client(publisher.of(NIGHTLY)) as client:
        assert validation.tonight(client, loaded, silent).new > 0


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


def _ads(publisher: Publisher, user: str) -> None:
    # Another seed makes another version, which is registered, promoted and published.
    loaded = publisher.load("ads", f"split.seed={100 + int(user.rpartition('_')[2])}")
    ads.run(publisher.of(user), loaded, LAST, silent)


def _plan(publisher: Publisher, user: str) -> None:
    plan.plan(publisher.of(user), publisher.load("churn"), LAST, "champion")


def _churn(publisher: Publisher, user: str) -> None:
    score.score(publisher.of(user), publisher.load("churn"), LAST, "champion", silent)


def _conversion(publisher: Publisher, user: str) -> None:
    score.score(publisher.of(user), publisher.load("conversion"), LAST, "champion", silent)


def _recommendation(publisher: Publisher, user: str) -> None:
    score.score(publisher.of(user), publisher.load("recommendation"), LAST, "champion", silent)


def _segmentation(publisher: Publisher, user: str) -> None:
    score.score(publisher.of(user), publisher.load("segmentation"), LAST, "champion", silent)


def _fit(publisher: Publisher, user: str) -> None:
    fit.fit(publisher.of(user), publisher.load("engagement"), LAST, silent)


def _features(publisher: Publisher, user: str) -> None:
    with Client(publisher.of(user)) as client:
        now = datetime(2026, 2, 2, tzinfo=UTC)
        snapshots.compute(client, LAST, run_at=now, timezone="UTC", progress=silent, replace=True)


def _rejected(publisher: Publisher, user: str) -> None:
    with Client(publisher.of(user)) as client:
        client.run("INSERT INTO raypipe_rejected_rows (run_id) VALUES ('x')")


STEPS = {
    "system.parts": _plan,
    "publisher.*": _plan,
    "publisher.ml_model_features": _features,
    "publisher.ml_model_training_runs": _fit,
    "publisher.raypipe_training_*": _fit,
    "publisher.raypipe_explain_*": _churn,
    "publisher.raypipe_rejected_rows": _rejected,
    "publisher.customer_churn_predictions": _churn,
    "publisher.customer_conversion_predictions": _conversion,
    "publisher.customer_recommendations": _recommendation,
    "publisher.customer_user_segments": _segmentation,
    "publisher.customer_user_segment_assignments": _segmentation,
    "publisher.customer_user_features": _features,
}


@pytest.mark.parametrize("grant", ALL, ids=str)
def test_each_grant_is_needed_and_its_lack_is_refused_by_name(
    publisher: Publisher, night: dict[str, Step], grant: Grant
) -> None:
    user = without(grant)
    before = publisher.contents()
    with pytest.raises(Denied) as denied:
        STEPS.get(grant.on, _ads)(publisher, user)
    assert grant.privilege in str(denied.value)
    assert publisher.contents() == before
