"""Test the deployment files: valid by their schemas, pinned, and without secrets."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from packaging.version import Version

import raypipe
from tests.unit.cli.test_cli_help import COMMANDS
from tests.unit.test_repository import locked

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
OLDEST_CLICKHOUSE = Version("25.8")


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


class TestAutoscaler:
    @pytest.fixture
    def cluster(self) -> Any:
        return load("cluster.yaml")

    def test_ray_accepts_it(self, cluster: Any) -> None:
        from ray.autoscaler._private.util import prepare_config, validate_config

        validate_config(cluster)
        validate_config(prepare_config(cluster))

    def test_ray_would_not_accept_a_key_that_it_does_not_know(self, cluster: Any) -> None:
        import jsonschema
        from ray.autoscaler._private.util import validate_config

        with pytest.raises(jsonschema.ValidationError, match="max_wokers"):
            validate_config({**cluster, "max_wokers": 8})

    def test_workers_are_spot_and_bounded_and_the_head_is_neither(self, cluster: Any) -> None:
        types = cluster["available_node_types"]
        head = types.pop(cluster["head_node_type"])
        assert "InstanceMarketOptions" not in head["node_config"]
        assert head["resources"] == {"CPU": 0}
        for worker in types.values():
            assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
            assert 0 <= worker["min_workers"] <= worker["max_workers"] <= cluster["max_workers"]

    def test_every_node_asks_for_a_token_and_finds_clickhouse(self, cluster: Any) -> None:
        for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
            assert {"RAY_AUTH_MODE=token", "RAYPIPE_PASSWORD_FILE=~/.clickhouse_password"} <= set(commands[-1].split())
            assert re.search(r"RAYPIPE_URL=https://[\w.]+@[\w.:]+/\w+ ", commands[-1])


class TestCompose:
    @pytest.fixture
    def services(self) -> Any:
        return load("docker/compose.yaml")["services"]

    def test_clickhouse_is_pinned_new_enough_and_asked_whether_it_is_healthy(self, services: Any) -> None:
        image, _, tag = services["clickhouse"]["image"].partition(":")
        assert image == "clickhouse/clickhouse-server"
        assert len(Version(tag).release) == 4
        assert Version(tag) >= OLDEST_CLICKHOUSE
        assert "/ping" in services["clickhouse"]["healthcheck"]["test"][-1]
        assert services["ray-head"]["depends_on"] == {"clickhouse": {"condition": "service_healthy"}}

    def test_every_container_is_asked_whether_it_is_healthy_without_a_token(self, services: Any) -> None:
        from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
        from ray.dashboard.http_server_agent import PUBLIC_EXACT_PATHS

        for name in ("ray-head", "ray-worker"):
            address = urlsplit(services[name]["healthcheck"]["test"][-1])
            assert (address.hostname, address.port) == ("127.0.0.1", DEFAULT_DASHBOARD_AGENT_LISTEN_PORT)
            assert address.path in PUBLIC_EXACT_PATHS
        assert all("healthcheck" in service for service in services.values())

    def test_the_object_store_fits_into_shared_memory(self, services: Any) -> None:
        for name in ("ray-head", "ray-worker"):
            (store,) = [word for word in services[name]["command"] if word.startswith("--object-store-memory=")]
            assert services[name]["shm_size"] == "2gb"
            assert int(store.partition("=")[2]) <= 2 << 30

    def test_nothing_is_offered_beyond_this_machine(self, services: Any) -> None:
        ports = [port for service in services.values() for port in service.get("ports", ())]
        assert ports
        assert [port for port in ports if not port.startswith("127.0.0.1:")] == []

    def test_secrets_are_files_that_only_the_image_s_user_may_read(self, services: Any) -> None:
        (user,) = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
        for name in ("ray-head", "ray-worker"):
            variables = services[name]["environment"]
            assert variables["RAY_AUTH_MODE"] == "token"
            given = {f"/run/secrets/{one['target']}": one for one in services[name]["secrets"]}
            assert {variables["RAY_AUTH_TOKEN_PATH"], variables["RAYPIPE_PASSWORD_FILE"]} == set(given)
            assert {(one["uid"], one["mode"]) for one in given.values()} == {(user, 0o400)}

    def test_the_image_is_of_this_version(self, services: Any) -> None:
        assert {services[name]["image"] for name in ("ray-head", "ray-worker")} == {f"raypipe:{raypipe.__version__}"}


KUBERNETES = "deploy/kubernetes"


class TestKubernetes:
    @pytest.fixture(params=["raycluster", "raycronjob"])
    def cluster(self, request: pytest.FixtureRequest) -> Any:
        """Return the spec of a RayCluster, which stands or which a RayCronJob creates."""
        spec = load(f"{KUBERNETES}/{request.param}.yaml")["spec"]
        return spec["jobTemplate"]["rayClusterSpec"] if request.param == "raycronjob" else spec

    @pytest.fixture
    def nights(self) -> list[list[str]]:
        """Return the commands that the manifests run every night, without `raypipe`."""
        submitted = load(f"{KUBERNETES}/nightly.yaml")["spec"]
        (container,) = submitted["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        job = load(f"{KUBERNETES}/raycronjob.yaml")["spec"]
        assert submitted["schedule"] == job["schedule"] == "15 3 * * *"
        assert container["command"][:4] == ["raypipe", "submit", "http://raypipe-head-svc:8265", "--"]
        python, module, package, *command = job["jobTemplate"]["entrypoint"].split()
        assert (python, module, package) == ("python", "-m", "raypipe")
        return [container["command"][4:], command]

    def test_a_command_of_raypipe_runs_every_night(self, nights: list[list[str]]) -> None:
        for command, *rest in nights:
            COMMANDS[command].make_context(command, rest)

    def test_the_cron_job_finds_the_cluster_and_the_token_that_kuberay_makes_for_it(self) -> None:
        name = load(f"{KUBERNETES}/raycluster.yaml")["metadata"]["name"]
        pod = load(f"{KUBERNETES}/nightly.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert f"http://{name}-head-svc:8265" in container["command"]
        (token,) = container["env"]
        assert token["valueFrom"] == {"secretKeyRef": {"name": name, "key": "auth_token"}}

    def test_ray_is_that_of_the_lock_and_asks_for_a_token(self, cluster: Any) -> None:
        ((version, _),) = locked()["ray"]
        assert cluster["rayVersion"] == str(version)
        assert cluster["authOptions"] == {"mode": "token"}

    def test_every_container_is_this_version_not_root_bounded_and_has_its_password_by_reference(
        self, cluster: Any
    ) -> None:
        (image,) = load(f"{KUBERNETES}/kustomization.yaml")["images"]
        assert image["newTag"] == raypipe.__version__
        pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
        containers = [container for pod in pods for container in pod["containers"]]
        assert len(containers) == 2
        assert {container["image"] for container in containers} < {
            image["name"],
            f"{image['newName']}:{image['newTag']}",
        }
        assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods)
        for container in containers:
            assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
            (password,) = [one for one in container["env"] if one["name"] == "RAYPIPE_PASSWORD"]
            assert password["valueFrom"] == {"secretKeyRef": {"name": "clickhouse", "key": "password"}}

    def test_the_probes_ask_the_agent_of_a_node_which_needs_no_token(self) -> None:
        cluster = load(f"{KUBERNETES}/raycluster.yaml")["spec"]
        asked = load("docker/compose.yaml")["services"]["ray-head"]["healthcheck"]["test"][-1]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            (container,) = group["template"]["spec"]["containers"]
            for probe in ("readinessProbe", "livenessProbe"):
                assert container[probe]["exec"]["command"][-1] == asked

    def test_workers_are_bounded_and_the_night_asks_for_as_many_as_their_cpus_hold(
        self, cluster: Any, nights: list[list[str]]
    ) -> None:
        (actors,) = {setting for command in nights for setting in command if setting.startswith("score.actors.max=")}
        cpus = 0
        for group in cluster["workerGroupSpecs"]:
            assert 0 <= group["minReplicas"] <= group["maxReplicas"] < 100
            (container,) = group["template"]["spec"]["containers"]
            # Without a limit Ray would count the CPUs of the whole machine.
            assert group["rayStartParams"]["num-cpus"] == container["resources"]["requests"]["cpu"]
            cpus += group["maxReplicas"] * int(group["rayStartParams"]["num-cpus"])
        assert 1 < int(actors.partition("=")[2]) <= cpus

    def test_the_object_store_fits_into_shared_memory(self, cluster: Any) -> None:
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            pod = group["template"]["spec"]
            (memory,) = [one["emptyDir"] for one in pod["volumes"] if one["name"] == "shm"]
            assert memory == {"medium": "Memory", "sizeLimit": "2Gi"}
            assert {"name": "shm", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]
            assert int(group["rayStartParams"]["object-store-memory"]) <= 2 << 30


class TestImage:
    def test_it_ends_as_a_user_that_is_not_root(self) -> None:
        last = DOCKERFILE.rindex("\nFROM ")
        assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", DOCKERFILE[last:], re.MULTILINE)

    def test_it_has_the_system_library_that_recommenders_need(self) -> None:
        setup = " ".join(load("cluster.yaml")["setup_commands"])
        assert "libgomp1" in DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
        assert "libgomp1" in setup

    def test_its_base_is_slim_and_pinned(self) -> None:
        assert re.search(r"^ARG PYTHON=3\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
        assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"python:${PYTHON}"}

    def test_what_it_copies_is_there_and_not_ignored(self) -> None:
        (rest,) = re.findall(r"^COPY requirements.lock (.*) \./$", DOCKERFILE, re.MULTILINE)
        copied = ["requirements.lock", *rest.split(), "docker/install.sh", "docker/runtime_lock.py"]
        copied += [source for source in re.findall(r"^COPY (\S+) \S+$", DOCKERFILE, re.MULTILINE)]
        wanted = (ROOT / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        assert [name for name in copied if not (ROOT / name).exists() or f"!{name}" not in wanted] == []

    def test_the_lock_for_it_leaves_out_the_tools_and_keeps_every_line_of_the_rest(self) -> None:
        command = [sys.executable, str(ROOT / "docker" / "runtime_lock.py")]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        names = set(re.findall(r"^([a-z0-9-]+)==", printed, re.MULTILINE))
        assert {"ray", "chdb-core", "xgboost-cpu", "aiohttp", "clickhouse-connect"} <= names
        assert names & {"pytest", "mypy", "ruff", "uv", "hatchling", "import-linter"} == set()
        assert printed.rstrip() in "\n".join(_entries_of(names))

    def test_a_package_that_is_not_locked_is_refused(self) -> None:
        command = [sys.executable, str(ROOT / "docker" / "runtime_lock.py"), "no-such-package"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no-such-package" in done.stderr


def _entries_of(names: set[str]) -> list[str]:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z])", lock)[1:]
    return ["\n".join(entry.rstrip() for entry in entries if re.split(r"==", entry)[0] in names)]


class TestOneMachine:
    def test_the_service_runs_a_command_of_raypipe_with_the_password_by_reference(self) -> None:
        unit = (ROOT / "deploy" / "raypipe-nightly.service").read_text(encoding="utf-8")
        (line,) = re.findall(r"^ExecStart=/\S+/raypipe (.*)$", unit, re.MULTILINE)
        command, *rest = line.split()
        COMMANDS[command].make_context(command, rest)
        assert "LoadCredential=clickhouse:" in unit
        assert "Environment=RAYPIPE_PASSWORD_FILE=%d/clickhouse" in unit
        # Like Ctrl-C, so that the run releases its lock.
        assert "KillSignal=SIGINT" in unit

    def test_the_timer_makes_up_for_a_missed_night(self) -> None:
        timer = configparser.ConfigParser(interpolation=None)
        timer.optionxform = str  # type: ignore[assignment,method-assign]
        timer.read(ROOT / "deploy" / "raypipe-nightly.timer")
        assert timer["Timer"]["Persistent"] == "true"
        assert timer["Timer"]["OnCalendar"].endswith(" UTC")

    def test_cron_runs_the_same(self) -> None:
        lines = (ROOT / "deploy" / "crontab").read_text(encoding="utf-8").splitlines()
        (night,) = [line for line in lines if re.match(r"\d+ \d+ \* \* \*", line)]
        (arguments,) = re.findall(r"/bin/raypipe (.*?) 2>>", night)
        command, *rest = arguments.split()
        COMMANDS[command].make_context(command, rest)

    def test_cron_mails_the_errors_of_a_failed_night(self, tmp_path: Path) -> None:
        night = (ROOT / "deploy" / "crontab").read_text(encoding="utf-8").splitlines()[-1].split("&& ", 1)[1]
        failing = re.sub(r"flock .* latest", "{ echo 'error: no server' >&2; false; }", night)
        mailed = subprocess.run(["bash", "-c", failing], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert mailed.stdout == "error: no server\n"


def test_the_demo_of_make_leaves_the_stores_of_production() -> None:
    made = subprocess.run(["make", "--dry-run", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    commands = [line for line in made.splitlines() if "bin/raypipe " in line]
    assert len(commands) == 3
    assert all(line.startswith("RAYPIPE_URL= RAYPIPE_ARTIFACTS= ") for line in commands)


@pytest.mark.parametrize(
    "path", ["cluster.yaml", "deploy/kubernetes/kustomization.yaml", "deploy/kubernetes/raycronjob.yaml"]
)
def test_what_has_to_be_replaced_is_marked(path: str) -> None:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    # A command cannot contain a comment, so the comment is where the command begins.
    begins = [(line, "\n".join(lines[max(0, number - 2) : number + 1])) for number, line in enumerate(lines)]
    invented = [one for one in begins if re.search(r"\.example\b|fs-0000|IamInstanceProfile: &", one[0])]
    assert invented
    assert [line for line, shown in invented if "CHANGE" not in shown] == []


@pytest.mark.parametrize(
    "path",
    [
        "cluster.yaml",
        "docker/compose.yaml",
        "deploy/kubernetes/kustomization.yaml",
        "deploy/kubernetes/nightly.yaml",
        "deploy/kubernetes/raycluster.yaml",
        "deploy/kubernetes/raycronjob.yaml",
        "deploy/raypipe-nightly.service",
        "deploy/crontab",
    ],
)
def test_no_secret_stands_in_a_file(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    given = re.findall(r"\b(?:RAYPIPE_PASSWORD|CLICKHOUSE_PASSWORD|RAY_AUTH_TOKEN)\s*[=:]\s*(\S+)", text)
    # In comments of compose.yaml an ellipsis follows the names.
    assert [value for value in given if value != "…"] == []
    assert not re.search(r"://[^/@\s:]*:[^@\s]+@", text)
