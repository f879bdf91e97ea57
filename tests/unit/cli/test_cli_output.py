"""The output of commands: JSON that parses, text as it is, and the end of a command that fails."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
import typer

from raypipe.cli import failures, output
from raypipe.cli.dates import parse_date
from raypipe.cli.options import Options
from raypipe.errors import GateRefused, UsageError, advised

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[3]


def test_numbers_that_json_lacks_are_null(capsys: Capture) -> None:
    output.emit({"rows": [[math.nan, math.inf, 1.5, None, True]]})
    assert json.loads(capsys.readouterr().out) == {"rows": [[None, None, 1.5, None, True]]}


def test_every_kind_of_value_of_clickhouse_becomes_json(capsys: Capture) -> None:
    moment = datetime(2026, 1, 31, 3, 4, 5, tzinfo=UTC)
    output.emit(
        {
            "day": date(2026, 1, 31),
            "at": moment,
            "money": Decimal("1.10"),
            "id": UUID(int=1),
            "raw": b"\xffa",
            "map": {1: (2, {"x"})},
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "day": "2026-01-31",
        "at": "2026-01-31T03:04:05+00:00",
        "money": "1.10",
        "id": "00000000-0000-0000-0000-000000000001",
        "raw": "�a",
        "map": {"1": [2, ["x"]]},
    }


def test_what_looks_like_markup_is_printed_as_it_is(capsys: Capture) -> None:
    text = "[red]a[/x] :smile: [b]"
    output.table((text,), [(text,)], text)
    output.say(text)
    assert capsys.readouterr().out.count(text) == 4


def test_a_number_is_never_rounded_to_nothing(capsys: Capture) -> None:
    output.table(("a", "b", "c", "d"), [(0.00001234, -0.00001234, 0.0, 0.5)])
    assert re.findall(r"-?\d[\d.e-]*", capsys.readouterr().out) == ["1.2e-05", "-1.2e-05", "0.0000", "0.5000"]


def test_a_long_line_is_not_broken(capsys: Capture) -> None:
    output.say("raypipe sql " + "x" * 500)
    assert len(capsys.readouterr().out.splitlines()) == 1


ENDINGS = pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("No such thing", found=7), 2, "error: No such thing\n  found: 7"),
        (GateRefused("Not published"), 3, "error: Not published"),
        (ValueError("[b]oops"), 1, "error: an unexpected ValueError: [b]oops"),
        (KeyboardInterrupt(), 130, "interrupted; see there"),
    ],
)


@pytest.mark.parametrize("debug", [False, True])
@ENDINGS
def test_an_error_ends_with_its_code_and_its_message_on_stderr(
    capsys: Capture, error: BaseException, code: int, text: str, debug: bool
) -> None:
    with (
        pytest.raises(SystemExit) as ended,
        failures.reported(Options(debug=debug, after_interrupt="see there")),
    ):
        raise error
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (code, "")
    assert text in captured.err
    assert ("Traceback" in captured.err) == debug


@ENDINGS
def test_json_gets_a_document_of_the_error_and_stderr_the_message_all_the_same(
    capsys: Capture, error: BaseException, code: int, text: str
) -> None:
    with (
        pytest.raises(SystemExit),
        failures.reported(Options(json=True, after_interrupt="see there")),
    ):
        raise error
    captured = capsys.readouterr()
    document = json.loads(captured.out)["error"]
    assert list(document) == ["problem", "found", "allowed", "next_step", "code"]
    assert document["code"] == code
    assert document["problem"] in text
    assert document["found"] == ("7" if code == 2 else None)
    assert text in captured.err


def test_an_error_after_the_document_prints_no_second_one(capsys: Capture) -> None:
    options = Options(json=True)
    options.show({"url": "there"}, output.say, "there")
    with pytest.raises(SystemExit), failures.reported(options):
        raise UsageError("The engine has ended")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"url": "there"}
    assert "The engine has ended" in captured.err


def test_an_interrupted_run_is_named_instead_of_the_general_advice(capsys: Capture) -> None:
    interrupt = KeyboardInterrupt()
    interrupt.add_note("`raypipe resume churn_1` finishes the run")
    with pytest.raises(SystemExit), failures.reported(Options(json=True, after_interrupt="see there")):
        raise interrupt
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["next_step"] == "`raypipe resume churn_1` finishes the run"
    assert captured.err == "interrupted; `raypipe resume churn_1` finishes the run\n"


def test_an_exit_that_a_command_chose_is_no_error(capsys: Capture) -> None:
    with pytest.raises(typer.Exit) as ended, failures.reported(Options()):
        raise typer.Exit(1)
    assert (ended.value.exit_code, capsys.readouterr().err) == (1, "")


def test_a_reader_that_has_gone_is_no_bug() -> None:
    command = [sys.executable, "-m", "raypipe", "config", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (1, b"")


def test_a_pipe_that_breaks_elsewhere_is_told(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended, failures.reported(Options()):
        raise BrokenPipeError("the engine has gone")
    assert ended.value.code == 1
    assert "an unexpected BrokenPipeError: the engine has gone" in capsys.readouterr().err


def test_progress_goes_to_stderr_a_line_a_tenth(capsys: Capture) -> None:
    with output.progress() as report:
        for done in range(101):
            report("score", done, 100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 11


@pytest.mark.parametrize(("text", "day"), [("2026-01-31", date(2026, 1, 31)), ("latest", None)])
def test_a_date_is_read(text: str, day: date | None) -> None:
    assert parse_date(text) == day


@pytest.mark.parametrize("text", ["", "today", "2026-1-31", "20260131", "2026-W05-6", "1969-12-31", "2149-06-07"])
def test_what_is_no_date_of_clickhouse_is_refused_with_the_options_name(text: str) -> None:
    with pytest.raises(UsageError, match="--as-of") as refused:
        parse_date(text, "--as-of")
    assert refused.value.found == text
    assert "YYYY-MM-DD" in str(refused.value)


def test_advice_is_for_errors_that_have_none() -> None:
    with pytest.raises(UsageError, match="No such thing") as bare, advised("look there"):
        raise UsageError("No such thing")
    assert bare.value.next_step == "look there"
    with pytest.raises(UsageError, match="No such thing") as known, advised("look there"):
        raise UsageError("No such thing", next_step="look here")
    assert known.value.next_step == "look here"


def test_the_documented_exit_codes_are_those_of_the_help() -> None:
    from raypipe.cli import app

    text = (ROOT / "docs" / "commands.md").read_text()
    for code in ("| 0 | done", "| 1 | failed", "| 2 | ", "| 3 | a gate refused", "| 130 | interrupted"):
        assert code in text
    assert app.info.help is not None
    assert "0 done, 1 failed" in app.info.help
