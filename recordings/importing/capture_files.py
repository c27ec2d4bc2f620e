"""
Other people's capture files, line by line.

A line gives a receive time and a payload, or is damaged and gives itself. A file that was cut short gives what is
there and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from recordings.importing.decompressing import Content
from toolkit.clock import NS_PER_S
from toolkit.errors import ImportFailed

__all__ = [
    "BACK_NS",
    "EMPTY_LINES",
    "LINE_BYTES_MAX",
    "LINE_FORMATS",
    "TIME_UNITS",
    "CaptureFile",
    "CaptureLine",
    "LineOrder",
    "LineReader",
    "Text",
    "plausible_times",
]

#: Nanoseconds per unit of the integer times that collectors write.
TIME_UNITS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000}
_SECONDS: Final = "s"
#: Receive times are taken for a unit if they fall between 2009 and 2100 in it. The ranges do not meet.
_EARLIEST_S: Final = 1_230_768_000
_LATEST_S: Final = 4_102_444_800
#: Bytes of text that lines are taken out of at a time.
_TEXT_BYTES: Final = 1 << 16
#: What text files begin with that went through some editors (RFC 8259, 8.1); files that were joined have it in the middle.
_MARK: Final = b"\xef\xbb\xbf"
#: How UTF-16 and UTF-32 begin: with a mark, or with zeros beside the ASCII that any line has.
_WIDE: Final = re.compile(
    rb"\xff\xfe|\xfe\xff|\x00\x00\xfe\xff|(?:[\x20-\x7e]\x00){4}|(?:\x00[\x20-\x7e]){4}|[\x20-\x7e]\x00{3}"
)
#: A clock that goes back by so much is no correction of it.
BACK_NS: Final = 10 * NS_PER_S
#: Fewer lines in a wrong order, or twice, say nothing of a whole file.
FEW: Final = 2
_ISO_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d|)")
#: A longer line is not a frame of any venue; it is kept as damaged, in pieces of this length.
LINE_BYTES_MAX: Final = 64 << 20
#: Empty lines from one place on.
EMPTY_LINES: Final = re.compile(rb"(?:\r*\n)*")
_EMPTY_BETWEEN: Final = re.compile(rb"\n(?:\r*\n)+")


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
    """
    The unit of numeric times in one file, inferred from the first and held for the rest.

    Attributes:
        name: One of `TIME_UNITS`, or `s`; None before it is known.
        line: Number of the line that is read.
        others: Number of times that would be of each other unit, and the line of the first.
    """

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.line = 0
        self.others: dict[str, tuple[int, int]] = {}

    def to_ns(self, value: int) -> int | None:
        """An integer in ns, us or ms; None for one of another unit, or of none."""
        name = self.name
        if name is None:
            name = next((unit for unit, ns in TIME_UNITS.items() if _is_plausible(value * ns)), None)
            if name is None:
                return self._other(value)
            self.name = name
        ts_recv = value * TIME_UNITS.get(name, 0)
        return ts_recv if _is_plausible(ts_recv) else self._other(value)

    def seconds_to_ns(self, value: float) -> int | None:
        """
        Seconds since the epoch, whole or not; None where the unit is another one.

        A float of them is exact to a microsecond in this century, and says no more.
        """
        if not _EARLIEST_S <= value < _LATEST_S:
            return None
        self.name = self.name or _SECONDS
        return round(value * 1_000_000) * 1_000 if self.name == _SECONDS else self._other(value)

    def _other(self, value: float) -> int | None:
        """Note a time that would be one in another unit; it is none in this one."""
        for unit, ns in (*TIME_UNITS.items(), (_SECONDS, NS_PER_S)):
            if _is_plausible(int(value) * ns):
                count, first = self.others.get(unit, (0, self.line))
                self.others[unit] = count + 1, first
        return None


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
#: What msgspec raises for text that is no JSON: that which is no UTF-8, and brackets without end, are not `DecodeError`.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


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
        except _UNREADABLE:
            return _damaged(line)
        match entry.ts:
            case str():
                ts_recv = iso.to_ns(entry.ts)
            case int() if not _EARLIEST_S <= entry.ts < _LATEST_S:
                ts_recv = unit.to_ns(entry.ts)
            case seconds:
                ts_recv = unit.seconds_to_ns(seconds)
        return CaptureLine(ts_recv, payload) if ts_recv is not None else _damaged(line)

    return read


def _archive_reader(unit: _Unit) -> LineReader:
    """Lines `{"time": <ISO 8601>, "ver_num": 1, "raw": <frame>}`."""
    iso = _IsoTimes()
    decode = msgspec.json.Decoder(_ArchiveLine).decode

    def read(line: bytes) -> CaptureLine:
        try:
            entry = decode(line)
        except _UNREADABLE:
            return _damaged(line)
        ts_recv = iso.to_ns(entry.time)
        return CaptureLine(ts_recv, bytes(entry.raw)) if ts_recv is not None else _damaged(line)

    return read


LINE_FORMATS: Final[dict[str, Callable[[_Unit], LineReader]]] = {
    "collector": _collector_reader,
    "jsonl": _jsonl_reader,
    "archive": _archive_reader,
}


class Text(NamedTuple):
    """
    Lines.

    Attributes:
        content: Whole lines, each with its newline; of a line that is too long a piece, without one.
        is_piece: Whether it is such a piece.
    """

    content: bytes
    is_piece: bool = False


class LineOrder:
    """
    Notices a capture, or each line, that stands in a file twice, captures that were joined in one, and a reversed one.

    Attributes:
        first: Time and payload of the first line that can be read.
        last: Time of the last one so far.
        count: Lines that can be read.
        up: Lines that are later than the one before them.
        down: Lines that are earlier.
        doubled: Lines that are the one before them again.
        highest: The highest time so far, ns.
        repeated: Number of the line that is the first one again; 0 while there is none.
        back: Number of the line at which the time went far back, and by how many ns.
    """

    def __init__(self) -> None:
        self.first: tuple[int, bytes] | None = None
        self.last: tuple[int, bytes] = 0, b""
        self.count = self.up = self.down = self.doubled = 0
        self.highest = 0
        self.repeated = 0
        self.back = 0, 0

    def note(self, line: int, ts_recv: int, payload: bytes) -> None:
        """A line that can be read, and its number."""
        before, its_payload = self.last
        self.last = ts_recv, payload
        self.count += 1
        if self.first is None:
            self.first = self.last
        elif ts_recv > before:
            self.up += 1
        elif ts_recv < before:
            self.down += 1
        elif payload == its_payload:
            self.doubled += 1
        if ts_recv < self.highest:
            self.went_back(line, ts_recv, payload)
        else:
            self.highest = ts_recv

    def went_back(self, line: int, ts_recv: int, payload: bytes) -> None:
        """A line that is earlier than one before it."""
        if not self.repeated and (ts_recv, payload) == self.first:
            self.repeated = line
        if not self.back[0] and self.highest - ts_recv >= BACK_NS:
            self.back = line, self.highest - ts_recv

    @property
    def hints(self) -> list[str]:
        """What it looks like, for people."""
        hints = []
        line, back = self.back
        if self.doubled >= FEW and 3 * self.doubled >= self.count:
            hints.append(
                f"{self.doubled:,} lines are the line before them again: the file seems to hold each line twice, and so does "
                "the recording"
            )
        if self.down >= FEW and self.down > self.up:
            hints.append(
                f"{self.down:,} lines are earlier than the line before them, and {self.up:,} later: the file seems to be in "
                "reverse order; import it the right way round (`tac` turns it), or nothing follows what is before it"
            )
            return hints
        if self.repeated:
            hints.append(
                f"line {self.repeated:,} is the first one again: the file seems to hold a capture twice, and so does the "
                "recording"
            )
        if line and line != self.repeated:
            hints.append(
                f"at line {line:,} the receive time goes back by {back / NS_PER_S:,.1f} s: if captures were joined in this "
                "file, import each as a file of its own, which merges them by time"
            )
        return hints


class CaptureFile:
    """
    One file of a capture. Iterating it gives its lines; the attributes are complete when the iteration is.

    Args:
        path: The file.
        line_format: One of `LINE_FORMATS`.
        time_unit: `ns`, `us` or `ms` (`s` too, of JSON lines); None to tell it from the first line.

    Attributes:
        line_count: Lines, without empty ones.
        damaged_count: Lines that could not be read.
        given_unit: The time unit as it was given.
        unit: Unit as it was given, and what spoke against it.
        order: Signs of lines that stand twice, were joined or reversed.
    """

    def __init__(self, path: Path, line_format: str, time_unit: str | None = None) -> None:
        self.path = path
        self.line_format = line_format
        self.line_count = 0
        self.damaged_count = 0
        self.given_unit = time_unit
        self.unit = _Unit(time_unit)
        self.order = LineOrder()
        self._content = Content(path)
        self._first_time: int | None = None
        self._long_line = 0
        self._is_wide = False

    @property
    def time_unit(self) -> str:
        """Unit of the numeric times; `iso` where times were text."""
        return self.unit.name or "iso"

    @property
    def bytes_read(self) -> int:
        """Bytes of the file on disk read so far, for a progress bar."""
        return self._content.bytes_read

    @property
    def damage(self) -> str:
        """Why the file ended before its end; empty if it did not."""
        return self._content.damage

    @property
    def note(self) -> str:
        """What was wrong with the file as a whole, for people; empty if nothing."""
        parts = []
        if self.damage:
            parts.append(
                f"cut short or damaged after {self.line_count:,} lines ({self.damage}); what is there was imported"
            )
        for begin, end in self._content.skipped:
            parts.append(
                f"damaged: bytes {begin:,} to {end:,} of the file cannot be decompressed to their end; what could not is "
                "missing, and what comes before and after them was imported"
            )
        if self._content.is_altered:
            parts.append(
                "damaged: a checksum does not hold; everything was imported, but the damage may lie anywhere before the "
                "end, and altered lines may have been accepted"
            )
        if self._long_line:
            parts.append(
                f"line {self._long_line:,} is longer than {LINE_BYTES_MAX >> 20} MiB, which no frame is: it was kept as "
                "damaged, in pieces"
            )
        for unit, (count, line) in self.unit.others.items():
            other = (
                f"--time-unit says {self.given_unit}" if self.given_unit else f"the lines before have {self.time_unit}"
            )
            parts.append(
                f"{count:,} lines have times in {unit}, the first of them line {line:,}, where {other}: they were kept as "
                "damaged; import them as a file of their own, or name the unit that counts with --time-unit"
            )
        parts += self.order.hints
        return "; ".join(parts)

    def is_like(self, other: CaptureFile) -> bool:
        """Whether both hold the same lines, by their first one, their number and the latest time, once both were read."""
        mine, theirs = self.order, other.order
        return mine.first == theirs.first and (self.line_count, mine.highest) == (other.line_count, theirs.highest)

    def check(self) -> None:
        """
        Find the time of the first line that can be read.

        Raises ImportFailed, in one line that says what was found, if there is none.
        """
        self._content.check_kind()
        probe = CaptureFile(self.path, self.line_format, self.given_unit)
        for line in probe:
            if not line.is_damaged:
                self._first_time = line.ts_recv
                return
        shape = {
            "collector": "`<receive time in ns, us or ms> <JSON frame>`",
            "jsonl": '`{"ts": ..., "payload": {...}}`',
            "archive": '`{"time": ..., "raw": {...}}`',
        }[self.line_format]
        if probe._is_wide:
            raise ImportFailed(
                f"{self.path} is UTF-16 or UTF-32, expected UTF-8: convert it first (iconv -f UTF-16 -t UTF-8)"
            )
        what = f"none of its {probe.line_count:,} lines can be read" if probe.line_count else "it has no lines"
        if probe.damage:
            what += f" (cut short or damaged after {probe.line_count:,} lines: {probe.damage})"
        for unit, (_, first) in probe.unit.others.items():
            what += f": the time of line {first:,} is in {unit}"
            if self.given_unit:
                what += f", and --time-unit says {self.given_unit}: say --time-unit {unit}, or leave it out"
            raise ImportFailed(f"{self.path}: {what}; expected lines {shape}")
        raise ImportFailed(f"{self.path}: {what}, expected lines {shape}")

    @property
    def first_time(self) -> int | None:
        """Receive time of the first line that can be read, ns, which those before it get; None if there is none."""
        if self._first_time is None:
            probe = CaptureFile(self.path, self.line_format, self.given_unit)
            self._first_time = next((line.ts_recv for line in probe if not line.is_damaged), None)
        return self._first_time

    def reader(self) -> LineReader:
        """What reads one of its lines."""
        read = LINE_FORMATS[self.line_format](self.unit)

        def read_marked(line: bytes) -> CaptureLine:
            self.unit.line = self.line_count
            entry = read(line)
            if entry.is_damaged and line.startswith(_MARK):
                unmarked = read(line[len(_MARK) :])
                return entry if unmarked.is_damaged else unmarked
            return entry

        return read_marked

    def __iter__(self) -> Iterator[CaptureLine]:
        read = self.reader()
        order = self.order
        for text, is_piece in self.texts(_TEXT_BYTES):
            if is_piece:
                self.line_count += 1
                self.damaged_count += 1
                yield _damaged(text)
                continue
            for line in _without_empty_lines(text).split(b"\n"):
                if not line.strip():
                    continue
                self.line_count += 1
                entry = read(line)
                if entry.ts_recv is None:
                    self.damaged_count += 1
                else:
                    order.note(self.line_count, entry.ts_recv, entry.payload)
                yield entry

    def texts(self, size: int) -> Iterator[Text]:
        """Whole lines, about `size` bytes of them at a time, the last one ended by a newline too."""
        lines: list[bytes] = []
        begun: list[bytes] = []  # of the line that has not ended
        line_bytes = begun_bytes = 0
        is_long = False  # whether it is one that is too long
        self._is_wide = False
        is_first = True
        for chunk in self._content:
            if is_first:
                is_first = False
                self._is_wide = _WIDE.match(chunk) is not None
            while chunk:
                if is_long or begun_bytes + len(chunk) > LINE_BYTES_MAX:
                    # Only here a newline counts before the last one.
                    end = chunk.find(b"\n") + 1
                    room = LINE_BYTES_MAX - begun_bytes
                    length = end - 1 if end else len(chunk)
                    if length > room:
                        if line_bytes:
                            yield Text(b"".join(lines))
                            lines, line_bytes = [], 0
                        if not is_long:
                            self._long_line = self._long_line or self.line_count + 1
                        is_long = True
                        yield Text(b"".join([*begun, chunk[:room]]), is_piece=True)
                        begun, begun_bytes, chunk = [], 0, chunk[room:]
                        continue
                    if is_long:
                        begun.append(chunk[:length])
                        begun_bytes += length
                        chunk = chunk[end:] if end else b""
                        if end:
                            yield Text(b"".join(begun), is_piece=True)
                            begun, begun_bytes, is_long = [], 0, False
                        continue
                cut = chunk.rfind(b"\n") + 1
                if cut:
                    lines += [*begun, chunk[:cut]]
                    line_bytes += begun_bytes + cut
                    begun, begun_bytes = [], 0
                if cut < len(chunk):
                    begun.append(chunk[cut:])
                    begun_bytes += len(chunk) - cut
                chunk = b""
            if line_bytes >= size:
                yield Text(b"".join(lines))
                lines, line_bytes = [], 0
        if line_bytes:
            yield Text(b"".join(lines))
        if begun_bytes:
            yield Text(b"".join(begun), is_piece=True) if is_long else Text(b"".join(begun) + b"\n")


def _without_empty_lines(text: bytes) -> bytes:
    """Without most of them: read one by one, a gigabyte of them takes minutes."""
    return _EMPTY_BETWEEN.sub(b"\n", text) if b"\n\n" in text or b"\n\r\n" in text else text
