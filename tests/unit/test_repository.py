"""Test the repository itself: documents, SQL headers, the lock and the wheel."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import raypipe
from raypipe.clickhouse.statements import load_all

ROOT = Path(__file__).resolve().parents[2]
# sql/grants.sql is an example of roles for an administrator, not a query.
SQL = sorted([*ROOT.glob("sql/*/**/*.sql"), *ROOT.glob("examples/*/sql/**/*.sql")])
# A schema's DEFAULT now() records when a row was written; everywhere else the time is bound.
PIPELINE_SQL = [path for path in SQL if path.parent.name != "schema" and path.name != "schema.sql"]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
DECISION_SECTIONS = ["Context", "Decision", "Consequences"]
# A home folder, a work tree or a local index exists on one machine only.
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:home|root|Users|work)/\w|file:/{2}")
# Requirements in quotes, one or several.
ADVICE = re.compile(r"pip install ('[^']+'(?: '[^']+')*)")
CLOCK = re.compile(r"\b(?:now64|now|today|yesterday|current_date|current_timestamp)\s*\(", re.IGNORECASE)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked_files() -> list[Path]:
    # Untracked files count too, so that the check fails before a commit and not after it.
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def commands() -> dict[str, set[str]]:
    """Return the options of every command by its full name."""
    from raypipe.cli import app

    def walk(command: Any, path: str) -> Iterator[tuple[str, set[str]]]:
        below = getattr(command, "commands", None)
        if below is None:
            yield path, {name for option in command.params for name in option.opts if name.startswith("--")}
            return
        for name, child in below.items():
            if not child.hidden:
                yield from walk(child, f"{path} {name}")

    return dict(walk(typer.main.get_command(app), "raypipe"))


def command_pages() -> tuple[str, dict[str, str]]:
    """Return the text of docs/commands.md on all commands, and the section of each command."""
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = re.split(r"^#+ ", text, flags=re.MULTILINE)
    pages = {name[1]: section for section in sections if (name := re.match(r"`(raypipe [a-z ]*[a-z])", section))}
    return "".join(section for section in sections if section not in pages.values()), pages


def locked() -> dict[str, list[tuple[Version, Requirement]]]:
    """Return every pin of the lock by canonical name, with its environment marker."""
    pins: dict[str, list[tuple[Version, Requirement]]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if not line or line[0] in " #":
            continue
        requirement = Requirement(line.rstrip("\\ "))
        (pin,) = requirement.specifier
        pins.setdefault(canonicalize_name(requirement.name), []).append((Version(pin.version), requirement))
    return pins


def test_every_command_is_documented_and_no_other() -> None:
    _, pages = command_pages()
    assert pages.keys() == commands().keys()


def test_every_option_is_documented() -> None:
    common, pages = command_pages()
    missing = [
        f"{command} {option}"
        for command, options in commands().items()
        for option in sorted(options)
        if f"`{option}" not in common + pages.get(command, "")
    ]
    assert missing == []


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{relative(path)}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert found == []


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_says_its_context_what_was_decided_and_what_follows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    number = path.name[:4]
    assert re.match(rf"# {number}: \S", text), f"must open with `# {number}: title`"
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == DECISION_SECTIONS


def test_decisions_are_numbered_without_gaps() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]


def test_the_changelog_has_an_unreleased_section_first() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings
    assert headings[0] == "[Unreleased]"


@pytest.mark.parametrize("path", SQL, ids=relative)
def test_a_sql_file_says_its_grain_and_names_its_parameters(path: Path) -> None:
    statements = load_all(path)
    assert any("grain" in statement.header for statement in statements)
    described = " ".join(statement.header.get("parameters", "") for statement in statements)
    bound = {name for statement in statements for name in statement.parameters}
    assert bound - set(re.findall(r"\w+", described)) == set(), "bound, but not in the header's parameters"


@pytest.mark.parametrize("path", PIPELINE_SQL, ids=relative)
def test_pipeline_sql_never_asks_the_clock(path: Path) -> None:
    code = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
    assert CLOCK.findall(code) == []


def test_links_between_documents_lead_somewhere() -> None:
    documents = [path for path in tracked_files() if path.suffix == ".md"]
    broken = []
    for document in documents:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if "://" not in target and not (document.parent / target).exists():
                broken.append(f"{relative(document)} → {target}")
    assert broken == []


def test_the_package_and_the_project_have_one_version() -> None:
    assert pyproject()["project"]["version"] == raypipe.__version__


def test_the_lock_satisfies_every_dependency() -> None:
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for name, lines in extras.items() if name != "gpu" for line in lines)]
    pins = locked()
    unsatisfied = []
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name == project["name"]:
            continue
        versions = [version for version, _ in pins.get(name, [])]
        if not versions or not all(requirement.specifier.contains(version, prereleases=True) for version in versions):
            unsatisfied.append(f"{requirement}: {', '.join(map(str, versions)) or 'not locked'}; run make lock")
    assert unsatisfied == []


def test_nobody_is_told_to_install_the_raypipe_of_pypi() -> None:
    # It is another project.
    advice = re.compile(r"(?:pip install|uv add|uvx|requires?) +(?:-\S+ +)*[\"']?raypipe(?![\w-])")
    told = [
        f"{relative(path)}: {match[0]}"
        for path in tracked_files()
        if path.suffix in (".md", ".py", ".toml", ".yaml", ".sh", "") and path != Path(__file__)
        for match in advice.finditer(path.read_text(encoding="utf-8"))
    ]
    assert told == []
    assert pyproject()["project"]["name"] != "raypipe"


def test_advice_to_install_a_package_names_what_an_extra_requires() -> None:
    project = pyproject()["project"]
    known = {*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)}
    advice = [match[1] for path in ROOT.glob("raypipe/**/*.py") for match in ADVICE.finditer(path.read_text("utf-8"))]
    assert len(advice) > 5
    assert {name for text in advice for name in re.findall(r"'([^']+)'", text)} <= known


def test_the_lock_has_a_hash_for_every_pin_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\w)", text)[1:]
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"^(?:--|-[fi] ).*|.*(?:https?|file):/{2}.*", text, re.MULTILINE) == []


def test_the_lock_holds_one_xgboost_only() -> None:
    # `xgboost` and `xgboost-cpu` install the same module. Together, the later one breaks the earlier one.
    assert {name for name in locked() if name.startswith("xgboost")} == {"xgboost-cpu"}


def test_a_wheel_carries_the_configs_and_the_sql(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        content = set(wheel.namelist())
    shipped = [*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("sql/**/*.sql")]
    assert shipped
    assert {f"raypipe/_shipped/{relative(path)}" for path in shipped} <= content
    assert "raypipe/py.typed" in content
    assert not [name for name in content if name.startswith(("tests/", "configs/", "sql/"))]


def first_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the first line of every docstring in a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", "module"), " ".join(text.partition("\n\n")[0].split())


def is_plain(line: str) -> bool:
    """Return whether a first line keeps the rules of CONTRIBUTING.md."""
    has_words = re.search(r"\w", re.sub(r"`[^`]*`", "", line)) is not None
    is_short = len(line.split()) <= 20
    return has_words and is_short and line[-1] in ".:" and line.split()[0] not in ("What", "How", "Whose", "Whether")


@pytest.mark.parametrize("path", sorted(ROOT.glob("raypipe/**/*.py")), ids=relative)
def test_docstrings_begin_with_a_plain_sentence(path: Path) -> None:
    assert [f"{name}: {line}" for name, line in first_lines(path) if not is_plain(line)] == []


@pytest.mark.parametrize(
    "line", ["What a run does.", "Whether it runs.", "Return the run", "`raypipe run`.", " ".join(["word"] * 21) + "."]
)
def test_a_first_line_that_breaks_the_rule_is_found(line: str) -> None:
    assert not is_plain(line)
