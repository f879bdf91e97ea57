"""A failed request as ClickHouse reports it: a code, a text, and the HTTP status that goes with the code."""

from __future__ import annotations

import re

_UNKNOWN = 1002
_CODE = re.compile(r"Code: (\d+)\. DB::")

# exceptionCodeToHTTPStatus in ClickHouse's src/Server/HTTP, as version 26.7 answers; every other code is 500.
_CODES = {
    400: (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676),
    401: (194,),
    403: (192, 193, 512, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    411: (381,),
    413: (229,),
    415: (779,),
    501: (48,),
    503: (76, 209, 439),
}
STATUS = {code: status for status, codes in _CODES.items() for code in codes}


class Failure(Exception):
    """What a client is told instead of a result.

    Args:
        code: ClickHouse's error code.
        problem: the text, without code and name.
        name: the name of the code; none when `problem` is a complete message of the engine.
        version: the engine's version, which ClickHouse puts behind its messages.
    """

    def __init__(self, code: int, problem: str, name: str = "", version: str = "") -> None:
        super().__init__(problem)
        self.code = code
        message = f"Code: {code}. DB::Exception: {problem.rstrip('.')}. ({name})" if name else problem.strip()
        suffix = f" (version {version})"
        self.text = message if not version or message.endswith(suffix) else message + suffix

    @classmethod
    def of(cls, message: str, version: str) -> Failure:
        """The failure in an exception of chDB, without what chDB's Python API puts in front of it."""
        match = _CODE.search(message)
        if match is None:
            return cls(_UNKNOWN, message, "UNKNOWN_EXCEPTION", version)
        return cls(int(match[1]), message[match.start() :], version=version)

    @property
    def status(self) -> int:
        """The HTTP status of an answer that consists of this failure."""
        return STATUS.get(self.code, 500)
