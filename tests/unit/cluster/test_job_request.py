"""Test the request to a cluster, and that it holds no secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray._private.runtime_env import packaging

from raypipe.cluster.job_request import Request, new_id, refuse_secrets, variables
from raypipe.errors import ConfigError, UsageError

SECRET = "hunter2-hunter2"


def request(*words: str, **others: Any) -> Request:
    return Request("raypipe_run_1", words or ("run", "churn"), **others)


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def test_the_entrypoint_is_the_command_quoted_for_a_shell() -> None:
    asked = request("sql", "SELECT 'a b'; $(rm -rf /)", "--json")
    assert asked.entrypoint == """python -m raypipe sql 'SELECT '"'"'a b'"'"'; $(rm -rf /)' --json"""


def test_names_of_jobs_differ_and_say_the_command() -> None:
    first, second = new_id(["run", "churn"]), new_id(["run", "churn"])
    assert first != second
    assert first.startswith("raypipe_run_")


def test_a_stop_interrupts_the_command_instead_of_ending_it() -> None:
    sent = request(variables={"RAYPIPE_URL": "https://x/d"}).runtime_env({})["env_vars"]
    assert sent == {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "60", "RAYPIPE_URL": "https://x/d"}


def test_data_and_likely_secrets_stay_behind_and_so_does_the_password_file(tmp_path: Path) -> None:
    secret = tmp_path / "conf" / "password"
    asked = request(working_dir=tmp_path)
    sent = asked.runtime_env({"RAYPIPE_PASSWORD_FILE": str(secret)})
    assert sent["working_dir"] == str(tmp_path)
    assert {".raypipe/", ".env", "/conf/password"} <= set(sent["excludes"])
    assert "/conf/password" not in asked.runtime_env({"RAYPIPE_PASSWORD_FILE": "/elsewhere/password"})["excludes"]


def test_every_file_with_a_secret_that_is_named_somewhere_stays_behind(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.yaml").write_text("connection: {password_file: conf/clickhouse}\n")
    (tmp_path / "kept").write_text(SECRET)
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    named = {"RAYPIPE_PASSWORD_FILE": str(tmp_path / "link"), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "conf" / "token")}
    excluded = request(working_dir=tmp_path).runtime_env(named)["excludes"]
    assert {"/conf/clickhouse", "/conf/token", "/kept", "/link"} <= set(excluded)


@pytest.mark.parametrize("name", ["base.yaml", "churn.yaml", "shared/users.yaml"])
def test_a_password_file_that_any_configuration_names_stays_behind(tmp_path: Path, name: str) -> None:
    (tmp_path / "configs" / "shared").mkdir(parents=True)
    (tmp_path / "configs" / name).write_text("model: {typo: 1}\nconnection: {password_file: conf/clickhouse}\n")
    assert "/conf/clickhouse" in request(working_dir=tmp_path).runtime_env({})["excludes"]


@pytest.mark.parametrize("words", [("--config", "others"), ("--config=others",)])
def test_a_password_file_in_the_folder_of_the_command_stays_behind(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "churn.yaml").write_text("connection: {password_file: conf/clickhouse}\n")
    asked = request("run", "churn", *words, working_dir=tmp_path)
    assert "/conf/clickhouse" in asked.runtime_env({})["excludes"]


def test_a_configuration_that_cannot_be_parsed_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.yaml").write_text("connection: {password_file: conf/clickhouse\n")
    with pytest.raises(ConfigError, match=r"base\.yaml"):
        request(working_dir=tmp_path).runtime_env({})


def test_the_name_of_a_file_with_a_secret_is_no_pattern(tmp_path: Path) -> None:
    name = r"a [b]*?!#\c"
    excluded = request(working_dir=tmp_path).runtime_env({"RAYPIPE_PASSWORD_FILE": str(tmp_path / name)})["excludes"]
    is_left_out = packaging._get_excludes(tmp_path, excluded)
    assert [path for path in (name, "a bxx!#c") if is_left_out(tmp_path / path)] == [name]


def test_the_packages_of_a_lock_come_with_their_hashes_and_without_their_comments(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("# made by\na==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n    # via b\n\nb==2\n")
    pip = request(requirements=lock).runtime_env({})["pip"]
    assert pip["packages"] == ["a==1 \\", "    --hash=sha256:00 \\", "    --hash=sha256:01", "b==2"]
    assert "--no-deps" in pip["pip_install_options"]


def test_variables_are_taken_from_here_or_given() -> None:
    assert variables(["RAYPIPE_URL", "X=a=b", "Y="], {"RAYPIPE_URL": "https://x/d"}) == {
        "RAYPIPE_URL": "https://x/d",
        "X": "a=b",
        "Y": "",
    }


@pytest.mark.parametrize(
    "name",
    [
        "RAYPIPE_PASSWORD",
        "RAY_AUTH_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "api_key",
        "OPENAI_APIKEY",
        "GOOGLE_CREDENTIALS",
        "DB_PASSWD",
    ],
)
def test_a_variable_that_is_named_like_a_secret_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name) as refusal:
        variables([f"{name}={SECRET}"], {})
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("name", ["RAYPIPE_PASSWORD_FILE", "RAY_AUTH_TOKEN_PATH", "KEYBOARD", "MONKEY"])
def test_a_reference_to_a_secret_is_none(name: str) -> None:
    assert variables([f"{name}=/run/x"], {}) == {name: "/run/x"}


@pytest.mark.parametrize("given", ["ABSENT", "=x", "A B=x", ""])
def test_a_variable_that_cannot_be_sent_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="--env"):
        variables([given], {})


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (("run", "churn", "--url", f"https://u:{SECRET}@x/d"), {}),
        (("run", "churn", f"--url=https://u:{SECRET}@x/d"), {}),
        (("run", "churn", "--url", f"https://:{SECRET}@x/d"), {}),
        (("run", "churn", "--url", f"https://u:{SECRET}/#@x/d"), {}),
        (("run", "churn", "--url", f"https://u:x@{SECRET}@x/d"), {}),
        (("run", "churn"), {"RAYPIPE_URL": f"https://u:{SECRET}@x/d"}),
    ],
)
def test_a_url_with_a_password_is_refused_and_not_repeated(
    words: tuple[str, ...], sent: dict[str, str], nobody: dict[str, str]
) -> None:
    with pytest.raises(UsageError, match="contains a password") as refusal:
        refuse_secrets(request(*words, variables=sent), nobody)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("known", ["RAYPIPE_PASSWORD", "RAY_AUTH_TOKEN", "file"])
def test_a_secret_that_is_known_here_is_refused_wherever_it_stands(
    known: str, nobody: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text(f"{SECRET}\n")
    variable = {"RAYPIPE_PASSWORD_FILE": str(tmp_path / "file")} if known == "file" else {known: SECRET}
    asked = request("sql", f"SELECT 1 -- {SECRET}")
    with pytest.raises(UsageError, match=known) as refusal:
        refuse_secrets(asked, {**nobody, **variable})
    assert SECRET not in str(refusal.value)
    refuse_secrets(asked, nobody)


def test_a_package_index_with_a_password_is_refused_and_so_is_a_secret_in_a_requirements_file(
    nobody: dict[str, str], tmp_path: Path
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"--index-url https://u:{SECRET}@packages.example/simple\na==1\n")
    with pytest.raises(UsageError, match=rf"A URL in {lock} contains a password") as refusal:
        refuse_secrets(request(requirements=lock), nobody)
    assert SECRET not in str(refusal.value)
    lock.write_text(f"a @ https://packages.example/{SECRET}/a.whl\n")
    with pytest.raises(UsageError, match=rf"RAYPIPE_PASSWORD is in {lock}"):
        refuse_secrets(request(requirements=lock), {**nobody, "RAYPIPE_PASSWORD": SECRET})


def test_a_url_without_a_password_may_be_sent(nobody: dict[str, str]) -> None:
    refuse_secrets(request("run", "churn", "--url", "https://user@host:8443/database?a@b"), nobody)
