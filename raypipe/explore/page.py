"""Write the profile as a self-contained HTML page: no script, no network, plots as inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raypipe.errors import ConfigError
from raypipe.explore import diagram, plots
from raypipe.explore.facts import DatabaseProfile, TableProfile
from raypipe.explore.figures import number, share, size

if TYPE_CHECKING:
    from jinja2 import Environment


def render(report: DatabaseProfile) -> str:
    """Return the page; values from the database are escaped, and the page forbids scripts.

    Raises:
        ConfigError: Jinja is not installed.
    """
    template = _environment().get_template("report.html")
    return str(
        template.render(
            report=report,
            anchors={table.table: f"t{number}" for number, table in enumerate(report.tables)},
            diagram=diagram.draw(report.relations),
            failed=[table for table in report.tables if failures(table)],
            failures=failures,
            plots=plots,
        )
    )


def require() -> None:
    """Refuse before any work if the page could not be rendered afterwards."""
    _environment()


def failures(table: TableProfile) -> list[tuple[str, str]]:
    """Return a table's questions without an answer, with the reasons."""
    return [
        *((failure.what, failure.error) for failure in table.errors),
        *((f"column {column.column}", column.error) for column in table.columns if column.error),
    ]


def _environment() -> Environment:
    # Only the page needs Jinja, so it is an extra.
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigError(
            "The page needs Jinja, which is not installed",
            next_step="pip install 'jinja2>=3.1' (the extra `explore`), or take the profile as --json without --output",
        ) from error
    environment = Environment(
        loader=PackageLoader("raypipe.explore"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, size=size, share=share)
    return environment
