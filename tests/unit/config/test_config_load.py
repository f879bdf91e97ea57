"""Test the sources of values, their precedence, and the errors for mistakes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raypipe.config import Loaded, list_pipelines, load_pipeline, load_shared
from raypipe.errors import ConfigError, UsageError
from raypipe.project import shipped

Load = Callable[..., Loaded]
SECRET = "hunter2"


def refused(load: Load, *overrides: str, **sources: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*overrides, **sources)
    return str(caught.value)


def base(configs: Path, text: str) -> None:
    (configs / "base.yaml").write_text(text)


# Precedence


def test_the_pipeline_outweighs_base(load: Load, configs: Path, pipeline: dict[str, Any]) -> None:
    base(configs, "score: {slice_rows: 10, chunk_rows: 20}")
    pipeline["score"] = {"chunk_rows": 30}
    score = load().config.score
    assert (score.slice_rows, score.chunk_rows) == (10, 30)


def test_the_environment_outweighs_the_files(load: Load, configs: Path) -> None:
    base(configs, "connection: {url: 'http://base:8123'}")
    loaded = load(environ={"RAYPIPE_URL": "http://environment:8123"})
    assert loaded.config.connection.url == "http://environment:8123"
    assert loaded.sources["connection.url"] == "RAYPIPE_URL"


def test_an_override_outweighs_the_environment(load: Load) -> None:
    loaded = load("connection.url=http://set:8123", environ={"RAYPIPE_URL": "http://environment:8123"})
    assert loaded.config.connection.url == "http://set:8123"
    assert loaded.sources["connection.url"] == "--set"


def test_the_url_of_the_command_line_outweighs_all(load: Load) -> None:
    loaded = load("connection.url=http://set:8123", environ={"RAYPIPE_URL": "http://e:8123"}, url="http://u:8123")
    assert loaded.config.connection.url == "http://u:8123"
    assert loaded.sources["connection.url"] == "--url"


def test_an_empty_variable_counts_as_unset(load: Load) -> None:
    assert load(environ={"RAYPIPE_URL": ""}).sources["connection.url"] == "default"


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("RAYPIPE_PASSWORD_FILE", "connection.password_file"),
        ("RAYPIPE_CA_FILE", "connection.ca_file"),
        ("RAYPIPE_ARTIFACTS", "artifacts"),
    ],
)
def test_a_variable_sets_its_key(load: Load, variable: str, path: str) -> None:
    loaded = load(environ={variable: "/run/thing"})
    assert loaded.sources[path] == variable
    first, _, second = path.partition(".")
    value = getattr(loaded.config, first)
    assert (getattr(value, second) if second else value) == "/run/thing"


def test_the_password_itself_is_never_read(load: Load) -> None:
    assert SECRET not in repr(load(environ={"RAYPIPE_PASSWORD": SECRET}))


def test_a_list_is_replaced_as_a_whole(load: Load, configs: Path) -> None:
    base(configs, "carry: [a, b, c]")
    assert load("carry=[d]").config.carry == ("d",)


# Overrides


def test_an_override_reaches_into_a_list(load: Load) -> None:
    loaded = load("levels.0.below=0.2")
    assert [level.below for level in loaded.config.levels] == [0.2, 1.01]
    assert loaded.sources["levels.0.below"] == "--set"


def test_an_override_makes_the_sections_it_needs(load: Load) -> None:
    assert load("score.explain.rows=0").config.score.explain.rows == 0


def test_a_mapping_as_an_override_keeps_the_other_keys(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["model"] = {"rounds": 5, "params": {"eta": 0.1}}
    assert load("model={rounds: 6}").config.model.params == {"eta": 0.1}


def test_the_last_override_of_a_key_counts(load: Load) -> None:
    assert load("model.rounds=5", "model.rounds=6").config.model.rounds == 6


def test_an_override_may_hold_an_equals_sign(load: Load) -> None:
    assert load("description=a=b").config.description == "a=b"


def test_an_override_without_a_value_is_null(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["ray"] = {"cpus": 4}
    assert load("ray.cpus=").config.ray.cpus is None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("rounds", "--set cannot be used"),
        ("=5", "--set cannot be used"),
        ("model..rounds=5", "--set cannot be used"),
        ("levels.2.below=1", "--set  levels.2.below cannot be set: levels is a list, its items are 0 to 1"),
        ("levels.low.below=1", "--set  levels.low.below cannot be set: levels is a list, its items are 0 to 1"),
        ("model.rounds=\x00", "--set  model.rounds has a value that is not YAML"),
        ("extends=shared/days.yaml", "--set  extends cannot be set here"),
        ("definitions.sessions.unit=visits", "--set  definitions cannot be set here"),
        ("pipeline.name=1", "--set  pipeline.name cannot be set: pipeline is a single value (configs/visits.yaml:1)"),
        ("model.rounds=[1", "--set  model.rounds has a value that is not YAML"),
        ("model.rounds=ten", "--set  model.rounds must be a whole number\n      found: 'ten'"),
        ("model.roundz=10", "--set  model.roundz is an unknown key; did you mean rounds?"),
    ],
)
def test_a_mistaken_override_is_told(load: Load, override: str, expected: str) -> None:
    assert expected in refused(load, override)


def test_an_override_into_an_empty_list_is_told(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["carry"] = []
    assert "--set  carry.0 cannot be set: carry is a list, and it is empty" in refused(load, "carry.0=tier")


def test_a_mistake_in_the_environment_names_the_variable(load: Load) -> None:
    message = refused(load, environ={"RAYPIPE_URL": "clickhouse.example"})
    assert "RAYPIPE_URL  connection.url is not a ClickHouse address" in message
    assert "clickhouse.example" in message


# Problems


def test_every_problem_of_every_source_is_told_at_once(load: Load, configs: Path, pipeline: dict[str, Any]) -> None:
    base(configs, "timezone: UTC\nscore:\n  slice_rows: none\n")
    pipeline["modle"] = {}
    pipeline["entity"]["id"] = "account_id"
    pipeline["label"]["never_features"] = ["sessions"]
    del pipeline["publish"]
    message = refused(load, "split.seed=-1", environ={"RAYPIPE_URL": "nowhere"})
    assert message.startswith("The configuration of visits has 7 problems\n")
    for line in (
        "configs/base.yaml:3  score.slice_rows must be auto or a whole number",
        "configs/visits.yaml:24  modle is an unknown key; did you mean model?",
        "configs/visits.yaml:7  entity.id is not one of entity.keys",
        "configs/visits.yaml:16  features.0 leaks the label",
        "configs/visits.yaml  publish is required",
        "--set  split.seed must be greater than or equal to 0",
        "RAYPIPE_URL  connection.url is not a ClickHouse address",
    ):
        assert line in message, line


def test_an_unknown_key_lists_the_known_ones(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["source"]["tabel"] = "x"
    message = refused(load)
    assert "source.tabel is an unknown key; did you mean table?" in message
    assert "allowed: table, date_column, snapshot" in message


def test_an_unknown_key_does_not_hide_a_broken_rule(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["entity"] |= {"id": "account_id", "kind": "x"}
    message = refused(load)
    assert "entity.kind is an unknown key" in message
    assert "entity.id is not one of entity.keys" in message


def test_a_wrong_choice_tells_the_nearest(load: Load) -> None:
    message = refused(load, "label.kind=binray")
    assert "label.kind is not a valid choice; did you mean binary?\n      found: 'binray'" in message
    assert "allowed: binary, number" in message


def test_an_empty_section_is_told(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["score"] = None
    assert "score must be a mapping\n      found: null" in refused(load)


def test_a_broken_file_is_told_with_its_line(configs: Path) -> None:
    (configs / "visits.yaml").write_text("pipeline: visits\nentity: {\n")
    with pytest.raises(ConfigError, match=r"configs/visits\.yaml:3 is not YAML"):
        load_pipeline("visits", configs, environ={})


def test_a_file_whose_name_differs_from_its_pipeline_is_told(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["pipeline"] = "clicks"
    assert "configs/visits.yaml:1  pipeline differs from the file's name\n      found: 'clicks'" in refused(load)


def test_the_error_survives_a_process_boundary(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("model.rounds=0")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_configuration_mistake_exits_with_2(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("model.rounds=0")
    assert caught.value.exit_code == 2


# Secrets


@pytest.mark.parametrize("key", ["password", "Passwort", "passwd", "pwd", "access_token", "pasword_fil"])
def test_a_secret_under_any_key_is_refused_and_unsaid(load: Load, pipeline: dict[str, Any], key: str) -> None:
    pipeline["connection"] = {key: SECRET}
    message = refused(load)
    assert f"connection.{key}" in message
    assert SECRET not in message


def test_a_password_in_yaml_is_told_where_it_belongs(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["connection"] = {"password": SECRET}
    message = refused(load)
    assert "is a secret, and a configuration never contains secrets" in message
    assert "RAYPIPE_PASSWORD" in message


@pytest.mark.parametrize(
    "address",
    [
        f"http://me:{SECRET}@host:8123/db",
        f"http://me:{SECRET}/x@y@host/db",
        f"http://me:a {SECRET}@host/db",
        f"http://:{SECRET}@host/db",
        f"http://host:8123/db?password={SECRET}",
    ],
)
def test_a_password_in_the_url_is_refused_and_masked(load: Load, address: str) -> None:
    for message in (
        refused(load, f"connection.url='{address}'"),
        refused(load, environ={"RAYPIPE_URL": address}),
        refused(load, url=address),
    ):
        assert "connection.url contains a password or a key" in message
        assert "***" in message
        assert SECRET not in message


def test_a_password_in_a_url_without_a_scheme_is_masked(load: Load) -> None:
    message = refused(load, url=f"me:{SECRET}@host:8123/db")
    assert "connection.url is not a ClickHouse address\n      found: ***@host:8123/db" in message
    assert SECRET not in message


def test_a_password_in_the_place_of_the_section_is_masked(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["connection"] = f"http://me:{SECRET}@host:8123/db"
    message = refused(load)
    assert "connection must be a mapping" in message
    assert SECRET not in message


def test_a_key_in_the_artifacts_address_is_refused_and_masked(load: Load) -> None:
    message = refused(load, f"artifacts=s3://key:{SECRET}@bucket/path")
    assert "artifacts contains a password or a key" in message
    assert SECRET not in message


def test_a_secret_in_a_mistaken_override_stays_unsaid(load: Load) -> None:
    for override in (
        f"connection.password=*{SECRET}",
        f"connection.password=[{SECRET}",
        f"connection.password={SECRET}",
    ):
        assert SECRET not in refused(load, override)


def test_the_error_keeps_no_secret_in_its_cause(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(url=f"http://me:{SECRET}@host/db")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


# Folders


def test_pipelines_are_the_yaml_files_but_base(configs: Path) -> None:
    base(configs, "timezone: UTC")
    (configs / "clicks.yaml").touch()
    (configs / "schema.json").touch()
    (configs / ".#visits.yaml").touch()
    assert list_pipelines(configs) == ["clicks", "visits"]


def test_an_unknown_pipeline_lists_the_known_and_the_nearest(configs: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_pipeline("vists", configs, environ={})
    assert "There is no pipeline 'vists' in configs" in str(caught.value)
    assert "allowed: visits" in str(caught.value)
    assert "did you mean visits?" in str(caught.value)


@pytest.mark.parametrize("name", ["base", "../configs/visits", "configs/visits.yaml", ""])
def test_a_pipeline_is_a_name_and_no_path(configs: Path, name: str) -> None:
    base(configs, "timezone: UTC")
    with pytest.raises(UsageError, match="There is no pipeline"):
        load_pipeline(name, configs, environ={})


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="The configuration folder does not exist") as caught:
        load_pipeline("visits", tmp_path / "nowhere", environ={})
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_without_a_folder_the_one_here_counts(configs: Path) -> None:
    assert load_pipeline("visits", environ={}).sql_directory == Path("sql")


def test_without_a_folder_here_the_shipped_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_pipeline("churn", environ={}).sql_directory == shipped() / "sql"


def test_sql_stands_beside_the_configs(load: Load, configs: Path) -> None:
    loaded = load()
    assert loaded.sql_directory == configs.parent / "sql"
    assert loaded.sql("visits/features.sql") == configs.parent / "sql" / "visits" / "features.sql"


def test_shared_sql_is_always_the_shipped_one(load: Load) -> None:
    assert load().sql("shared/predictions.sql") == shipped() / "sql" / "shared" / "predictions.sql"


def test_a_folder_without_base_has_the_defaults(load: Load) -> None:
    loaded = load()
    assert loaded.config.score.slice_rows == "auto"
    assert loaded.sources["score.slice_rows"] == "default"


# Commands without a pipeline


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("http://u:1", {"RAYPIPE_URL": "http://e:1"}, "http://u:1"),
        (None, {"RAYPIPE_URL": "http://e:1"}, "http://e:1"),
        (None, {}, "http://base:1"),
    ],
)
def test_a_connection_weighs_url_over_variable_over_file(
    configs: Path, url: str | None, environ: dict[str, str], expected: str
) -> None:
    base(configs, "connection: {url: 'http://base:1'}")
    assert load_shared(configs, url, environ).connection.url == expected


def test_a_connection_needs_no_pipeline(tmp_path: Path) -> None:
    assert load_shared(tmp_path, None, {}).connection.url == "chdb:.raypipe/clickhouse"


def test_a_broken_base_is_told_without_a_pipeline(configs: Path) -> None:
    base(configs, "timezone: UTC\nconection: {}\n")
    with pytest.raises(
        ConfigError, match=r"configs/base\.yaml:2  conection is an unknown key; did you mean connection"
    ):
        load_shared(configs, None, {})


def test_base_may_hold_defaults_of_a_pipelines_keys(load: Load, configs: Path, pipeline: dict[str, Any]) -> None:
    base(configs, "ray: {cpus: 2}\ncarry: [tier]\n")
    assert load_shared(configs, None, {}).ray.cpus == 2
    assert load().config.carry == ("tier",)


def test_a_model_that_is_auto_is_searched_for_five_minutes(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["model"] = "auto"
    assert load().config.model.search_minutes == 5
    assert load("model.search_minutes=1").config.model.search_minutes == 1
    assert load("model.search_minutes=1").sources["model.search_minutes"] == "--set"
