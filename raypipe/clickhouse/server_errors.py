"""Translate the errors of the driver and of ClickHouse into raypipe's.

ClickHouse's error code decides whether an error is `Transient`. An unknown code is final: repeating a request whose
failure is not understood can turn one fault into two.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from clickhouse_connect.driver.exceptions import Error as DriverError
from clickhouse_connect.driver.exceptions import NotSupportedError, ProgrammingError
from urllib3.exceptions import HTTPError

from raypipe.errors import Denied, ServerError, Transient, Unreachable

# Codes after which the very same request may succeed (ClickHouse's src/Common/ErrorCodes.cpp).
TRANSIENT = {
    3: "UNEXPECTED_END_OF_FILE",
    159: "TIMEOUT_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    216: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
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
# Codes that a node or a Keeper that is down may cause.
REPLICATION = {
    159: "TIMEOUT_EXCEEDED",
    225: "NO_ZOOKEEPER",
    242: "TABLE_IS_READ_ONLY",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    319: "UNKNOWN_STATUS_OF_INSERT",
    999: "KEEPER_EXCEPTION",
}
_KEEPER = "start Keeper (or ZooKeeper), then repeat the command, or `raypipe resume` the run"
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
SETTING_CONSTRAINT = 452
UNKNOWN_IDENTIFIER = 47
# Errors of the SQL itself, or of the table that it reads.
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
    16: "correct the column's name; `raypipe sql \"DESCRIBE TABLE …\"` lists a table's columns",
    47: "correct the column's name; `raypipe sql \"DESCRIBE TABLE …\"` lists a table's columns",
    60: "`raypipe migrate` creates raypipe's tables; otherwise correct the table's name or the URL's database",
    62: "correct the statement where the message points",
    81: "`raypipe migrate` creates the database and raypipe's tables, or correct the URL's last part",
    164: "give the user a profile that may change settings (readonly = 0), and the grants of sql/grants.sql",
    SETTING_CONSTRAINT: "take the constraint on this setting out of the user's profile",
    MEMORY_LIMIT: "give the user more memory (max_memory_usage), or lower score.slice_rows and score.chunk_rows",
    225: _KEEPER,
    242: _KEEPER,
    999: _KEEPER,
    285: "start the replica or lower connection.quorum, then repeat the command, or `raypipe resume` the run",
    NO_SPACE: "free space on the server's disk, then `raypipe resume` the run",
}

_CODE = re.compile(r"Code:\s*(\d+)")
_NAME = re.compile(r"\(([A-Z][A-Z_]{3,})\)")
# The driver wraps the server's text; the parser lists every token that it would have accepted.
_WRAPPING = re.compile(r"^Received ClickHouse exception, code: \d+, server response: | \(for url \S+\)\Z")
_EXPECTATIONS = re.compile(r" Expected one of: .{200,}(?= \(SYNTAX_ERROR\))", re.DOTALL)


def code_of(error: BaseException) -> int | None:
    """Return ClickHouse's error code from a driver error's attribute or text; None without one."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return code
    match = _CODE.search(str(error))
    return int(match.group(1)) if match else None


def translate(error: Exception, where: str) -> ServerError:
    """Return the raypipe error for an error of the driver or the network; `where` names the address."""
    code = code_of(error)
    text = _server_text(error)
    if code is not None:
        return failure(code, text, where)
    if isinstance(error, (ProgrammingError, NotSupportedError)):
        # The driver itself refuses a setting that the profile fixes, or a type that it does not know.
        return ServerError(
            f"ClickHouse's driver refused a statement for {where}",
            found=text,
            next_step=NEXT_STEPS[SETTING_CONSTRAINT] if "readonly" in text else None,
        )
    return Unreachable(
        f"No ClickHouse answers at {where}",
        found=_root_cause(error),
        allowed="ClickHouse's HTTP protocol: port 8123, or 8443 with https",
        next_step="check that the server is up and that the URL names its HTTP port; `raypipe doctor` tests it",
    )


def failure(code: int, text: str, where: str) -> ServerError:
    """Return the raypipe error for one of ClickHouse's error codes, with the server's text."""
    if code in DENIED:
        failed: ServerError = Denied(
            f"ClickHouse at {where} refused access ({DENIED[code]})",
            found=text,
            allowed="a user with the grants of sql/grants.sql" if code == ACCESS_DENIED else None,
            next_step="grant the missing privileges; `raypipe doctor` lists them"
            if code == ACCESS_DENIED
            else "check the user in the URL, and the password in RAYPIPE_PASSWORD or the file named by password_file",
        )
    else:
        kind = Transient if code in TRANSIENT else ServerError
        name = _NAME.search(text)
        failed = kind(
            f"ClickHouse at {where} returned error {code}{f' ({name[1]})' if name else ''}",
            found=text,
            next_step=NEXT_STEPS.get(code, "wait a little, then repeat the command" if kind is Transient else None),
        )
    failed.code = code
    return failed


def _root_cause(error: BaseException) -> str:
    """Return the text of the innermost error: `Connection refused` instead of urllib3's retry object."""
    chain = [error]
    # A library may raise an error from itself.
    while (inner := error.__cause__ or error.__context__) and inner not in chain:
        chain.append(inner)
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _server_text(error: Exception) -> str:
    """Return the server's own text, without the driver's wrapping."""
    text = _WRAPPING.sub("", str(error).strip()) or type(error).__name__
    return _EXPECTATIONS.sub("", text)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Translate every driver or network error raised inside, keeping the cause."""
    try:
        yield
    except (DriverError, HTTPError, OSError) as error:
        raise translate(error, where) from error
