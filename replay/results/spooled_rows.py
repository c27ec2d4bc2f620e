"""Rows that a run leaves, however many: the newest are in memory, the others in a temporary file."""

from __future__ import annotations

import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GenericAlias
from typing import IO, Any, Final, Generic, TypeVar

import msgspec

from recordings.storage.atomic_files import disk_refusals

__all__ = ["BLOCK_ROWS", "SpooledRows"]

T = TypeVar("T")
#: Rows that go to the file at a time; as many are held.
BLOCK_ROWS: Final = 32_768
#: The fastest: most rows are like the one before, and become a tenth.
_LEVEL: Final = 1


class SpooledRows(Generic[T]):
    """
    Takes rows at its end and gives them all back in order, any number of times. The file is gone with it.

    Args:
        kinds: The types that rows have, in any order; none of them holds whole numbers beyond 64 bits.
        block_rows: How many rows are held; None for `BLOCK_ROWS`.

    `append` raises TypeError for a row of another type, and RecordingError for what the disk refuses.
    """

    __slots__ = ("__weakref__", "_blocks", "_decoders", "_encoder", "_file", "_places", "_size", "_tail")

    def __init__(self, *kinds: Any, block_rows: int | None = None) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoders: list[Callable[[Any], Any]] = [
            msgspec.msgpack.Decoder(kind if len(kinds) > 1 else GenericAlias(list, (kind,))).decode for kind in kinds
        ]
        self._places = {kind: place for place, kind in enumerate(kinds)}
        self._tail: list[T] = []
        self._size = BLOCK_ROWS if block_rows is None else block_rows
        self._blocks: list[tuple[int, int]] = []  # offset and length in the file
        self._file: IO[bytes] | None = None

    def append(self, row: T) -> None:
        """Take a row."""
        if len(self._places) > 1 and type(row) not in self._places:
            raise TypeError(f"{type(row).__name__} is no kind of these rows")
        self._tail.append(row)
        if len(self._tail) == self._size:
            self._spool()

    def __len__(self) -> int:
        return len(self._blocks) * self._size + len(self._tail)

    def __iter__(self) -> Iterator[T]:
        for number in range(len(self._blocks)):
            yield from self._block(number)
        yield from self._tail

    @property
    def last(self) -> T | None:
        """The newest row; None where there is none."""
        if self._tail or not self._blocks:
            return self._tail[-1] if self._tail else None
        return self._block(len(self._blocks) - 1)[-1]

    def _spool(self) -> None:
        encode = self._encoder.encode
        if len(self._decoders) == 1:
            content = encode(self._tail)
        else:
            content = encode([(self._places[type(row)], msgspec.Raw(encode(row))) for row in self._tail])
        packed = zlib.compress(content, _LEVEL)
        with disk_refusals(Path(tempfile.gettempdir()), "rows of the run do not fit; make room, or set TMPDIR"):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="tickdeck-run-")  # noqa: SIM115  # as long as the rows
                weakref.finalize(self, self._file.close)
            offset = self._file.seek(0, 2)
            self._file.write(packed)
            self._file.flush()
        self._blocks.append((offset, len(packed)))
        self._tail = []

    def _block(self, number: int) -> list[T]:
        assert self._file is not None, "a block is in the file"
        offset, length = self._blocks[number]
        self._file.seek(offset)
        content = zlib.decompress(self._file.read(length))
        if len(self._decoders) == 1:
            found: list[T] = self._decoders[0](content)
            return found
        rows = msgspec.msgpack.decode(content, type=list[tuple[int, msgspec.Raw]])
        return [self._decoders[place](row) for place, row in rows]
