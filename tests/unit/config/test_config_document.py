from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from raypipe.config.document import parse, read


def problems(text: str) -> list[str]:
    return [str(problem) for problem in parse(text, "a.yaml").problems]


def test_every_value_knows_its_line() -> None:
    root = parse("a: 1\nb:\n  - x\n  - {c: 2}\n", "a.yaml").root
    places = [root.nearest(path)[0].place for path in (["a"], ["b"], ["b", 0], ["b", 1, "c"])]
    assert places == ["a.yaml:1", "a.yaml:2", "a.yaml:3", "a.yaml:4"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("1e-3", 0.001),
        ("1.5e3", 1500.0),
        ("2_000", 2000),
        ("-7", -7),
        ("0.25", 0.25),
        ("007", "007"),
        ("12:30", "12:30"),
        ("1970-01-01", "1970-01-01"),
        ("~", None),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"a: {text}", "a.yaml").root.plain()["a"]
    assert (found, type(found)) == (value, type(value))


def test_a_key_set_twice_is_refused_with_both_lines() -> None:
    assert problems("a: 1\nb: 2\na: 3") == ["a.yaml:3  a is set twice, first at a.yaml:1"]


def test_a_key_set_twice_further_down_is_refused_too() -> None:
    assert problems("a:\n  - b: 1\n    b: 2") == ["a.yaml:3  a.0.b is set twice, first at a.yaml:2"]


def test_anchors_and_merge_keys_work() -> None:
    document = parse("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}", "a.yaml")
    assert document.problems == ()
    assert document.root.plain()["y"] == {"a": 1, "b": 3}


def test_a_mapping_with_merged_keys_may_be_used_again() -> None:
    document = parse("x: &x {a: 1}\ny: &y {<<: *x, a: 2}\nz: *y", "a.yaml")
    assert document.problems == ()
    assert document.root.plain()["z"] == {"a": 2}


def test_the_first_of_several_merged_mappings_wins_and_the_mappings_own_keys_win_over_all() -> None:
    document = parse("x: &x {a: 1, b: 1}\ny: &y {a: 2, b: 2, c: 2}\nz: {<<: [*x, *y], b: 3}", "a.yaml")
    assert document.problems == ()
    assert document.root.plain()["z"] == {"a": 1, "b": 3, "c": 2}


def test_a_merged_value_that_is_not_a_mapping_is_refused_with_its_line() -> None:
    assert problems("x: &x [1]\ny:\n  <<: 2")[0].startswith("a.yaml:3  y merges a value that is not a mapping")


LEVELS = "\n".join(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in pairwise("abcdefgh"))


@pytest.mark.parametrize(
    "text",
    [
        f"a: &a [x, x, x]\n{LEVELS}",
        f"a: &a {{x: 1, y: 2, z: 3}}\n{LEVELS.replace('[', '{<<: [').replace(']', '], own: *a}')}\ni: [*h, *h]",
    ],
    ids=["lists", "merges"],
)
def test_aliases_that_expand_to_millions_of_values_are_refused_at_once_with_their_line(text: str) -> None:
    started = time.perf_counter()
    (problem,) = problems(text)
    assert time.perf_counter() - started < 1
    assert problem == "a.yaml:6 has aliases that expand to too many values\n    allowed: 50,000"


def test_a_file_of_many_values_without_aliases_is_read() -> None:
    assert len(parse(f"a: [{', '.join(['1'] * 10_000)}]", "a.yaml").root.plain()["a"]) == 10_000


def test_nesting_without_end_is_refused() -> None:
    assert "nested too deeply" in problems("[" * 5_000)[0]


def test_an_alias_to_its_own_parent_is_refused() -> None:
    assert "contains itself" in problems("a: &a\n  b: *a")[0]


def test_a_syntax_error_names_file_and_line() -> None:
    assert problems("a: 1\nb: [1, 2\nc: 3")[0].startswith("a.yaml:3 is not YAML: ")


@pytest.mark.parametrize(
    "text",
    ["a: !!python/object/apply:os.system [ls]", "a: !!python/name:os.system", "a: !!set {b}", "!!python/dict {a: 1}"],
)
def test_a_tag_is_refused(text: str) -> None:
    assert "a.yaml:1" in problems(text)[0]
    assert "tag" in problems(text)[0]


def test_a_tag_on_a_value_is_refused() -> None:
    assert problems("a: !secret x")[0].startswith("a.yaml:1 is not YAML: could not determine a constructor")


def test_the_name_of_an_unknown_alias_stays_unsaid() -> None:
    assert problems("password: *hunter2") == ["a.yaml:1 is not YAML: found undefined alias"]


def test_a_key_that_is_not_text_is_refused() -> None:
    assert problems("1: a") == ["a.yaml:1 has a key that is not text\n    found: 1\n    allowed: text; quote a number"]


def test_a_file_without_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- a\n- b\n")
    assert "must be a mapping of keys" in str(read(tmp_path / "a.yaml", "a.yaml").problems[0])


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# nothing yet\n")
    document = read(tmp_path / "a.yaml", "a.yaml")
    assert (document.root.plain(), document.problems) == ({}, ())


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in str(read(tmp_path / "a.yaml", "a.yaml").problems[0])


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in str(read(tmp_path, "a.yaml").problems[0])
