"""Content codings of HTTP bodies: gzip, deflate, LZ4 frames and Zstandard, piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame  # type: ignore[import-untyped]
import zstandard

# zlib's window bits: 31 writes a gzip header, 15 a zlib one; 47 reads either.
_GZIP, _ZLIB, _EITHER = 31, 15, 47
_FASTEST = 1


class Encoder(Protocol):
    """Compresses a body piece by piece."""

    def compress(self, piece: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


class Decoder(Protocol):
    """Decompresses a body piece by piece."""

    def decompress(self, piece: bytes) -> bytes: ...


class _Lz4Encoder:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._start = self._frame.begin()

    def compress(self, piece: bytes) -> bytes:
        start, self._start = self._start, b""
        return bytes(start + self._frame.compress(piece))

    def flush(self) -> bytes:
        return self.compress(b"") + bytes(self._frame.flush())


class _Frames:
    """Reads frames that follow one another, which some clients send."""

    def __init__(self, new: Callable[[], lz4.frame.LZ4FrameDecompressor]) -> None:
        self._new = new
        self._frame = new()

    def decompress(self, piece: bytes) -> bytes:
        out = []
        while piece:
            out.append(self._frame.decompress(piece))
            piece = b""
            if self._frame.eof:
                piece, self._frame = self._frame.unused_data or b"", self._new()
        return b"".join(out)


class _Plain:
    def decompress(self, piece: bytes) -> bytes:
        return piece


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "": _Plain,
    "identity": _Plain,
    "gzip": lambda: zlib.decompressobj(_EITHER),
    "deflate": lambda: zlib.decompressobj(_EITHER),
    "lz4": lambda: _Frames(lz4.frame.LZ4FrameDecompressor),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(read_across_frames=True),
}
_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "lz4": _Lz4Encoder,
    "zstd": lambda: zstandard.ZstdCompressor(_FASTEST).compressobj(),
    "gzip": lambda: zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP),
    "deflate": lambda: zlib.compressobj(_FASTEST, zlib.DEFLATED, _ZLIB),
}
DECODED = tuple(name for name in _DECODERS if name)
BROKEN = (zlib.error, RuntimeError, zstandard.ZstdError)


def decoder(coding: str) -> Decoder | None:
    """What reads a body with this Content-Encoding; None when raypipe does not know the coding."""
    new = _DECODERS.get(coding.strip().lower())
    return new() if new else None


def encoder(accepted: str) -> tuple[str, Encoder] | None:
    """The first coding, in the order of their speed, that an Accept-Encoding header names."""
    names = {part.split(";")[0].strip().lower() for part in accepted.split(",")}
    return next(((name, new()) for name, new in _ENCODERS.items() if name in names), None)
