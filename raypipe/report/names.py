"""Give ids their names: brands, devices, countries, categories and the like."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from raypipe.clickhouse.statements import identifier
from raypipe.report.source import Source

# By the end of a column's name: the table, and its columns of the id and of the name.
REFERENCES = {
    "company_id": ("companies", "company_id", "company_name"),
    "brand_id": ("brands", "brand_id", "brand_name"),
    "category_id": ("categories", "category_id", "category_name"),
    "device_type_id": ("device_types", "device_type_id", "device_type_name"),
    "os_id": ("operating_systems", "os_id", "os_name"),
    "browser_id": ("browsers", "browser_id", "browser_name"),
    "city_id": ("cities", "city_id", "city_name"),
    "country_code": ("countries", "country_code", "country_name"),
}
MOST = 100_000
LONGEST_ID = 12


@dataclass
class Names:
    """The names of a database, read table by table when they are first needed."""

    source: Source
    _known: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, column: str, value: str) -> str:
        """Return the name of a column's value, or the value itself; an empty value is `unknown`."""
        if not value:
            return "unknown"
        end = next((end for end in REFERENCES if column.endswith(end)), None)
        return self._names(end).get(value, value) if end else value

    def display_names(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the display names of users; users without one are left out."""
        if "users" not in self.source.tables:
            return {}
        sql = (
            "SELECT user_id, display_name FROM users FINAL WHERE user_id IN {ids:Array(String)} AND display_name != ''"
        )
        return dict(self.source.client.rows(sql, {"ids": list(ids)}))

    def _names(self, end: str) -> dict[str, str]:
        if end not in self._known:
            table, key, name = REFERENCES[end]
            self._known[end] = {}
            if table in self.source.tables:
                rows = self.source.client.rows(
                    f"SELECT {identifier(key)}, {identifier(name)} FROM {identifier(table)} FINAL LIMIT {MOST}"
                )
                self._known[end] = {identity: text for identity, text in rows if text}
        return self._known[end]


def brief(identity: str) -> str:
    """Shorten an id that has no name."""
    return identity if len(identity) <= LONGEST_ID + 1 else f"{identity[:LONGEST_ID]}…"


def words(name: str) -> str:
    """Return the name of a column as words, as `days since last session`."""
    return name.replace("_", " ")


def slice_label(column: str, value: str, names: Names) -> str:
    """Return a slice in words, as `brand Harbour News`."""
    subject = column
    for end in ("_id", "_code", "_type"):
        subject = subject.removesuffix(end)
    for start in ("current_", "preferred_", "primary_"):
        subject = subject.removeprefix(start)
    return f"{words(subject)} {names.of(column, value)}"
