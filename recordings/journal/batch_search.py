"""Finding the next batch of a journal after bytes that are damaged."""

from __future__ import annotations

import mmap
import struct
from typing import Any, BinaryIO, Final

import pyarrow as pa

from recordings.format.frames_to_rows import STREAM_BEGIN

__all__ = ["CONTINUATION", "next_batch", "stream_from"]

#: How a message of a stream begins: a continuation, then the length of its metadata.
CONTINUATION: Final = b"\xff\xff\xff\xff"
#: Those of a batch of frames take some 900 bytes, however many frames it has.
_METADATA_MAX: Final = 1 << 16
#: The name of the checksum in them.
_MARK: Final = b"crc32"


def next_batch(file: BinaryIO, begin: int, size: int) -> int | None:
    """Where, from `begin` on, a batch may stand: its bytes look like the head of one. None if nowhere."""
    if begin + 8 > size:
        return None
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
        place = content.find(CONTINUATION, begin)
        while 0 <= place <= size - 8:
            (length,) = struct.unpack_from("<i", content, place + 4)
            end = place + 8 + length
            if 0 < length <= _METADATA_MAX and end <= size and content.find(_MARK, place + 8, end) >= 0:
                return place
            place = content.find(CONTINUATION, place + 1)
    return None


def stream_from(file: BinaryIO, place: int, size: int) -> Any:
    """A reader of the batches from `place` on, as if nothing but the beginning of a stream had come before."""
    return pa.ipc.open_stream(pa.PythonFile(_Rest(file, place, size), "r"))


class _Rest:
    """The rest of a file after the beginning of a stream, as what Arrow reads from."""

    def __init__(self, file: BinaryIO, place: int, size: int) -> None:
        self._head: bytes = STREAM_BEGIN
        self._file = file
        self._size = size
        file.seek(place)

    @property
    def closed(self) -> bool:
        return False

    def read(self, count: int = -1) -> bytes:
        # A damaged length may ask for more than there is memory.
        left = max(0, self._size - self._file.tell())
        if not self._head:
            return self._file.read(left if count < 0 else min(count, left))
        head = self._head if count < 0 else self._head[:count]
        self._head = self._head[len(head) :]
        if self._head or count == len(head):
            return head
        return head + self.read(count - len(head))

    def close(self) -> None:
        """The file is another's."""
