"""ClickHouse's HTTP protocol: one request, one statement, one answer.

The event loop moves bytes; the engine works in threads.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from raypipe.clickhouse.facade import perform
from raypipe.clickhouse.facade.answers import Streamed, headers, held_back, refusal, whole
from raypipe.clickhouse.facade.body import Body
from raypipe.clickhouse.facade.engine import Counts, Engine
from raypipe.clickhouse.facade.failure import Failure
from raypipe.clickhouse.facade.lexer import Kind, Parsed, parse
from raypipe.clickhouse.facade.pipe import Pipe
from raypipe.clickhouse.facade.request import Asked, is_allowed
from raypipe.clickhouse.facade.sessions import Sessions

log = logging.getLogger(__name__)


class Protocol:
    """Answers the requests for one engine.

    Args:
        engine: runs the statements.
        password: of the user `default`.
        folder: keeps large answers that the client wants held back until they are complete.
    """

    def __init__(self, engine: Engine, password: str, folder: Path) -> None:
        self._engine = engine
        self._password = password
        self._folder = str(folder)
        self._sessions = Sessions(engine)

    def application(self) -> Starlette:
        """The HTTP application."""
        return Starlette(
            routes=[
                Route("/ping", _alive),
                Route("/replicas_status", _alive),
                Route("/", self.answer, methods=["GET", "POST"]),
            ]
        )

    def close(self) -> None:
        """Ends the named sessions."""
        self._sessions.close()

    async def answer(self, request: Request) -> Response:
        """The answer to a request, a refusal included."""
        url = dict(request.query_params)
        is_get = request.method != "POST"
        if is_get and not url.get("query"):
            return await _alive(request)
        body = Body(request)
        asked: Asked | None = None
        try:
            allowed, user = is_allowed(url, request.headers, self._password)
            if not allowed:
                problem = f"{user}: Authentication failed: password is incorrect, or there is no user with such name"
                raise Failure(516, problem, "AUTHENTICATION_FAILED")
            form = await body.form()
            values, files = (form.values, form.files) if form else ({}, {})
            asked = Asked.from_http({**url, **values}, request.headers, files)
            text, statement = await _read_statement(asked, body)
            perform.refuse(statement, is_get=is_get)
            return await self._perform(asked, statement, text[statement.data_at :], body)
        except Failure as failure:
            refused = failure
        except ClientDisconnect:
            raise
        except Exception as error:
            log.exception("A request failed")
            refused = Failure(1002, f"{type(error).__name__}: {error}", "UNKNOWN_EXCEPTION")
        # A client reads the answer after it has sent its body; one cut short would hide the failure.
        await body.drain()
        return refusal(self._engine, refused, asked)

    async def _perform(self, asked: Asked, statement: Parsed, data: bytes, body: Body) -> Response:
        if statement.kind is Kind.SELECT:
            return await self._select(asked, statement)
        if statement.takes_data:
            pieces = itertools.chain([data] if data else [], body.pieces(asyncio.get_running_loop()))
            counts = await asyncio.to_thread(perform.insert, self._sessions, asked, statement, pieces)
            return whole(b"", headers(self._engine, asked, counts), asked.accepts)
        rows, counts = await asyncio.to_thread(perform.small, self._sessions, asked, statement)
        return whole(rows, headers(self._engine, asked, counts, asked.format_of(statement.format)), asked.accepts)

    async def _select(self, asked: Asked, statement: Parsed) -> Response:
        pipe = Pipe()

        def produce() -> Counts:
            try:
                return perform.select(self._sessions, asked, statement, pipe.writer, pipe.mark)
            finally:
                pipe.close_writer()

        work = asyncio.ensure_future(asyncio.to_thread(produce))
        format_name = asked.format_of(statement.format)
        try:
            first, is_all = await pipe.read_first()
            if is_all:
                counts = await work
                pipe.close_reader()
                return whole(first, headers(self._engine, asked, counts, format_name), asked.accepts)
            if asked.buffers_all:
                body = await held_back(first, pipe, self._folder)
                counts = await work
                return StreamingResponse(body, headers=headers(self._engine, asked, counts, format_name))
        except BaseException:
            pipe.close_reader()
            raise
        return Streamed(
            self._engine, first, pipe, work, headers(self._engine, asked, format_name=format_name), asked.accepts
        )


async def _alive(_: Request) -> Response:
    return PlainTextResponse("Ok.\n")


async def _read_statement(asked: Asked, body: Body) -> tuple[bytes, Parsed]:
    """The text of the statement, with the beginning of its data, and its seams."""
    first = await body.next()
    text = asked.query + b"\n" + first if asked.query and first else asked.query or first
    statement = await asyncio.to_thread(parse, text)
    if not statement.takes_data and (rest := await body.rest()):
        text += rest
        statement = await asyncio.to_thread(parse, text)
    return text, statement
