"""Answer ClickHouse's HTTP protocol out of a chDB that cannot listen by itself, as far as raypipe uses it.

    python bridge.py FOLDER PORT

It runs in the environment of one version. A request is one session: its settings are nobody else's.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import tempfile
from pathlib import Path

import chdb
import lz4.frame
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(sys.argv[1])
# Off on a ClickHouse server and on in chDB, where a bare expression would count as a query.
DATABASE = f"{FOLDER / 'data'}?implicit_select=0"
# A chDB that starts without a database of its own never ends a DROP … SYNC.
with chdb.connect(DATABASE) as made:
    made.query("CREATE DATABASE IF NOT EXISTS bridge")
# Held, because chDB shuts down with its last connection.
FIRST = chdb.connect(DATABASE)
DECODE = {"gzip": gzip.decompress, "lz4": lz4.frame.decompress}
# Parameters of a request that are no settings.
PROTOCOL = {"query", "database", "query_id", "client_protocol_version", "wait_end_of_query", "default_format"}
FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*$", re.IGNORECASE)
REQUEST = re.compile(r"\binput\(")
CODE = re.compile(r"Code: (\d+)")


def quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def perform(parameters: dict[str, str], body: bytes) -> bytes:
    """Run the statement of one request; the body holds it, or the rows of an INSERT that the URL holds."""
    session = chdb.connect(DATABASE)
    try:
        session.query(f"USE {quoted(parameters.get('database') or 'default', '`')}")
        for name, value in parameters.items():
            if name not in PROTOCOL:
                session.query(f"SET {name} = {quoted(value)}")
        statement = parameters.get("query", "")
        if not statement:
            return bytes(session.query(body.decode(), parameters.get("default_format", "TabSeparated")).bytes())
        with tempfile.NamedTemporaryFile(dir=FOLDER) as rows:
            rows.write(body)
            rows.flush()
            clause = FORMAT.search(statement)
            assert clause is not None, f"an INSERT without a format: {statement}"
            insert = statement[: clause.start()]
            if REQUEST.search(insert):
                session.query(REQUEST.sub(lambda _: f"file('{rows.name}', '{clause[1]}', ", insert, count=1))
            else:
                session.query(f"{insert} FROM INFILE '{rows.name}' {clause[0]}")
        return b""
    finally:
        session.close()


async def answer(request: Request) -> Response:
    """Answer one request as ClickHouse does; the driver looks at these headers alone."""
    body = await request.body()
    decode = DECODE.get(request.headers.get("content-encoding", ""), bytes)
    try:
        result = await run_in_threadpool(perform, dict(request.query_params), decode(body))
    except Exception as error:
        code = CODE.search(str(error))
        return Response(str(error), 500, {"X-ClickHouse-Exception-Code": code[1] if code else "1002"})
    summary = {"read_rows": "0", "read_bytes": "0", "written_rows": "0", "written_bytes": "0"}
    return Response(result, headers={"X-ClickHouse-Summary": json.dumps(summary)})


app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", http="h11")
