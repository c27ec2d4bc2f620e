"""The canonical bytes that compiled code writes are msgspec's."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.kernels.packing import (
    put_array_head,
    put_best,
    put_bytes,
    put_digits,
    put_float,
    put_float_le,
    put_int,
    put_uint32_le,
    set_top,
)

_pack = msgspec.msgpack.Encoder().encode


def memory() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.full(64, 0xEE, np.uint8)


@given(st.integers(0, 2**63 - 1) | st.sampled_from([0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32]))
def test_integers_take_the_shortest_form(value: int) -> None:
    out = memory()
    end = put_int(out, 3, value)
    assert out[3:end].tobytes() == _pack(value)
    assert (out[end:] == 0xEE).all()


@given(st.floats(allow_nan=False))
def test_floats_are_big_endian(value: float) -> None:
    out = memory()
    end = put_float(out, 1, value)
    assert out[1:end].tobytes() == _pack(value)
    assert out[:1].tobytes() == b"\xee"
    assert (out[end:] == 0xEE).all()


@pytest.mark.parametrize("length", [0, 1, 15, 16, 65535, 65536])
def test_an_array_has_the_head_for_its_length(length: int) -> None:
    out = memory()
    end = put_array_head(out, 0, length)
    assert _pack([None] * length).startswith(out[:end].tobytes())
    assert end == len(_pack([None] * length)) - length


def test_words_of_the_book_are_little_endian() -> None:
    out = memory()
    end = put_uint32_le(out, put_float_le(out, 0, -1.5), 70_000)
    assert out[:end].tobytes() == struct.pack("<dI", -1.5, 70_000)


def test_bytes_are_copied_between_their_borders() -> None:
    out = memory()
    end = put_bytes(out, 2, np.frombuffer(b"abcdef", np.uint8), 1, 4)
    assert (out[:2].tobytes(), out[2:end].tobytes(), end) == (b"\xee\xee", b"bcd", 5)


@given(st.integers(0, 2**63 - 1) | st.sampled_from([0, 9, 10, 99, 100, 10**18]), st.sampled_from(["", "a"]))
def test_a_number_as_text_has_no_zeros_before_it(value: int, letter: str) -> None:
    out = memory()
    end = put_digits(out, 2, value, ord(letter or "\0"))
    assert out[2:end].tobytes() == _pack(f"{letter}{value}")
    assert (out[end:] == 0xEE).all()


def test_a_book_is_its_best_levels_and_how_many_there_are() -> None:
    out = memory()
    end = put_best(out, 1, 1.5, 2.0, np.nan, np.nan, 70_000, 0, 1)
    assert out[1:end].tobytes() == struct.pack("<c4dIIB", b"B", 1.5, 2.0, np.nan, np.nan, 70_000, 0, 1)


@pytest.mark.parametrize("place", range(4))
def test_a_row_of_the_best_levels_is_another_if_one_value_is(place: int) -> None:
    values = [1.0, 2.0, np.nan, np.nan]
    top = np.array(values)
    assert not set_top(top, *values)
    values[place] = 9.0
    assert set_top(top, *values)
    assert top.tolist()[place] == 9.0
    assert not set_top(top, *values)
    values[place] = np.nan
    assert set_top(top, *values)
    assert np.array_equal(top, values, equal_nan=True)
