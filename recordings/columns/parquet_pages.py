"""
Columns of a Parquet file as arrays of numpy, decoded page by page by our own kernels.

Arrow makes an array of every column with a mask of what is there, at some 5 ns a value, of which most are the same all
over a message. What is decoded here is what recordings are written as: flat columns, version 1 of pages, zstd or
nothing, and the encodings of `recordings/format/parquet_options.py`. Of anything else `RowGroupPages` says so with
`NotPlain`, and Arrow reads it.
"""

from __future__ import annotations

import threading
import zlib
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recordings.columns.kernel_page_heads import (
    BYTES,
    DATA,
    DICTIONARY,
    ENCODING,
    ENCODING_BITS,
    ENCODING_DICTIONARY,
    ENCODING_OLD_DICTIONARY,
    ENCODING_PLAIN,
    HEAD,
    KIND,
    NO_CRC,
    VALUES,
    page_heads,
)
from recordings.columns.kernel_pages import decode_flags, decode_numbers, decode_places

__all__ = ["NAN", "FileColumns", "NotPlain", "RowGroupPages", "Words"]

#: NaN as the bits of a float64: what stands for a price that is missing.
NAN: Final = 0x7FF8_0000_0000_0000
#: Pages of a column chunk, at most: they hold a MiB each.
_PAGES_MAX: Final = 1024
_DICTIONARY_ENCODINGS: Final = {ENCODING_DICTIONARY, ENCODING_OLD_DICTIONARY}
_TYPES: Final = {"INT64": np.int64, "INT32": np.int32, "DOUBLE": np.float64}
_local = threading.local()

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
        columns: What is known of its columns.
        number: Number of the row group.

    Attributes:
        rows: How many rows it has.
        present: In how many of them the column that was read last has a value.
    """

    def __init__(self, source: pa.NativeFile, columns: FileColumns, number: int) -> None:
        self._source = source
        self._columns = columns
        self._group = columns.metadata.row_group(number)
        self.rows: int = self._group.num_rows
        self.present = 0

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self._columns.places

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
            missing: What stands for null: as bits, of what is no integer.
            starts: Rows that are wanted, int64, in order; None for all.

        Raises NotPlain.
        """
        chunk = self._chunk(name)
        kind = _TYPES.get(chunk.physical_type)
        if kind is None:
            raise NotPlain(name)
        found = np.empty(self.rows if starts is None else len(starts), kind)
        bits = found.view(np.int64 if found.itemsize == 8 else np.int32)
        data, heads = self._pages(chunk)
        words = bits[:0]
        if heads[0, KIND] == DICTIONARY:
            size = int(heads[0, BYTES])
            words = data[: size - size % bits.itemsize].view(bits.dtype)
        self._decode(name, data, heads, words, missing, bits, starts)
        return found

    def flags(self, name: str) -> _Array:
        """A column of truths as uint8; null is False. Raises NotPlain."""
        chunk = self._chunk(name)
        if chunk.physical_type != "BOOLEAN":
            raise NotPlain(name)
        found = np.empty(self.rows, np.uint8)
        data, heads = self._pages(chunk)
        if decode_flags(data, heads, self._columns.flat[name], _scratch("there", self.rows), found) < 0:
            raise NotPlain(name)
        return found

    def words(self, name: str, starts: _Array | None = None) -> Words:
        """A column of text with a dictionary; as `numbers`. Raises NotPlain, for one without as well."""
        chunk = self._chunk(name)
        if chunk.physical_type != "BYTE_ARRAY":
            raise NotPlain(name)
        codes = np.empty(self.rows if starts is None else len(starts), np.int32)
        data, heads = self._pages(chunk)
        if heads[0, KIND] != DICTIONARY or not set(heads[1:, ENCODING].tolist()) <= _DICTIONARY_ENCODINGS:
            raise NotPlain(name)
        texts = _texts(data[: heads[0, BYTES]], int(heads[0, VALUES]))
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
        there, has_levels = _scratch("there", self.rows), self._columns.flat[name]
        if starts is None:
            found = decode_numbers(data, heads, has_levels, words, missing, there, out)
        else:
            # It says how many rows are wanted, not how many have a value.
            scratch = _scratch(out.dtype.name, self.rows, out.dtype)
            found = decode_places(data, heads, has_levels, words, missing, there, starts, scratch, out)
        if found < 0:
            raise NotPlain(name)
        self.present = found

    def _pages(self, chunk: Any) -> tuple[_Array, _Array]:
        """The bytes of the pages one after the other, and what each says of itself."""
        begin = chunk.data_page_offset
        if chunk.has_dictionary_page:
            begin = min(begin, chunk.dictionary_page_offset)
        packed = self._source.read_at(chunk.total_compressed_size, begin)
        heads = _scratch("heads", _PAGES_MAX * HEAD, np.int64).reshape(-1, HEAD)
        heads = heads[: max(0, page_heads(np.frombuffer(packed, np.uint8), heads))]
        view = memoryview(packed)
        parts: list[memoryview] = []
        total = 0
        for kind, encoding, levels, _, at, size, whole, crc in heads.tolist():
            if kind == DICTIONARY:
                is_known = not parts and encoding in (ENCODING_PLAIN, ENCODING_OLD_DICTIONARY)
            else:
                is_known = kind == DATA and levels == ENCODING_BITS
            if not is_known:
                raise NotPlain(chunk.path_in_schema)
            part = view[at : at + size]
            if crc != NO_CRC and zlib.crc32(part) != crc:
                raise OSError("could not verify page integrity, CRC checksum verification failed")
            parts.append(part)
            total += whole
        if not parts:
            raise NotPlain(chunk.path_in_schema)
        data = _scratch("data", total)[:total]
        _unpack(chunk.compression, parts[0] if len(parts) == 1 else b"".join(parts), data)
        return data, heads


def _unpack(codec: str, packed: Any, into: _Array) -> None:
    if codec == "ZSTD":
        # All pages as one stream: to begin one takes longer than to unpack a small page.
        with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
            found = stream.readinto(into)
    elif codec == "UNCOMPRESSED":
        found = len(packed)
        if found == len(into):
            into[:] = np.frombuffer(packed, np.uint8)
    else:
        raise NotPlain(codec)
    if found != len(into):
        raise OSError(f"pages became {found} bytes, expected {len(into)}")


def _scratch(name: str, count: int, kind: Any = np.uint8) -> _Array:
    """Room that this thread uses over and over."""
    found: _Array | None = getattr(_local, name, None)
    if found is None or len(found) < count:
        found = np.empty(max(count, 1 << 13), kind)
        setattr(_local, name, found)
    return found


def _texts(page: _Array, count: int) -> list[str]:
    """The words of a dictionary: of each how many bytes, and these. Raises NotPlain."""
    data = page.tobytes()
    found: list[str] = []
    at = 0
    for _ in range(count):
        begin = at + 4
        at = begin + int.from_bytes(data[at:begin], "little")
        if at > len(data):
            raise NotPlain("dictionary")
        found.append(data[begin:at].decode())
    return found
