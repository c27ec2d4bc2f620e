"""
The content of other people's files: gzip, LZ4, zstd or plain, distinguished by their first bytes, in pieces.

Everything that can be decompressed is given, to the last byte before the damage, and whatever the size of the pieces. A
checksum that does not hold is reported once everything is given, and what follows it is read on; so are the members of
a gzip file after one that is damaged, in a line of their own. What decompresses out of all proportion is given up.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from isal import isal_zlib

from toolkit.errors import ImportFailed

__all__ = ["Content"]

#: Bytes read at a time, compressed and not.
_CHUNK: Final = 1 << 16
#: Bytes that one call may give of gzip.
_PIECE: Final = 1 << 20
#: A stretch of a file that gives more than this many bytes for each of its own is no capture: those give 5 to 30.
RATIO_MAX: Final = 300
#: It is looked at whenever so many bytes have come.
RATIO_BYTES: Final = 16 << 20

_GZIP: Final = b"\x1f\x8b"
#: How a member begins: no flag that means nothing, any time, how well it is compressed, the kind of system.
_MEMBER: Final = re.compile(rb"(?=\x1f\x8b\x08[\x00-\x1f][\x00-\xff]{4}[\x00\x02\x04][\x00-\x0d\xff])", re.DOTALL)
_HEAD_BYTES: Final = 10
_NO_FLAGS: Final = 0xE0
_LZ4: Final = b"\x04\x22\x4d\x18"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
#: What files begin with that are not read, and what to do with them.
_OTHERS: Final = {
    b"BZh": ("compressed by bzip2", "decompress it first (bunzip2)"),
    b"\xfd7zXZ\x00": ("compressed by xz", "decompress it first (unxz)"),
    b"PK\x03\x04": ("a zip archive", "unpack it first (unzip)"),
    b"7z\xbc\xaf": ("a 7-Zip archive", "unpack it first (7z x)"),
    b"PAR1": ("a Parquet file", "a capture is lines of text"),
}
_GzipError: Any = isal_zlib.error
_DAMAGE: Final = (EOFError, zlib.error, _GzipError, RuntimeError, OSError)


class Content:
    """
    What is in a file. Iterating it gives bytes, and never raises for what the file says.

    Args:
        path: The file. Raises ImportFailed if it cannot be opened.

    Attributes:
        bytes_read: Bytes of the file on disk read so far.
        is_altered: Whether a checksum did not hold, so that bytes anywhere before the end may be others than they were.
        damage: Why it ended before its end; empty if it did not.
        skipped: Begin and end of members of a file on disk that could not be read to their end, in bytes; more came
            after it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.bytes_read = 0
        self.is_altered = False
        self.damage = ""
        self._failed_at = -1
        self.skipped: list[tuple[int, int]] = []
        try:
            with path.open("rb") as file:
                self._magic = file.read(8)
        except OSError as exc:
            raise ImportFailed(f"{path} cannot be read: {exc.strerror}") from None

    def check_kind(self) -> None:
        """Raise ImportFailed for a kind of file that is known, and not read."""
        for magic, (kind, remedy) in _OTHERS.items():
            if self._magic.startswith(magic):
                raise ImportFailed(f"{self._path} is {kind}, expected plain text, gzip, LZ4 or zstd: {remedy}")

    def __iter__(self) -> Iterator[bytes]:
        begin: int | None = 0
        while begin is not None:
            yield from self._from(begin)
            begin = self._next_member() if self._failed_at >= 0 and self._magic.startswith(_GZIP) else None
            if begin is not None:
                self.skipped.append((self._failed_at, begin))
                self.damage = ""
                yield b"\n"  # what comes next goes on with another line

    def _from(self, begin: int) -> Iterator[bytes]:
        """What is there from an offset on, to its end or to what is damaged."""
        done = 0
        self._failed_at = -1
        with self._path.open("rb") as file:
            source = _Source(file, begin)
            try:
                for piece in self._pieces(source):
                    done += len(piece)
                    yield piece
                return
            except _DAMAGE as exc:
                self.damage = _reason(exc)
        # The call that failed has thrown away what it had decompressed. Given its input byte by byte, it gives all of
        # it, and the same whatever was asked of it.
        with self._path.open("rb") as file:
            source = _Source(file, begin, source.last_read)
            try:
                for piece in self._pieces(source, done):
                    fresh = piece[done:]
                    done = max(0, done - len(piece))
                    if fresh:
                        yield fresh
            except _DAMAGE as exc:
                self.damage = _reason(exc)
                self._failed_at = source.member

    def _next_member(self) -> int | None:
        """Where the next member of a gzip file begins that can be read; None if there is none."""
        # Not where it failed: what is damaged may have been taken for more than it is, the next heads with it.
        place = self._failed_at + 1
        with self._path.open("rb") as file:
            file.seek(place)
            content = b""
            while chunk := file.read(_CHUNK):
                content += chunk
                for match in _MEMBER.finditer(content):
                    if _can_be_read(self._path, place + match.start()):
                        return place + match.start()
                place += max(len(content) - _HEAD_BYTES + 1, 0)
                content = content[1 - _HEAD_BYTES :]
        return None

    def _pieces(self, source: _Source, one_by_one_from: int | None = None) -> Iterator[bytes]:
        stream = _opened(source, self._magic)
        size = _PIECE if self._magic[:2] == _GZIP else _CHUNK
        given = given_before = read_before = 0
        while True:
            if one_by_one_from is not None and self._magic.startswith(_ZSTD):
                # Arrow's stream collects as much as is asked for, and loses that too where it fails.
                size = min(size, max(1, one_by_one_from - given))
            # Not `read`: it would lose what it had collected when it comes to the end of a file cut short.
            piece = stream.read1(size)
            self.bytes_read = source.position
            self.is_altered = getattr(stream, "is_altered", False)
            if not piece:
                return
            given += len(piece)
            yield piece
            if given - given_before >= RATIO_BYTES:
                if given - given_before > RATIO_MAX * (source.position - read_before) > 0:
                    self.damage = (
                        f"more than {RATIO_MAX} bytes come out of each byte there, which no capture does: "
                        "the rest was not read"
                    )
                    return
                given_before, read_before = given, source.position


def _reason(exc: BaseException) -> str:
    """Why a file could not be read on."""
    text = str(exc)
    # A file that was cut short says nothing against what comes before its end.
    if isinstance(exc, EOFError) or "runcated" in text:
        return text
    return f"{text}; the damage may lie before that, and altered lines may have been accepted"


class _Source(io.RawIOBase):
    """
    A file, as decompressors read it.

    Args:
        file: The file.
        begin: The offset to read from.
        slow_from: Offset from which it gives one byte at a time; None for never.

    Attributes:
        position: How far it was read.
        member: Where the member of a gzip file begins that is read.
        last_read: Where the last read began.
    """

    def __init__(self, file: BufferedReader, begin: int = 0, slow_from: int | None = None) -> None:
        self._file = file
        self._slow_from = slow_from
        self.position = self.last_read = self.member = begin
        file.seek(begin)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._slow_from is not None and size > 0:
            size = min(size, max(1, self._slow_from - self.position))
        content = self._file.read(size)
        if content:
            self.last_read = self.position
            self.position += len(content)
        return content

    def read1(self, size: int) -> bytes:
        """The same: files that are not compressed are read so."""
        return self.read(size)


def _opened(source: _Source, magic: bytes) -> Any:
    if magic.startswith(_GZIP):
        return _GzipStream(source)
    if magic.startswith(_LZ4):
        import lz4.frame  # only archives need it

        return lz4.frame.LZ4FrameFile(source)
    if magic.startswith(_ZSTD):
        import pyarrow as pa  # brings zstd; only such files need it

        return _ArrowStream(pa.CompressedInputStream(pa.PythonFile(source, "r"), "zstd"))
    return source


class _ArrowStream:
    """Arrow's stream, which has no `read1` of its own that ends with what is there."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read1(self, size: int) -> bytes:
        content: bytes = self._stream.read1(size)
        return content


class _GzipStream:
    """
    A gzip file (RFC 1952), member by member, three times as fast as the standard library's.

    The members' heads and ends are read here, so that one whose checksum does not hold is given whole, and so are those
    after it.

    Attributes:
        is_altered: Whether a checksum or a length did not hold.
    """

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._rest = b""
        self._inflate: Any = None
        self._checksum = 0
        self._length = 0
        self.is_altered = False

    def read1(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end. Raises EOFError at the end of a file that was cut short."""
        while True:
            if self._inflate is None and not self._begin_member():
                return b""
            inflate = self._inflate
            data = inflate.unconsumed_tail or self._rest or self._source.read(_CHUNK)
            self._rest = b""
            # At the end of a file that was cut short it may hold what did not fit into the last answers.
            text: bytes = inflate.decompress(data, size) if data else inflate.flush()
            self._checksum = isal_zlib.crc32(text, self._checksum)
            self._length += len(text)
            if inflate.eof:
                self._end_member(inflate.unused_data)
            if text:
                return text
            if not data:
                raise EOFError(_CUT)

    @property
    def is_between(self) -> bool:
        """Whether a member has ended, and none has begun since."""
        return self._inflate is None

    def _take(self, count: int) -> bytes:
        """So many of the next bytes. Raises EOFError if there are not so many."""
        while len(self._rest) < count:
            more = self._source.read(_CHUNK)
            if not more:
                raise EOFError(_CUT)
            self._rest += more
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def _begin_member(self) -> bool:
        """Read the head of the next member; False if there is none."""
        while True:
            self._rest = self._rest.lstrip(b"\0")  # members may be padded with zeros
            if self._rest:
                break
            self._rest = self._source.read(_CHUNK)
            if not self._rest:
                return False
        self._source.member = self._source.position - len(self._rest)
        head = self._take(_HEAD_BYTES)
        if head[:3] != _GZIP + b"\x08" or head[3] & _NO_FLAGS:
            raise OSError("what follows is no gzip")
        flags = head[3]
        if flags & 4:
            self._take(int.from_bytes(self._take(2), "little"))
        for text in (8, 16):  # a file's name, a comment
            while flags & text and self._take(1) != b"\0":
                pass
        if flags & 2:
            self._take(2)
        self._inflate = isal_zlib.decompressobj(_RAW_DEFLATE)
        self._checksum = self._length = 0
        return True

    def _end_member(self, rest: bytes) -> None:
        self._inflate = None
        self._rest = rest
        end = self._take(8)
        checksum, length = int.from_bytes(end[:4], "little"), int.from_bytes(end[4:], "little")
        if checksum != self._checksum or length != self._length % 2**32:
            self.is_altered = True


def _can_be_read(path: Path, place: int) -> bool:
    """Whether a member of a gzip file begins there, as far as its first text tells."""
    with path.open("rb") as file:
        stream, given = _GzipStream(_Source(file, place)), 0
        try:
            while given < _CHUNK and (text := stream.read1(_CHUNK)):
                given += len(text)
                if stream.is_between:
                    break
        except EOFError:
            return given > 0
        except _DAMAGE:
            return False
    return given > 0


#: zlib's number for a stream without a head and a checksum.
_RAW_DEFLATE: Final = -15
_CUT: Final = "the compressed file ended before its end was marked"
