"""The report as one HTML file that needs nothing else: no script, no network, plots as SVG inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raypipe.errors import ConfigError
from raypipe.explore import diagram, plots
from raypipe.explore.facts import Report, Table

if TYPE_CHECKING:
    from jinja2 import Environment

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def render(report: Report) -> str:
    """The page. Whatever comes from the database is escaped, and the page forbids scripts besides.

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
    """Refuses before any work where the page could not be written at its end."""
    _environment()


def failures(table: Table) -> list[tuple[str, str]]:
    """What of a table could not be found out, and why."""
    return [
        *((failure.what, failure.error) for failure in table.errors),
        *((f"column {column.column}", column.error) for column in table.columns if column.error),
    ]


def _environment() -> Environment:
    # Only the page needs it, so it is an extra.
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigError(
            "The page needs Jinja, which is not installed",
            next_step="pip install 'raypipe[explore]', or take the facts alone with --json and no --output",
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


def number(value: float | None) -> str:
    """A number as people read it; – where there is none."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def size(value: int | None) -> str:
    """Bytes in the unit that leaves few digits."""
    if value is None:
        return "–"
    amount = float(value)
    for unit in UNITS:
        if amount < 1024 or unit == UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable: the last unit takes all")


def share(part: float | None, whole: float | None = 1.0) -> str:
    """A share as a percentage; never rounded to 0 or 100 % where it is neither."""
    if part is None or not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"
