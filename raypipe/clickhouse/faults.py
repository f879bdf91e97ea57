"""One policy for failed requests: which may be repeated, and how the driver's errors become raypipe's.

The decision rests on ClickHouse's error codes. An unknown code is final: repeating what is not
understood can turn one fault into two.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from clickhouse_connect.driver.exceptions import Error as DriverError
from urllib3.exceptions import HTTPError

from raypipe.errors import Denied, RaypipeError, ServerError, Transient, Unreachable

T = TypeVar("T")

# Codes after which the very same request may succeed (ClickHouse's src/Common/ErrorCodes.cpp).
TRANSIENT = {
    3: "UNEXPECTED_END_OF_FILE",
    159: "TIMEOUT_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    242: "TABLE_IS_READ_ONLY",
    252: "TOO_MANY_PARTS",
    285: "TOO_FEW_LIVE_REPLICAS",
    319: "UNKNOWN_STATUS_OF_INSERT",
    364: "IS_NOT_LEADER",
    373: "SESSION_IS_LOCKED",
    425: "SYSTEM_ERROR",
    439: "CANNOT_SCHEDULE_TASK",
    999: "KEEPER_EXCEPTION",
}
DENIED = {
    192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD",
    194: "REQUIRED_PASSWORD",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
}
ACCESS_DENIED = 497
MEMORY_LIMIT = 241
NO_SPACE = 243
# A statement that can't be run as it is written: the fault is in the SQL, or in the table that it reads.
STATEMENT = {
    16: "NO_SUCH_COLUMN_IN_TABLE",
    43: "ILLEGAL_TYPE_OF_ARGUMENT",
    46: "UNKNOWN_FUNCTION",
    47: "UNKNOWN_IDENTIFIER",
    53: "TYPE_MISMATCH",
    60: "UNKNOWN_TABLE",
    62: "SYNTAX_ERROR",
    207: "AMBIGUOUS_IDENTIFIER",
    386: "NO_COMMON_TYPE",
    456: "UNKNOWN_QUERY_PARAMETER",
}
NEXT_STEPS = {
    16: 'correct the column\'s name; `raypipe sql "DESCRIBE TABLE …"` lists those of a table',
    47: 'correct the column\'s name; `raypipe sql "DESCRIBE TABLE …"` lists those of a table',
    60: "`raypipe migrate` creates raypipe's tables; otherwise correct the table's name or the URL's database",
    62: "correct the statement where the message points",
    81: "`raypipe migrate` creates the database and raypipe's tables, or correct the URL's last part",
    MEMORY_LIMIT: "give the user more memory (max_memory_usage), or lower score.slice_rows and score.chunk_rows",
    NO_SPACE: "free space on the server's disk, then `raypipe resume` the run",
}

ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 20.0

_CODE = re.compile(r"Code:\s*(\d+)")
_NAME = re.compile(r"\(([A-Z][A-Z_]{3,})\)")
# What the driver puts around the server's words, and the parser's list of all that could have stood there.
_WRAPPING = re.compile(r"^Received ClickHouse exception, code: \d+, server response: | \(for url \S+\)\Z")
_OBJECT = re.compile(r"<[^>]* object at 0x[0-9a-f]+>(, |: )?")
_EXPECTATIONS = re.compile(r" Expected one of: .{200,}(?= \(SYNTAX_ERROR\))", re.DOTALL)


def code_of(error: BaseException) -> int | None:
    """ClickHouse's error code in a driver error, from its attribute or its text; None if there is none."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return code
    match = _CODE.search(str(error))
    return int(match.group(1)) if match else None


def translate(error: Exception, where: str) -> RaypipeError:
    """The raypipe error for what the driver or the network raised; `where` names the address asked."""
    if isinstance(error, RaypipeError):
        return error
    code = code_of(error)
    text = _words(error)
    if code in DENIED:
        denied = Denied(
            f"ClickHouse at {where} refused access ({DENIED[code]})",
            found=text,
            allowed="a user with the grants of sql/grants.sql" if code == ACCESS_DENIED else None,
            next_step="grant what is missing; `raypipe doctor` lists all that is"
            if code == ACCESS_DENIED
            else "check the user in the URL, and the password in RAYPIPE_PASSWORD or the file named by password_file",
        )
        denied.code = code
        return denied
    if code is None:
        if isinstance(error, (DriverError, HTTPError, OSError)):
            return Unreachable(
                f"No usable answer from ClickHouse at {where}",
                found=_reason(error),
                allowed="ClickHouse's HTTP protocol: port 8123, or 8443 with https",
                next_step="check that the server is up and that the URL names its HTTP port; `raypipe doctor` tests it",
            )
        return ServerError(f"A request to ClickHouse at {where} failed", found=f"{type(error).__name__}: {text}")
    kind = Transient if code in TRANSIENT else ServerError
    name = _NAME.search(text)
    failed = kind(
        f"ClickHouse at {where} answered with error {code}{f' ({name[1]})' if name else ''}",
        found=text,
        next_step=NEXT_STEPS.get(code, "repeat the command in a while" if kind is Transient else None),
    )
    failed.code = code
    return failed


def _words(error: BaseException) -> str:
    """The server's own words, without what the driver wraps them in."""
    text = _WRAPPING.sub("", str(error).strip()) or type(error).__name__
    return _EXPECTATIONS.sub("", text)


def _reason(error: BaseException) -> str:
    """Return the operating system's own words where a connection failed, instead of urllib3's objects."""
    text = _words(error)
    while cause := getattr(error, "reason", None) or error.__cause__ or error.__context__:
        if not isinstance(cause, BaseException):
            break
        error = cause
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
    # urllib3 puts its objects before the message: `<… object at 0x…>: Failed to resolve 'host'`.
    return _OBJECT.sub("", str(error)) if "object at 0x" in text else text


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turns every driver or network error raised inside into raypipe's, keeping the cause."""
    try:
        yield
    except RaypipeError:
        raise
    except (DriverError, HTTPError, OSError) as error:
        raise translate(error, where) from error


def repeat(
    request: Callable[[], T],
    *,
    attempts: int = ATTEMPTS,
    pause: Callable[[float], None] = time.sleep,
    replay_unreachable: bool = True,
) -> T:
    """Runs `request`, and again after errors that pass, with exponential pauses and jitter.

    Args:
        request: must be safe to repeat: a read, a deduplicated insert or an idempotent statement.
        attempts: how often it is tried at most.
        pause: how to wait, in seconds; tests pass their own.
        replay_unreachable: whether a broken connection counts as passing.
    """
    seconds = FIRST_PAUSE_SECONDS
    for attempt in range(1, attempts + 1):
        try:
            return request()
        except (Transient, Unreachable) as error:
            if attempt == attempts or (isinstance(error, Unreachable) and not replay_unreachable):
                raise
            pause(seconds * random.uniform(0.5, 1.5))
            seconds = min(2 * seconds, LONGEST_PAUSE_SECONDS)
    raise AssertionError("unreachable: the last attempt returns or raises")
