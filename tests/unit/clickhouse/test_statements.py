"""Test SQL text: headers, statements of a file, placeholders, identifiers and literals."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from raypipe.clickhouse.statements import Statement, identifier, literal, load, load_all, without_comments
from raypipe.errors import ConfigError, UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.sql"


def texts(file: Path, sql: str) -> list[str]:
    file.write_text(sql)
    return [one.text for one in load_all(file)]


def test_the_header_is_read_and_is_no_part_of_the_text(file: Path) -> None:
    file.write_text(
        "-- grain: one row a user\n-- parameters: date Date (a: b)\n--\n-- prose\n\nSELECT 1\n-- grain: no\n"
    )
    found = load(file)
    assert found.header == {"grain": "one row a user", "parameters": "date Date (a: b)"}
    assert found.text == "SELECT 1\n-- grain: no"
    assert found.source == str(file)


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    file.write_bytes("SELECT 'ä'".encode("latin-1"))
    with pytest.raises(ConfigError, match=rf"{file} cannot be read") as refused:
        load(file)
    assert "not UTF-8" in str(refused.value)
    with pytest.raises(ConfigError, match=rf"{file.parent} cannot be read") as refused:
        load(file.parent)
    assert refused.value.found == "Is a directory"


def test_each_statement_has_the_header_above_it(file: Path) -> None:
    file.write_text("-- about the file\n\n-- grain: a\nSELECT 1;\n\n-- grain: b\nSELECT 2;\n-- the end\n")
    assert [(one.text, one.header) for one in load_all(file)] == [
        ("SELECT 1", {"grain": "a"}),
        ("SELECT 2", {"grain": "b"}),
    ]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\nSELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1; -- first; really\nSELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1;  \r\nSELECT 2;\r\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';', 'a;b' AS x", ["SELECT ';', 'a;b' AS x"]),
        ("SELECT 'a;\nb' AS x;\nSELECT 2", ["SELECT 'a;\nb' AS x", "SELECT 2"]),
        ("SELECT 1 -- not here;\n+ 1;", ["SELECT 1 -- not here;\n+ 1"]),
        ("SELECT 1 /* nor here;\n */ + 1;", ["SELECT 1 /* nor here;\n */ + 1"]),
        ("SELECT 'it\\'s -- x;\n';\nSELECT 2", ["SELECT 'it\\'s -- x;\n'", "SELECT 2"]),
        ("SELECT 1 -- it's\n;\nSELECT 2", ["SELECT 1 -- it's", "SELECT 2"]),
        ("\n;\n-- nothing\n;\n", []),
    ],
)
def test_a_statement_ends_with_a_semicolon_at_the_end_of_a_line(file: Path, sql: str, expected: list[str]) -> None:
    assert texts(file, sql) == expected


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        ("SELECT 'a -- b', 2 -- c", "SELECT 'a -- b', 2 "),
        ("SELECT 'it''s -- b' -- c", "SELECT 'it''s -- b' "),
        (r"SELECT 'it\'s -- b' -- c", r"SELECT 'it\'s -- b' "),
        (r"SELECT '\\' -- c", r"SELECT '\\' "),
        ('SELECT `a--b`, "c--d" -- e', 'SELECT `a--b`, "c--d" '),
        ("SELECT 'two\nlines -- in quotes'", "SELECT 'two\nlines -- in quotes'"),
        ("SELECT 1 -- it's\n, '{x}'", "SELECT 1 \n, '{x}'"),
        ("SELECT /* {gone} 'x */ 1", "SELECT  1"),
        ("SELECT 3 - -2", "SELECT 3 - -2"),
    ],
)
def test_comments_go_and_what_looks_like_one_inside_quotes_stays(sql: str, kept: str) -> None:
    assert without_comments(sql) == kept


def test_a_parameter_may_have_spaces_beside_its_colon() -> None:
    assert Statement("SELECT {date : Date}").parameters == {"date"}


def test_a_file_of_several_statements_is_not_one(file: Path) -> None:
    file.write_text("SELECT 1;\nSELECT 2")
    with pytest.raises(ConfigError, match="exactly one") as refused:
        load(file)
    assert refused.value.found == "2 statements"


def test_a_file_that_does_not_exist_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"x\.sql does not exist"):
        load(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder of SQL with one pipeline."""
    (tmp_path / "visits").mkdir()
    return tmp_path


def test_an_included_file_stands_where_it_is_named_without_its_header_and_comments(folder: Path) -> None:
    (folder / "visits" / "names.sql").write_text("-- grain: none\n\na, -- first\nb\n-- last\n;\n")
    (folder / "visits" / "all.sql").write_text("-- grain: a row\nSELECT {include:visits/names.sql}, c FROM {t};\n")
    one = load(folder / "visits" / "all.sql")
    assert " ".join(one.text.split()) == "SELECT a, b, c FROM {t}"
    assert one.header == {"grain": "a row"}


def test_an_included_file_includes_others(folder: Path) -> None:
    (folder / "visits" / "c.sql").write_text("{x:Date}, 'a;b'")
    (folder / "visits" / "b.sql").write_text("b, {include:visits/c.sql}")
    (folder / "visits" / "a.sql").write_text("SELECT {include:visits/b.sql}, {include:visits/c.sql}")
    one = load(folder / "visits" / "a.sql")
    assert one.text == "SELECT b, {x:Date}, 'a;b', {x:Date}, 'a;b'"
    assert one.parameters == {"x"}


def test_what_is_shared_comes_from_raypipe_whatever_the_project(folder: Path) -> None:
    (folder / "visits" / "a.sql").write_text("SELECT {include:shared/user_features.sql} FROM t")
    assert "total_sessions" in load(folder / "visits" / "a.sql").text


@pytest.mark.parametrize("sql", ["SELECT '{include:visits/b.sql}'", "SELECT 1 -- {include:visits/b.sql}"])
def test_an_include_in_quotes_or_in_a_comment_is_text(folder: Path, sql: str) -> None:
    (folder / "visits" / "a.sql").write_text(sql)
    assert load(folder / "visits" / "a.sql").text == sql


def test_an_included_file_that_does_not_exist_is_told_with_who_wants_it(folder: Path) -> None:
    path = folder / "visits" / "a.sql"
    path.write_text("SELECT {include:visits/b.sql}")
    with pytest.raises(ConfigError, match=r"a\.sql includes a file that does not exist") as refused:
        load(path)
    assert refused.value.found == str(folder / "visits" / "b.sql")


def test_a_file_that_includes_itself_is_told_with_the_way(folder: Path) -> None:
    (folder / "visits" / "a.sql").write_text("SELECT {include:visits/b.sql}")
    (folder / "visits" / "b.sql").write_text("{include:visits/c.sql}")
    (folder / "visits" / "c.sql").write_text("{include:visits/b.sql}")
    with pytest.raises(ConfigError, match=r"b\.sql includes itself") as refused:
        load(folder / "visits" / "a.sql")
    found = str(refused.value.found)
    assert [part.rpartition("/")[2] for part in found.split(" → ")] == ["a.sql", "b.sql", "c.sql", "b.sql"]


@pytest.mark.parametrize(
    "name", ["", "b.sql", "../b.sql", "/etc/b.sql", "visits/b.txt", "visits/../b.sql", " visits/b.sql"]
)
def test_an_include_that_is_no_path_inside_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder / "visits" / "a.sql").write_text(f"SELECT {{include:{name}}}")
    with pytest.raises(ConfigError, match="not the path of a SQL file") as refused:
        load(folder / "visits" / "a.sql")
    assert refused.value.found == repr(name)


def test_bound_parameters_and_placeholders_are_told_apart() -> None:
    one = Statement("SELECT {date:Date}, {until : Date}, {keys} FROM t WHERE {slice} -- {gone} {lost:Date}")
    assert one.parameters == {"date", "until"}
    assert one.placeholders == {"keys", "slice"}


def test_rendering_fills_placeholders_and_leaves_bound_values_and_text_alone() -> None:
    one = Statement("SELECT {keys}, '{\"a\":1}', {x:String} FROM {staging} -- {gone}")
    found = one.render(keys=r"a\1", staging="{keys}", unused="x")
    assert found == "SELECT a\\1, '{\"a\":1}', {x:String} FROM {keys} "


def test_a_placeholder_that_nothing_fills_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="placeholder") as refused:
        Statement("SELECT {a}, {b}, {c}", source="x.sql").render(b="1")
    assert (refused.value.found, refused.value.allowed) == ("{a}, {c}", "{b}")
    assert "x.sql" in str(refused.value)


@pytest.mark.parametrize(("name", "quoted"), [("a", "`a`"), ("_A9", "`_A9`"), ("db.t", "`db`.`t`")])
def test_a_plain_name_is_quoted(name: str, quoted: str) -> None:
    assert identifier(name) == quoted


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a.b; DROP", "a`", "a.b.c", ".", "a.", "9a", "a\n", "é", "a-b", "a'--", "a)", "{x}", "a\0"],
)
def test_what_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="This name cannot be used") as refused:
        identifier(name)
    assert refused.value.found == repr(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "1"),
        (False, "0"),
        (-3, "-3"),
        (0.1, "0.1"),
        (float("inf"), "inf"),
        ("it's", r"'it\'s'"),
        (r"a\'b", r"'a\\\'b'"),
        (date(2026, 1, 31), "toDate('2026-01-31')"),
        (datetime(2026, 1, 31, 4, 5, 6), "toDateTime('2026-01-31 04:05:06', 'UTC')"),
        (datetime(2026, 1, 31, 4, 5, 6, tzinfo=UTC), "toDateTime('2026-01-31 04:05:06', 'UTC')"),
        (datetime(2026, 1, 31, 1, tzinfo=timezone(timedelta(hours=2))), "toDateTime('2026-01-30 23:00:00', 'UTC')"),
    ],
)
def test_a_value_becomes_a_literal_of_its_type(value: object, text: str) -> None:
    assert literal(value) == text


@pytest.mark.parametrize("value", [None, b"x", [1], {"a": 1}])
def test_a_value_without_a_literal_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="no SQL literal"):
        literal(value)
