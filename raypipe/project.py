"""Find the configs and SQL of a project, and those that raypipe ships."""

from pathlib import Path

# Folders under sql/ that are raypipe's own in every project.
OWN_SQL = ("demo", "experiment", "explore", "features", "loaders", "registry", "schema", "shared", "validation")
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
