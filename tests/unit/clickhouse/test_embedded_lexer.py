from __future__ import annotations

import pytest

from raypipe.clickhouse.facade.lexer import Kind, parse


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELECT 1", Kind.SELECT),
        ("  -- a comment; with a semicolon\n( select 1 )", Kind.SELECT),
        ("WITH 1 AS a SELECT a", Kind.SELECT),
        ("FROM t SELECT count()", Kind.SELECT),
        ("SHOW TABLES", Kind.READ),
        ("EXPLAIN SELECT 1", Kind.READ),
        ("CREATE TABLE t (a Int8) ENGINE = Memory", Kind.CHANGE),
        ("INSERT INTO t SELECT 1", Kind.CHANGE),
        ("INSERT INTO t SELECT 1 FORMAT Values", Kind.CHANGE),
        ("INSERT INTO t VALUES (1)", Kind.INSERT),
        ("INSERT INTO t (a, values, format) FORMAT CSV\n1", Kind.INSERT),
        ("INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV\n1", Kind.INSERT_INPUT),
        (" /* nothing */ ", Kind.EMPTY),
    ],
)
def test_the_kind_follows_from_the_first_word_and_the_data(text: str, kind: Kind) -> None:
    assert parse(text.encode()).kind is kind


@pytest.mark.parametrize(
    ("text", "head", "name", "tail"),
    [
        ("SELECT 1 FORMAT Native", "SELECT 1 ", "Native", ""),
        ("SELECT 1 format CSV;", "SELECT 1 ", "CSV", ""),
        ("SELECT 1 FORMAT CSV SETTINGS a = 1 -- end", "SELECT 1 ", "CSV", " SETTINGS a = 1"),
        ("SELECT 1 SETTINGS a = 1 FORMAT CSV", "SELECT 1 SETTINGS a = 1 ", "CSV", ""),
        ("SELECT 'x FORMAT CSV'", "SELECT 'x FORMAT CSV'", None, ""),
        ("SELECT a, format b", "SELECT a, format b", None, ""),
        ("SELECT format FROM t", "SELECT format FROM t", None, ""),
        ("SELECT 1 -- FORMAT CSV", "SELECT 1", None, ""),
        ("SELECT $$a FORMAT CSV;$$", "SELECT $$a FORMAT CSV;$$", None, ""),
    ],
)
def test_the_format_of_a_query_is_found_at_its_end(text: str, head: str, name: str | None, tail: str) -> None:
    parsed = parse(text.encode())
    assert (parsed.head.decode(), parsed.format, parsed.tail.decode()) == (head, name, tail)


@pytest.mark.parametrize(
    ("text", "head", "name", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x00\xff", b"INSERT INTO t ", "Native", b"\x00\xff"),
        (b"INSERT INTO t FORMAT CSV \r\n 1;2", b"INSERT INTO t ", "CSV", b" 1;2"),
        (b"INSERT INTO t (a) VALUES (1), ('VALUES')", b"INSERT INTO t (a) ", "Values", b" (1), ('VALUES')"),
        (b"INSERT INTO values VALUES (1)", b"INSERT INTO values ", "Values", b" (1)"),
        (
            b"INSERT INTO t SETTINGS async_insert = 0 FORMAT TSV\n1",
            b"INSERT INTO t SETTINGS async_insert = 0 ",
            "TSV",
            b"1",
        ),
    ],
)
def test_the_data_of_an_insert_begins_behind_its_format(text: bytes, head: bytes, name: str, data: bytes) -> None:
    parsed = parse(text)
    assert (parsed.head, parsed.format, text[parsed.data_at :]) == (head, name, data)


def test_input_is_replaced_by_a_table_and_its_structure_unquoted() -> None:
    parsed = parse(b"INSERT INTO t SELECT a FROM input('a Enum(\\'x\\' = 1), b String') WHERE a FORMAT Arrow\n")
    assert parsed.input is not None
    assert parsed.input.structure == b"a Enum('x' = 1), b String"
    assert parsed.reading_from(b"_staged") == b"INSERT INTO t SELECT a FROM _staged WHERE a "


@pytest.mark.parametrize("text", ["SELECT 1; SELECT 2", "DROP TABLE a;\nDROP TABLE b", "SELECT ';'; x"])
def test_a_second_statement_is_noticed(text: str) -> None:
    assert parse(text.encode()).extra_at is not None


@pytest.mark.parametrize("text", ["SELECT 1;", "SELECT 1; -- end", "SELECT ';'", "SELECT (1);;"])
def test_an_ending_semicolon_is_no_second_statement(text: str) -> None:
    assert parse(text.encode()).extra_at is None


def test_writing_a_file_is_noticed() -> None:
    assert parse(b"SELECT 1 INTO OUTFILE '/tmp/x'").writes_file
    assert not parse(b"SELECT 'INTO OUTFILE'").writes_file
