"""
Columns of a Parquet file as arrays of numpy, decoded page by page by our own kernels.

Arrow makes an array of every column with a mask of what is there, at some 5 ns a value, of which most are the same all
over a message. What is decoded here is what recordings are written as: flat columns, version 1 of pages, zstd or
nothing, and the encodings of `recordings/format/parquet_options.py`. Of anything else `RowGroupPages` says so with
`NotPlain`, and Arrow reads it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recordings.columns.kernel_page_heads import (
    DATA,
    DICTIONARY,
    ENCODING,
    ENCODING_BITS,
    ENCODING_DICTIONARY,
    ENCODING_OLD_DICTIONARY,
    ENCODING_PLAIN,
    HEAD,
    NO_CRC,
    page_heads,
)
from recordings.columns.kernel_pages import decode_flags, decode_numbers, decode_places

__all__ = ["NAN", "FileColumns", "NotPlain", "Room", "Rooms", "RowGroupPages", "Words"]

#: NaN as the bits of a float64: what stands for a price that is missing.
NAN: Final = 0x7FF8_0000_0000_0000
#: Pages of a column chunk, at most: they hold a MiB each.
_PAGES_MAX: Final = 1024
_DICTIONARY_ENCODINGS: Final = {ENCODING_DICTIONARY, ENCODING_OLD_DICTIONARY}
_PLAIN_ENCODINGS: Final = {ENCODING_PLAIN, ENCODING_OLD_DICTIONARY}
#: Pages of so many bytes are unpacked each for itself, which is faster but for its beginning.
_LARGE_BYTES: Final = 1 << 16
_FREE_BYTES_MAX: Final = 128 << 20
_TYPES: Final = {"INT64": np.int64, "INT32": np.int32, "DOUBLE": np.float64}

_Array = npt.NDArray[Any]


class NotPlain(Exception):
    """A column is not written in a form that is read here: no error, since another way is taken."""


class Words(NamedTuple):
    """
    A column of text.

    Attributes:
        codes: Places among the words, int32, -1 where there is none.
        words: The words.
    """

    codes: _Array
    words: list[str]


class Room:
    """
    Memory that is used over and over, in place of new one for each column.

    What was taken from it is overwritten by what is taken next by the same name.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, _Array] = {}
        self.codec = pa.Codec("zstd")

    def take(self, name: str, count: int, kind: Any = np.uint8) -> _Array:
        """An array with anything in it."""
        found = self._arrays.get(name)
        if found is None or len(found) < count:
            found = self._arrays[name] = np.empty(max(count, 1 << 10), kind)
        return found[:count]

    @property
    def bytes(self) -> int:
        """How many bytes it takes up."""
        return sum(array.nbytes for array in self._arrays.values())


class Rooms:
    """Rooms that nobody works in, for who comes next: 128 MiB of them at most."""

    def __init__(self) -> None:
        self._free: list[Room] = []

    def borrow(self) -> Room:
        """One to work in alone."""
        try:
            return self._free.pop()
        except IndexError:
            return Room()

    def give_back(self, room: Room) -> None:
        """Let others work there: what was taken from it is looked at no more."""
        if sum(each.bytes for each in [room, *self._free]) <= _FREE_BYTES_MAX:
            self._free.append(room)


class FileColumns:
    """
    What the metadata of a file say of its columns, looked up once.

    Args:
        metadata: Metadata of the file.
    """

    def __init__(self, metadata: Any) -> None:
        self.metadata = metadata
        schema = metadata.schema
        #: By name, whether values may be missing; None for what is not flat.
        self.flat: dict[str, bool | None] = {}
        self.places: dict[str, int] = {}
        for place in range(len(schema)):
            column = schema.column(place)
            self.places[column.path] = place
            is_flat = column.max_repetition_level == 0 and column.max_definition_level <= 1
            self.flat[column.path] = column.max_definition_level == 1 if is_flat else None


class RowGroupPages:
    """
    The columns of a row group.

    Args:
        source: The file.
        columns: Facts of its columns, by name.
        number: Number of the row group.
        room: Memory to work in.
        lends: Whether the columns are in that memory as well, until another row group is read there.

    Attributes:
        rows: How many rows it has.
        present: In how many of them the column that was read last has a value.
    """

    def __init__(
        self, source: pa.NativeFile, columns: FileColumns, number: int, room: Room, *, lends: bool = False
    ) -> None:
        self._source = source
        self._columns = columns
        self._group = columns.metadata.row_group(number)
        self.rows: int = self._group.num_rows
        self.present = 0
        self._room = room
        self._lends = lends

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self._columns.places

    def empty(self, name: str, count: int, kind: Any) -> _Array:
        """An array to write a column into."""
        return self._room.take(f"column {name}", count, kind) if self._lends else np.empty(count, kind)

    def one_value(self, name: str) -> tuple[Any] | None:
        """The one value of a column, by its statistics; None where there are several, or it is not known."""
        statistics = self._group.column(self._columns.places[name]).statistics
        if statistics is None or not statistics.has_null_count:
            return None
        if statistics.null_count == self.rows:
            return (None,)
        if statistics.null_count or not statistics.has_min_max or statistics.min != statistics.max:
            return None
        return (statistics.min,)

    def numbers(self, name: str, missing: int, starts: _Array | None = None) -> _Array:
        """
        A column of int64, int32 or float64; `missing`, as bits, stands for null.

        Afterwards `present` says how many rows have a value.

        Args:
            name: Its name.
            missing: Value in place of null; bits of it, where it is no integer.
            starts: Rows that are wanted, int64, in order; None for all.

        Raises NotPlain.
        """
        chunk = self._chunk(name)
        kind = _TYPES.get(chunk.physical_type)
        if kind is None:
            raise NotPlain(name)
        found = self.empty(name, self.rows if starts is None else len(starts), kind)
        bits = found.view(np.int64 if found.itemsize == 8 else np.int32)
        dictionary, data, heads = self._pages(chunk)
        words = bits[:0]
        if dictionary is not None:
            words = dictionary[: len(dictionary) - len(dictionary) % bits.itemsize].view(bits.dtype)
        self._decode(name, data, heads, words, missing, bits, starts)
        return found

    def flags(self, name: str) -> _Array:
        """A column of truths as uint8; null is False. Raises NotPlain."""
        chunk = self._chunk(name)
        if chunk.physical_type != "BOOLEAN":
            raise NotPlain(name)
        found = self.empty(name, self.rows, np.uint8)
        _, data, heads = self._pages(chunk)
        if decode_flags(data, heads, self._columns.flat[name], self._room.take("there", self.rows), found) < 0:
            raise NotPlain(name)
        return found

    def words(self, name: str, starts: _Array | None = None) -> Words:
        """A column of text with a dictionary; as `numbers`. Raises NotPlain, for one without as well."""
        chunk = self._chunk(name)
        if chunk.physical_type != "BYTE_ARRAY":
            raise NotPlain(name)
        codes = self.empty(name, self.rows if starts is None else len(starts), np.int32)
        dictionary, data, heads = self._pages(chunk)
        if dictionary is None or not set(heads[:, ENCODING].tolist()) <= _DICTIONARY_ENCODINGS:
            raise NotPlain(name)
        texts = _texts(dictionary)
        self._decode(name, data, heads, np.arange(len(texts), dtype=np.int32), -1, codes, starts)
        return Words(codes, texts)

    def _chunk(self, name: str) -> Any:
        if self._columns.flat.get(name) is None:
            raise NotPlain(name)
        return self._group.column(self._columns.places[name])

    def _decode(
        self,
        name: str,
        data: _Array,
        heads: _Array,
        words: _Array,
        missing: int,
        out: _Array,
        starts: _Array | None,
    ) -> None:
        there, has_levels = self._room.take("there", self.rows), self._columns.flat[name]
        if starts is None:
            found = decode_numbers(data, heads, has_levels, words, missing, there, out)
        else:
            # It says how many rows are wanted, not how many have a value.
            scratch = self._room.take(out.dtype.name, self.rows, out.dtype)
            found = decode_places(data, heads, has_levels, words, missing, there, starts, scratch, out)
        if found < 0:
            raise NotPlain(name)
        self.present = found

    def _pages(self, chunk: Any) -> tuple[_Array | None, _Array, _Array]:
        """The bytes of the dictionary, those of the other pages one after the other, and what each of these says of itself."""
        begin = chunk.data_page_offset
        if chunk.has_dictionary_page:
            begin = min(begin, chunk.dictionary_page_offset)
        packed = self._source.read_at(chunk.total_compressed_size, begin)
        heads = self._room.take("heads", _PAGES_MAX * HEAD, np.int64).reshape(-1, HEAD)
        heads = heads[: max(0, page_heads(np.frombuffer(packed, np.uint8), heads))]
        view = memoryview(packed)
        dictionary: _Array | None = None
        parts: list[memoryview] = []
        sizes: list[int] = []
        for kind, encoding, levels, _, at, size, whole, crc in heads.tolist():
            part = view[at : at + size]
            if crc != NO_CRC and zlib.crc32(part) != crc:
                raise OSError("could not verify page integrity, CRC checksum verification failed")
            if kind == DATA and levels == ENCODING_BITS:
                parts.append(part)
                sizes.append(whole)
            elif kind == DICTIONARY and encoding in _PLAIN_ENCODINGS and dictionary is None and not parts:
                dictionary = _unpacked(self._room, chunk.compression, [part], [whole], "dictionary")
            else:
                raise NotPlain(chunk.path_in_schema)
        if not parts:
            raise NotPlain(chunk.path_in_schema)
        data = _unpacked(self._room, chunk.compression, parts, sizes)
        return dictionary, data, heads if dictionary is None else heads[1:]


def _unpacked(room: Room, codec: str, parts: Sequence[memoryview], sizes: Sequence[int], name: str = "data") -> _Array:
    """The bytes of pages, one after the other."""
    total = sum(sizes)
    if codec not in ("ZSTD", "UNCOMPRESSED"):
        raise NotPlain(codec)
    if codec == "ZSTD" and len(parts) == 1:
        found = np.frombuffer(room.codec.decompress(parts[0], sizes[0]), np.uint8)
    else:
        found = room.take(name, total)
    if codec == "ZSTD" and len(parts) > 1 and total < _LARGE_BYTES * len(parts):
        # As one stream: to begin one takes longer than to unpack a small page.
        with pa.CompressedInputStream(pa.BufferReader(b"".join(parts)), "zstd") as stream:
            count = stream.readinto(found)
        if count != total:
            raise OSError(f"pages became {count} bytes, expected {total}")
    elif codec == "UNCOMPRESSED" or len(parts) > 1:
        at = 0
        for part, size in zip(parts, sizes, strict=True):
            page = part if codec == "UNCOMPRESSED" else room.codec.decompress(part, size)
            if len(page) != size:
                raise NotPlain(codec)
            found[at : at + size] = np.frombuffer(page, np.uint8)
            at += size
    return found


def _texts(page: _Array) -> list[str]:
    """The words of a dictionary: of each how many bytes, and these. Raises NotPlain."""
    data = page.tobytes()
    found: list[str] = []
    at = 0
    while at < len(data):
        begin = at + 4
        at = begin + int.from_bytes(data[at:begin], "little")
        if at > len(data):
            raise NotPlain("dictionary")
        found.append(data[begin:at].decode())
    return found
