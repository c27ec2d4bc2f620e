"""
Other people's capture files, line by line: gzip, LZ4, zstd or plain text, told apart by their first bytes.

A line gives a receive time and a payload, or is damaged and gives itself. A file that was cut short gives what is
there and says so.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from isal import isal_zlib

from toolkit.clock import NS_PER_S
from toolkit.errors import ImportFailed

__all__ = ["LINE_FORMATS", "TIME_UNITS", "CaptureFile", "CaptureLine", "plausible_times"]

#: Nanoseconds per unit of the integer times that collectors write.
TIME_UNITS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000}
#: Receive times are taken for a unit if they fall between 2009 and 2100 in it. The three ranges do not meet.
_EARLIEST_S: Final = 1_230_768_000
_LATEST_S: Final = 4_102_444_800
#: Bytes read at a time, decompressed: what a zstd file that was cut short may lose of its end.
_CHUNK: Final = 1 << 16
_GzipError: Any = isal_zlib.error
_GZIP: Final = b"\x1f\x8b"
#: zlib's number for a stream with gzip's head and checksum.
_GZIP_FORMAT: Final = 31
_ISO_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d|)")
#: A longer line is not a frame of any venue; it is kept as damaged.
LINE_BYTES_MAX: Final = 64 << 20


class CaptureLine(msgspec.Struct, gc=False):
    """
    One line of a capture.

    Attributes:
        ts_recv: Receive time, ns since the Unix epoch; None in a damaged line.
        payload: The frame, or the whole damaged line.
        is_damaged: Whether it could not be read.
    """

    ts_recv: int | None
    payload: bytes
    is_damaged: bool = False


def _is_plausible(ns: int) -> bool:
    return _EARLIEST_S * NS_PER_S <= ns < _LATEST_S * NS_PER_S


def plausible_times(unit_ns: int) -> tuple[int, int]:
    """The first receive time that is taken for one, and the first after those, in a unit of so many ns."""
    per_s = NS_PER_S // unit_ns
    return _EARLIEST_S * per_s, _LATEST_S * per_s


class _Unit:
    """The unit of integer times in one file, told by the first and held for the rest."""

    def __init__(self, name: str | None) -> None:
        self.name = name

    def to_ns(self, value: int) -> int | None:
        name = self.name
        if name is None:
            name = next((unit for unit, ns in TIME_UNITS.items() if _is_plausible(value * ns)), None)
            if name is None:
                return None
            self.name = name
        ts_recv = value * TIME_UNITS[name]
        return ts_recv if _is_plausible(ts_recv) else None


class _IsoTimes:
    """ISO 8601 to nanoseconds, all digits kept; everything but the fraction is parsed once per second."""

    def __init__(self) -> None:
        self._second = ""
        self._zone = ""
        self._ns = 0

    def to_ns(self, text: str) -> int | None:
        zone = self._zone
        if text[:20] != self._second or not text.endswith(zone):
            return self._parse(text)
        digits = text[20 : len(text) - len(zone)]
        return self._ns + int(digits[:9].ljust(9, "0")) if digits.isdecimal() else self._parse(text)

    def _parse(self, text: str) -> int | None:
        match = _ISO_TIME.fullmatch(text)
        if match is None:
            return None
        second, digits, zone = match[1], match[2] or "", match[3]
        try:
            stamp = datetime.fromisoformat(second + zone)
        except ValueError:
            return None
        # A time without a zone is UTC: that is what the venues' archives write.
        stamp = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
        ns = round(stamp.timestamp()) * NS_PER_S
        if not _is_plausible(ns):
            return None
        self._second, self._zone, self._ns = f"{second}.", zone, ns
        return self._ns + int(digits[:9].ljust(9, "0"))


LineReader = Callable[[bytes], CaptureLine]


def _damaged(line: bytes) -> CaptureLine:
    return CaptureLine(None, line, True)


def _collector_reader(unit: _Unit) -> LineReader:
    """Lines `<integer receive time> <JSON frame>`."""

    def read(line: bytes) -> CaptureLine:
        stamp, _, payload = line.partition(b" ")
        if not payload or not stamp.isdigit() or len(stamp) > 19:
            return _damaged(line)
        ts_recv = unit.to_ns(int(stamp))
        return CaptureLine(ts_recv, payload) if ts_recv is not None else _damaged(line)

    return read


class _JsonLine(msgspec.Struct):
    ts: int | float | str
    payload: msgspec.Raw


class _ArchiveLine(msgspec.Struct):
    time: str
    raw: msgspec.Raw


def _jsonl_reader(unit: _Unit) -> LineReader:
    """Lines `{"ts": <ISO 8601 or integer>, "payload": <frame, or a string that holds it>}`."""
    iso = _IsoTimes()
    decode = msgspec.json.Decoder(_JsonLine).decode
    unquote = msgspec.json.Decoder(str).decode

    def read(line: bytes) -> CaptureLine:
        try:
            entry = decode(line)
            payload = bytes(entry.payload)
            if payload.startswith(b'"'):
                payload = unquote(payload).encode()
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _damaged(line)
        match entry.ts:
            case str():
                ts_recv = iso.to_ns(entry.ts)
            case int():
                ts_recv = unit.to_ns(entry.ts)
            case seconds:
                # A float of seconds is exact to a microsecond in this century, and says no more.
                ts_recv = round(seconds * 1_000_000) * 1_000 if _EARLIEST_S <= seconds < _LATEST_S else None
        return CaptureLine(ts_recv, payload) if ts_recv is not None else _damaged(line)

    return read


def _archive_reader(unit: _Unit) -> LineReader:
    """Lines `{"time": <ISO 8601>, "ver_num": 1, "raw": <frame>}`."""
    iso = _IsoTimes()
    decode = msgspec.json.Decoder(_ArchiveLine).decode

    def read(line: bytes) -> CaptureLine:
        try:
            entry = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _damaged(line)
        ts_recv = iso.to_ns(entry.time)
        return CaptureLine(ts_recv, bytes(entry.raw)) if ts_recv is not None else _damaged(line)

    return read


LINE_FORMATS: Final[dict[str, Callable[[_Unit], LineReader]]] = {
    "collector": _collector_reader,
    "jsonl": _jsonl_reader,
    "archive": _archive_reader,
}


class CaptureFile:
    """
    One file of a capture. Iterating it gives its lines; the attributes are complete when the iteration is.

    Args:
        path: The file.
        line_format: One of `LINE_FORMATS`.
        time_unit: `ns`, `us` or `ms`; None to tell it from the first line.

    Attributes:
        line_count: Lines, without empty ones.
        damaged_count: Lines that could not be read.
        note: What was wrong with the file as a whole; empty if nothing.
        bytes_read: Bytes of the file on disk read so far, for a progress bar.
    """

    def __init__(self, path: Path, line_format: str, time_unit: str | None = None) -> None:
        self.path = path
        self.line_format = line_format
        self.line_count = 0
        self.damaged_count = 0
        self.note = ""
        self.bytes_read = 0
        self._unit = _Unit(time_unit)
        try:
            with path.open("rb") as file:
                self._magic = file.read(4)
        except OSError as exc:
            raise ImportFailed(f"{path} cannot be read: {exc.strerror}") from None

    @property
    def time_unit(self) -> str:
        """Unit of the integer times; `iso` where times were text."""
        return self._unit.name or "iso"

    def reader(self) -> LineReader:
        """What reads one of its lines."""
        return LINE_FORMATS[self.line_format](self._unit)

    def __iter__(self) -> Iterator[CaptureLine]:
        read = self.reader()
        for text in self.texts(_CHUNK):
            for line in text.split(b"\n"):
                if not line.strip():
                    continue
                self.line_count += 1
                entry = read(line)
                if entry.is_damaged:
                    self.damaged_count += 1
                yield entry

    def texts(self, size: int) -> Iterator[bytes]:
        """Whole lines, about `size` bytes of them at a time, the last one ended by a newline too."""
        pieces: list[bytes] = []
        gathered = 0
        # zstd may lose the whole of its last piece where the file was cut short.
        chunk_bytes = max(size, _CHUNK) if self._magic[:2] == _GZIP else _CHUNK
        with self.path.open("rb") as file, _decompressed(file, self._magic) as stream:
            while True:
                try:
                    # Not `read`: it would lose what it had collected when it comes to the end of a file cut short.
                    chunk = stream.read1(chunk_bytes)
                except (EOFError, zlib.error, _GzipError, RuntimeError, OSError) as exc:
                    text = b"".join(pieces)
                    end = text.rfind(b"\n") + 1
                    if end:
                        yield text[:end]
                    pieces, gathered = [text[end:]], len(text) - end
                    self.note = (
                        f"cut short or damaged after {self.line_count:,} lines ({exc}); what is there was imported"
                    )
                    break
                self.bytes_read = file.tell()
                if not chunk:
                    break
                pieces.append(chunk)
                gathered += len(chunk)
                if gathered < size:
                    continue
                text = b"".join(pieces)
                end = text.rfind(b"\n") + 1
                if end:
                    yield text[:end]
                elif len(text) > LINE_BYTES_MAX:
                    yield text + b"\n"
                    end = len(text)
                pieces, gathered = [text[end:]], len(text) - end
        if gathered:
            yield b"".join(pieces) + b"\n"


class _GzipStream:
    """
    A gzip file, member by member, three times as fast as the standard library's.

    Its library's own file object loses what it had collected when the file was cut short; this gives all of it.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._inflate: Any = isal_zlib.decompressobj(_GZIP_FORMAT)

    def __enter__(self) -> _GzipStream:
        return self

    def __exit__(self, *_: object) -> None:
        """The file belongs to whoever opened it."""

    def read1(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end. Raises EOFError at the end of a file that was cut short."""
        while True:
            inflate = self._inflate
            if inflate.eof:
                # Members may be padded with zeros.
                data = inflate.unused_data.lstrip(b"\0") or self._file.read(_CHUNK).lstrip(b"\0")
                if not data:
                    return b""
                inflate = self._inflate = isal_zlib.decompressobj(_GZIP_FORMAT)
            else:
                data = inflate.unconsumed_tail or self._file.read(_CHUNK)
            # At the end of a file that was cut short it may hold what did not fit into the last answers.
            text: bytes = inflate.decompress(data, size) if data else inflate.flush()
            if text:
                return text
            if not data:
                raise EOFError("the compressed file ended before its end was marked")


def _decompressed(file: BufferedReader, magic: bytes) -> BufferedIOBase:
    if magic[:2] == _GZIP:
        return cast("BufferedIOBase", _GzipStream(file))
    if magic == b"\x04\x22\x4d\x18":
        import lz4.frame  # only archives need it

        return cast("BufferedIOBase", lz4.frame.LZ4FrameFile(file))
    if magic == b"\x28\xb5\x2f\xfd":
        import pyarrow as pa  # brings zstd; only such files need it

        return cast("BufferedIOBase", pa.CompressedInputStream(pa.PythonFile(file), "zstd"))
    return file
