"""The columns of rows as numpy has them, also of those columns that have one value and were not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recordings.format.schema import TABLES

__all__ = ["RowColumns", "arrow_of", "optional", "with_constants"]

_TYPES: Final = {field.name: field.type for table in ("trades", "funding", "bbo", "book") for field in TABLES[table]}


class RowColumns:
    """
    Rows of a table, of which some columns have one value and are not there.

    Args:
        rows: The rows.
        constants: Values of these columns, by name.
    """

    def __init__(self, rows: pa.RecordBatch, constants: Mapping[str, Any]) -> None:
        self._rows = rows
        self._constants = constants
        self._names = set(rows.schema.names)

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> pa.Array:
        """A column; nulls where an older format had none."""
        if name in self._names:
            return self._rows.column(name)
        if name in self._constants:
            return _repeated(name, self._constants[name], len(self._rows))
        return pa.nulls(len(self._rows), _TYPES[name])

    def has(self, name: str) -> bool:
        """Whether a column has any value."""
        if name in self._names:
            column = self._rows.column(name)
            return bool(column.null_count < len(column))
        return self._constants.get(name) is not None

    def flags(self, name: str) -> Any:
        """A column of booleans, nulls being False: one for each row, or one for all."""
        if name not in self._names:
            return bool(self._constants.get(name))
        column = self._rows.column(name)
        return (column.fill_null(False) if column.null_count else column).to_numpy(zero_copy_only=False)

    def times(self, name: str, missing: int) -> Any:
        """A column of times, ns; `missing` stands for null."""
        column = self._rows.column(name).cast(pa.int64())
        return (column.fill_null(missing) if column.null_count else column).to_numpy()

    def floats(self, name: str) -> Any:
        """A column of numbers, NaN being null."""
        if not self.has(name):
            return np.full(len(self._rows), np.nan)
        column = self.column(name).cast(pa.float64())
        return (column.fill_null(np.nan) if column.null_count else column).to_numpy()

    def places(self, name: str, place: Callable[[str], int]) -> Any:
        """The places of the words of a column: one for each row, or one for all."""
        if name not in self._names and name in self._constants:
            return place(self._constants[name])
        words = _words(self.column(name))
        texts = words.dictionary.to_pylist()
        return _looked_up(words.indices.to_numpy(), lambda code: place(texts[code]))

    def pairs(self, place: Callable[[str, str], int]) -> Any:
        """The places of the pairs: one for each row, or one for all."""
        if not {"venue", "trading_pair"} & self._names and self._constants:
            return place(self._constants["venue"], self._constants["trading_pair"])
        venues, pairs = _words(self.column("venue")), _words(self.column("trading_pair"))
        width = max(len(pairs.dictionary), 1)
        codes = venues.indices.to_numpy().astype(np.int64) * width + pairs.indices.to_numpy()
        venue_words, pair_words = venues.dictionary.to_pylist(), pairs.dictionary.to_pylist()
        return _looked_up(codes, lambda code: place(venue_words[code // width], pair_words[code % width]))


def _repeated(name: str, value: Any, count: int) -> pa.Array:
    if isinstance(value, str):
        return pa.DictionaryArray.from_arrays(arrow_of(np.zeros(count, np.int32)), pa.array([value]))
    return pa.repeat(pa.scalar(value, _TYPES.get(name)), count)


def arrow_of(values: npt.NDArray[Any]) -> pa.Array:
    """Integers of numpy as an array; `pa.array` looks for pandas on the disk each time where it is not installed."""
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def with_constants(rows: pa.RecordBatch, constants: Mapping[str, Any]) -> pa.RecordBatch:
    """Rows with the columns that have one value in all of them."""
    for name, value in constants.items():
        rows = rows.append_column(name, _repeated(name, value, len(rows)))
    return rows


def _looked_up(codes: Any, place: Callable[[int], int]) -> Any:
    """The places of small numbers."""
    there = np.flatnonzero(np.bincount(codes)) if len(codes) else codes
    if len(there) == 1:
        return place(int(there[0]))
    table = np.full(int(there[-1]) + 1 if len(there) else 1, -1, np.int64)
    for code in there.tolist():
        table[code] = place(code)
    return table[codes]


def _words(column: pa.Array) -> pa.DictionaryArray:
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def optional(rows: pa.RecordBatch, name: str) -> pa.Array:
    """A column, or nulls where an older format had none."""
    at = rows.schema.get_field_index(name)
    return rows.column(at) if at >= 0 else pa.nulls(len(rows), _TYPES[name])
