"""Print the part of requirements.lock that raypipe needs at run time, without the developers' tools.

    python docker/runtime_lock.py [EXTRA PACKAGES…] > runtime.lock

The result contains the packages in `dependencies` and in the extra `all-cpu` of pyproject.toml, and their dependencies
according to the lock's `# via` comments. Hashes and markers stay unchanged. Needs only Python 3.11.
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
    """Return a package's name as the lock spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> list[tuple[str, str, set[str]]]:
    """Return each entry of a lock: the package, its lines and the packages that require it."""
    packages = []
    for text in re.split(r"\n(?=[A-Za-z0-9])", lock)[1:]:
        via = re.search(r"# via((?:\s+#?\s*\S.*)+)", text)
        names = [line.strip(" #") for line in via[1].splitlines()] if via else []
        packages.append((canonical(_NAME.match(text)[0]), text.rstrip(), {canonical(name) for name in names if name}))
    return packages


def roots(pyproject: str) -> set[str]:
    """Return the packages that raypipe requires directly."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    (together,) = extras[EXTRA]
    from_extras = [line for extra in re.search(r"\[(.*)\]", together)[1].split(",") for line in extras[extra.strip()]]
    return {canonical(_NAME.match(line)[0]) for line in [*project["dependencies"], *from_extras]}


def needed(packages: list[tuple[str, str, set[str]]], wanted: set[str]) -> set[str]:
    """Return the wanted packages and their dependencies."""
    reached = {name for name, _, _ in packages if name in wanted}
    if missing := wanted - reached:
        raise SystemExit(f"not in requirements.lock: {', '.join(sorted(missing))}; run make lock")
    while more := {name for name, _, via in packages if name not in reached and via & reached}:
        reached |= more
    return reached


def main() -> None:
    """Print the entries in the lock's order."""
    packages = entries((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    wanted = roots((ROOT / "pyproject.toml").read_text(encoding="utf-8")) | {canonical(name) for name in sys.argv[1:]}
    reached = needed(packages, wanted)
    print("\n".join(text for name, text, _ in packages if name in reached))


if __name__ == "__main__":
    main()
