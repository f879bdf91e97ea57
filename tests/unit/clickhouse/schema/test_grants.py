"""Test the required grants against the example file that grants them."""

from __future__ import annotations

import re
from collections.abc import Collection

import pytest

from raypipe.clickhouse.schema import grants
from raypipe.clickhouse.schema.migrate import schema
from raypipe.clickhouse.statements import load_all
from raypipe.clickhouse.tables import OWN_KINDS
from raypipe.config.load import list_pipelines, load_pipeline
from raypipe.project import shipped

REQUIRED = tuple(grants.required("publisher", schema()))
STATEMENTS = [" ".join(one.text.split()) for one in load_all(shipped() / "sql" / "grants.sql")]
ROLES_OF_NIGHTLY = {"raypipe_reader", "raypipe_trainer", "raypipe_sink", "raypipe_publisher"}


def granted(roles: Collection[str] = ROLES_OF_NIGHTLY) -> dict[str, set[str]]:
    """Return the privileges of some roles by what they are on."""
    privileges: dict[str, set[str]] = {}
    for statement in STATEMENTS:
        match = re.fullmatch(r"GRANT (.+) ON (\S+) TO (\w+)", statement)
        if match and match[3] in roles:
            privileges.setdefault(match[2], set()).update(match[1].split(", "))
    return privileges


def holds(has: dict[str, set[str]], grant: grants.Grant) -> bool:
    everywhere = has["publisher.*"] if grant.on.startswith("publisher.") else set()
    return set(grant.privileges) <= has.get(grant.on, set()) | everywhere


@pytest.mark.parametrize("grant", REQUIRED, ids=str)
def test_the_example_gives_the_nightly_user_what_is_required(grant: grants.Grant) -> None:
    assert holds(granted(), grant)


def test_who_may_not_fit_may_score() -> None:
    has = granted(ROLES_OF_NIGHTLY - {"raypipe_trainer"})
    for pipeline in list_pipelines(shipped() / "configs"):
        publish = load_pipeline(pipeline, shipped() / "configs", environ={}).config.publish
        of_scoring = list(grants.of_scoring("publisher", [item.target for item in publish], grants.ENGINES))
        assert [str(grant) for grant in of_scoring if not holds(has, grant)] == []


def test_the_nightly_user_of_the_example_has_those_roles() -> None:
    assert f"GRANT {', '.join(sorted(ROLES_OF_NIGHTLY))} TO raypipe_nightly" in [
        re.sub(r"GRANT (.+) TO (\w+)", lambda m: f"GRANT {', '.join(sorted(m[1].split(', ')))} TO {m[2]}", one)
        for one in STATEMENTS
    ]


def test_nobody_may_drop_a_table_that_is_not_a_runs_own() -> None:
    for on, privileges in granted().items():
        if privileges & {"DROP TABLE", "CREATE TABLE"}:
            assert re.fullmatch(rf"publisher\.raypipe_({'|'.join(OWN_KINDS)})_\*", on)


def test_every_table_that_gets_inserts_exists() -> None:
    assert {*grants.INSERTED, *grants.REPLACED} <= {one.name for one in schema()}


def test_every_kind_of_table_that_a_run_makes_is_asked_for() -> None:
    assert set(grants.SCRATCH) == set(OWN_KINDS)


def test_every_table_that_a_shipped_pipeline_publishes_into_is_granted() -> None:
    configs = shipped() / "configs"
    loaded = [load_pipeline(name, configs, environ={}) for name in list_pipelines(configs)]
    targets = {target.target for one in loaded for target in one.config.publish}
    published = {grant.on for grant in REQUIRED if set(grants.PUBLISHED) <= set(grant.privileges)}
    assert {f"publisher.{target}" for target in targets} <= published


def test_every_table_that_shipped_sql_inserts_into_is_granted() -> None:
    folders = [path for path in (shipped() / "sql").iterdir() if path.name not in ("demo", "schema")]
    texts = [file.read_text() for folder in folders for file in folder.glob("*.sql")]
    inserted = {name for text in texts for name in re.findall(r"^INSERT INTO (\w+)", text, re.MULTILINE)}
    assert inserted
    assert {f"publisher.{name}" for name in inserted} <= {one.on for one in REQUIRED if "INSERT" in one.privileges}


def test_a_pipelines_own_target_is_asked_for_whether_raypipe_knows_the_table_or_not() -> None:
    targets = ("brands", "mine", "other.mine")
    found = {one.on: one.privileges for one in grants.of_scoring("publisher", targets, grants.ENGINES)}
    for table in ("publisher.brands", "publisher.mine", "other.mine"):
        assert found[table] == tuple(grants.PUBLISHED)
