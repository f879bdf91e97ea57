"""Find the configs and SQL of a project, and those that raypipe ships."""

from contextlib import suppress
from pathlib import Path

# Folders under sql/ that are raypipe's own in every project.
OWN_SQL = (
    "alerts",
    "demo",
    "experiment",
    "explore",
    "features",
    "loaders",
    "registry",
    "report",
    "schema",
    "shared",
    "validation",
)
# Reserved for base.yaml, and for pipelines whose SQL would be looked up in raypipe's own folders.
RESERVED_NAMES = ("base", *OWN_SQL)


def shipped() -> Path:
    """Return the folder of raypipe's own `configs` and `sql`: inside the installed package, or the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_shipped"
    return installed if installed.is_dir() else package.parent


def sql_path(folder: Path, path: str) -> Path:
    """Return the file of a path inside a project's SQL folder; the folders in OWN_SQL are raypipe's own."""
    own = path.split("/")[0] in OWN_SQL
    return (shipped() / "sql" if own else folder) / path


# Content of SQL files by path. On a cluster, the working directory of a job may vanish while the job runs: Ray unpacks
# it again for each node, and nodes of one machine or of a shared folder have one copy.
_read: dict[Path, bytes] = {}


def read_ahead(folder: Path) -> None:
    """Read the SQL of a project, for everything that the command loads later.

    A project that is loaded again is read again.
    """
    for path in [known for known in _read if known.is_relative_to(folder)]:
        del _read[path]
    for path in folder.rglob("*.sql"):
        # Whoever needs an unreadable file gets the error.
        with suppress(OSError):
            _read[path] = path.read_bytes()


def sql_text(path: Path) -> str:
    """Return the text of a SQL file, as it was when its project was read ahead.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: the file is not UTF-8 text.
    """
    return (_read[path] if path in _read else path.read_bytes()).decode("utf-8")


def has_sql(path: Path) -> bool:
    """Return whether a SQL file exists, or existed when its project was read ahead."""
    return path in _read or path.is_file()
