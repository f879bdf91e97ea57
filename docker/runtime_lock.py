"""Prints the part of requirements.lock that raypipe needs at run time; the tools of its developers are left out.

    python docker/runtime_lock.py [EXTRA PACKAGES…] > runtime.lock

A package is needed when `dependencies` or the extra `all-cpu` of pyproject.toml name it, or a needed one brings it
along, as the lock's comments `# via` say. Hashes and markers stay as they are. Needs nothing but Python 3.11.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRA = "all-cpu"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def canonical(name: str) -> str:
    """A package's name as the lock spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> list[tuple[str, str, set[str]]]:
    """Each entry of a lock: the package, its lines, and the packages that bring it along."""
    found = []
    for text in re.split(r"\n(?=[A-Za-z0-9])", lock)[1:]:
        via = re.search(r"# via((?:\s+#?\s*\S.*)+)", text)
        names = [line.strip(" #") for line in via[1].splitlines()] if via else []
        found.append((canonical(_NAME.match(text)[0]), text.rstrip(), {canonical(one) for one in names if one}))
    return found


def roots(pyproject: str) -> set[str]:
    """What raypipe names itself."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    (together,) = extras[EXTRA]
    named = [one for extra in re.search(r"\[(.*)\]", together)[1].split(",") for one in extras[extra.strip()]]
    return {canonical(_NAME.match(one)[0]) for one in [*project["dependencies"], *named]}


def needed(found: list[tuple[str, str, set[str]]], wanted: set[str]) -> set[str]:
    """The wanted packages and all that they bring along."""
    reached = {name for name, _, _ in found if name in wanted}
    if missing := wanted - reached:
        raise SystemExit(f"not in requirements.lock: {', '.join(sorted(missing))}; run make lock")
    while more := {name for name, _, via in found if name not in reached and via & reached}:
        reached |= more
    return reached


def main() -> None:
    """Prints the entries in the lock's order."""
    found = entries((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    wanted = roots((ROOT / "pyproject.toml").read_text(encoding="utf-8")) | {canonical(one) for one in sys.argv[1:]}
    reached = needed(found, wanted)
    print("\n".join(text for name, text, _ in found if name in reached))


if __name__ == "__main__":
    main()
