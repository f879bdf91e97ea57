"""Proxy TCP to ClickHouse, and hold, cut, refuse or change requests and answers by their bytes."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_to_bytes, urlsplit

PIECE = 1 << 16
# A pattern is also found across the border of two chunks.
OVERLAP = 256

Action = Literal[
    "hold", "hold_cut", "cut", "cut_after", "cut_body", "pass", "answer", "answer_after", "hold_answer", "edit"
]
# Actions on the answer, once the server has sent it.
_OF_ANSWERS = ("cut_after", "answer_after", "hold_answer", "edit")

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding):[^\r\n]*", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass
class Rule:
    """The treatment of requests that contain a pattern.

    Attributes:
        pattern: Bytes of the request line or body, such as `raypipe_staging`.
        skip: The number of matching requests that pass first.
        action: `hold` holds the request until `released`, and `hold_cut` resets the connection then; `cut` resets
            the connection before the server gets it;
            `cut_body` resets it after half of the body; `cut_after` lets the server answer and resets the connection
            instead of forwarding the answer. `answer` replies instead of the server, which never sees the request;
            `answer_after` replaces the server's answer, `hold_answer` holds it until `released`, `edit` changes it.
            `pass` only counts the request.
        once: Whether only one request is hit.
        times: The number of requests to hit, if neither one nor all.
        answer: The complete reply of `answer` and `answer_after`, see `reply`.
        edit: The new body of an answer.
        complete: Whether the edited answer ends properly, or the connection breaks off.
        hit: Set when a request is hit; with `hold_answer`, when the server has answered it.
        hits: The first 64 KiB of each request that was hit.
        released: Set it to let held requests continue.
    """

    pattern: bytes
    action: Action
    skip: int = 0
    once: bool = True
    times: int | None = None
    answer: bytes = b""
    edit: Callable[[bytes], bytes] = bytes
    complete: bool = True
    hit: threading.Event = field(default_factory=threading.Event)
    hits: list[bytes] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    seen: int = 0

    def strikes(self, data: bytes) -> bool:
        """Count this request and return whether to hit it."""
        most = self.times if self.times is not None else 1 if self.once else None
        # An insert has its statement in the request line. All other requests have it in the body.
        line = unquote_to_bytes(data.partition(b"\r\n")[0].replace(b"+", b" "))
        if (self.pattern not in data and self.pattern not in line) or (most is not None and len(self.hits) >= most):
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        self.hits.append(data)
        if self.action != "hold_answer":
            self.hit.set()
        return True


def reply(status: int, text: str, code: int | None = None) -> bytes:
    """Return an answer in ClickHouse's form, with an error code if there is one."""
    body = text.encode()
    said = f"X-ClickHouse-Exception-Code: {code}\r\n" if code is not None else ""
    return (
        f"HTTP/1.1 {status} Status\r\nContent-Type: text/plain; charset=UTF-8\r\n{said}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def exception(code: int, name: str, problem: str = "thrown on the way", status: int = 500) -> bytes:
    """Return the answer of a server that throws."""
    return reply(status, f"Code: {code}. DB::Exception: {problem}. ({name}) (version 26.7.3.1)\n", code)


@dataclass
class _Link:
    """One client's connection and the connection to the server behind it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    upstream_reader: asyncio.StreamReader
    upstream: asyncio.StreamWriter
    answering: Rule | None = None
    # What arrives after an answer began is the next request.
    answered: bool = False


class Proxy:
    """A proxy with its rules. Clients connect to `url`."""

    def __init__(self, target: str) -> None:
        self.rules: list[Rule] = []
        self.url = ""
        self.redirect(target)

    def add(self, rule: Rule) -> Rule:
        """Activate a rule."""
        self.rules.append(rule)
        return rule

    def redirect(self, target: str) -> None:
        """Send new connections to another address."""
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 8123

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Listens on a free port until told to stop."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        async with server:
            await stop.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            link = _Link(reader, writer, *await asyncio.open_connection(self._host, self._port))
        except OSError:
            writer.transport.abort()
            return
        back = asyncio.create_task(self._answers(link))
        try:
            await self._requests(link)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            link.upstream.close()
            back.cancel()
            writer.close()

    async def _requests(self, link: _Link) -> None:
        request = bytearray()
        seen = sent = 0
        while data := await link.reader.read(PIECE):
            if link.answered:
                request.clear()
                link.answered, seen, sent = False, 0, 0
            request += data
            if _awaits_body(request):
                # Head and body arrive separately. A rule with its pattern in the body must also hit the head.
                continue
            looked_at = bytes(request[max(0, seen - OVERLAP) :])
            seen = len(request)
            for rule in self.rules:
                if not rule.strikes(looked_at):
                    continue
                if rule.action in ("hold", "hold_cut"):
                    await asyncio.to_thread(rule.released.wait)
                if rule.action in ("cut", "hold_cut"):
                    link.writer.transport.abort()
                    return
                if rule.action == "cut_body":
                    await self._rest(link.reader, request)
                    head = request.index(b"\r\n\r\n") + 4
                    link.upstream.write(request[sent : (head + len(request)) // 2])
                    await link.upstream.drain()
                    link.writer.transport.abort()
                    return
                elif rule.action == "answer":
                    assert sent == 0, "the server has a part of the request already"
                    await self._rest(link.reader, request)
                    link.writer.write(rule.answer)
                    await link.writer.drain()
                    link.answered = True
                    break
                elif rule.action in _OF_ANSWERS:
                    link.answering = rule
            else:
                link.upstream.write(request[sent:])
                await link.upstream.drain()
                sent = len(request)

    async def _rest(self, reader: asyncio.StreamReader, request: bytearray) -> None:
        """Adds what is missing of a request."""
        while (end := request.find(b"\r\n\r\n")) < 0:
            request += await _some(reader)
        length = _LENGTH.search(request, 0, end + 2)
        whole = end + 4 + (int(length[1]) if length else 0)
        while len(request) < whole:
            request += await _some(reader)

    async def _answers(self, link: _Link) -> None:
        try:
            await self._pass_on(link)
        except ConnectionError:
            link.writer.transport.abort()

    async def _pass_on(self, link: _Link) -> None:
        while data := await link.upstream_reader.read(PIECE):
            rule, link.answering = link.answering, None
            if rule is None:
                link.answered = True
                link.writer.write(data)
            elif rule.action == "cut_after":
                link.writer.transport.abort()
                return
            elif rule.action == "hold_answer":
                rule.hit.set()
                await asyncio.to_thread(rule.released.wait)
                link.answered = True
                link.writer.write(data)
            elif not await self._changed(link, rule, data):
                return
            await link.writer.drain()
        link.writer.close()

    async def _changed(self, link: _Link, rule: Rule, data: bytes) -> bool:
        """Reads the whole answer and sends another; whether the connection goes on."""
        while (answer := _parsed(data)) is None:
            data += await _some(link.upstream_reader)
        link.answered = True
        if rule.action == "answer_after":
            link.writer.write(rule.answer)
            return True
        head, body = answer
        body = rule.edit(body)
        link.writer.write(_FRAMING.sub(b"", head) + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        link.writer.write(b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
        if rule.complete:
            link.writer.write(b"0\r\n\r\n")
            return True
        await link.writer.drain()
        link.writer.close()
        return False


def _awaits_body(request: bytearray) -> bool:
    end = request.find(b"\r\n\r\n")
    if end != len(request) - 4:
        return end < 0
    length = _LENGTH.search(request)
    return length is not None and int(length[1]) > 0


async def _some(reader: asyncio.StreamReader) -> bytes:
    """At least a byte."""
    data = await reader.read(PIECE)
    if not data:
        raise ConnectionResetError("the other side has gone")
    return data


def _parsed(data: bytes) -> tuple[bytes, bytes] | None:
    """Return head and body of an answer, or None while it is incomplete."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return None
    if _CHUNKED.search(head):
        return _joined(head, body)
    length = _LENGTH.search(head)
    return (head, body) if len(body) >= (int(length[1]) if length else 0) else None


def _joined(head: bytes, chunked: bytes) -> tuple[bytes, bytes] | None:
    body = bytearray()
    at = 0
    while (end := chunked.find(b"\r\n", at)) >= 0:
        size = int(chunked[at:end], 16)
        if len(chunked) < end + 4 + size:
            return None
        if size == 0:
            return head, bytes(body)
        body += chunked[end + 2 : end + 2 + size]
        at = end + 4 + size
    return None


@contextmanager
def proxied(target: str) -> Iterator[Proxy]:
    """Run a proxy in front of the server at a URL."""
    proxy, ready = Proxy(target), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(proxy.serve(ready, stop))
        open_connections = asyncio.all_tasks(loop)
        for task in open_connections:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*open_connections, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        for rule in proxy.rules:
            rule.released.set()
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
