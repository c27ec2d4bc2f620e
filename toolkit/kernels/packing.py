"""
MessagePack into a buffer of bytes, in the shortest form, as the canonical bytes of messages have it.

Words are stored in the machine's byte order, which is little-endian wherever numba compiles to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiling import copy_bytes, float_bits, inlined, kernel, store_word, swap_bytes

__all__ = [
    "Pieces",
    "make_pieces",
    "put_array_head",
    "put_best",
    "put_bytes",
    "put_digits",
    "put_float",
    "put_float_le",
    "put_floats",
    "put_int",
    "put_piece",
    "put_uint32_le",
    "set_top",
]


class Pieces(NamedTuple):
    """Canonical bytes that all messages of a kind share: `data[ends[n] : ends[n + 1]]` is piece n."""

    data: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]


def make_pieces(parts: Mapping[int, bytes]) -> Pieces:
    """Pieces by their numbers, which are those from 0 on."""
    in_order = [parts[number] for number in range(len(parts))]
    ends = np.cumsum([0, *map(len, in_order)])
    return Pieces(np.frombuffer(b"".join(in_order), np.uint8).copy(), ends.astype(np.int64))


@kernel
def put_bytes(out, at, source, start, end):
    """Copy bytes; returns the place after them."""
    copy_bytes(out, at, source, start, end - start)
    return at + end - start


@kernel
def _put_big_endian(out, at, value, size):
    for index in range(size):
        out[at + index] = np.uint8((value >> np.uint64(8 * (size - 1 - index))) & np.uint64(255))
    return at + size


@kernel
def put_int(out, at, value):
    """An integer of 0 or more."""
    bits = np.uint64(value)
    if value < 128:
        out[at] = np.uint8(bits)
        return at + 1
    if value < 256:
        out[at] = 0xCC
        return _put_big_endian(out, at + 1, bits, 1)
    if value < 65536:
        out[at] = 0xCD
        return _put_big_endian(out, at + 1, bits, 2)
    if value < 4294967296:
        out[at] = 0xCE
        return _put_big_endian(out, at + 1, bits, 4)
    out[at] = 0xCF
    store_word(out, at + 1, swap_bytes(bits))
    return at + 9


@kernel
def put_float(out, at, value):
    """A float64."""
    out[at] = 0xCB
    store_word(out, at + 1, swap_bytes(float_bits(value)))
    return at + 9


@kernel
def put_array_head(out, at, length):
    """The head of an array."""
    if length < 16:
        out[at] = np.uint8(0x90 | length)
        return at + 1
    if length < 65536:
        out[at] = 0xDC
        return _put_big_endian(out, at + 1, np.uint64(length), 2)
    out[at] = 0xDD
    return _put_big_endian(out, at + 1, np.uint64(length), 4)


@kernel
def put_float_le(out, at, value):
    """The eight bytes of a float64, little-endian, without a head: not MessagePack."""
    store_word(out, at, float_bits(value))
    return at + 8


@kernel
def put_uint32_le(out, at, value):
    """Four bytes, little-endian, without a head: not MessagePack."""
    bits = np.uint64(value)
    for index in range(4):
        out[at + index] = np.uint8((bits >> np.uint64(8 * index)) & np.uint64(255))
    return at + 4


@kernel
def put_piece(out, at, pieces, number):
    """A piece."""
    return put_bytes(out, at, pieces.data, pieces.ends[number], pieces.ends[number + 1])


@kernel
def put_floats(out, at, values, start, end):
    """An array of float64."""
    at = put_array_head(out, at, end - start)
    for row in range(start, end):
        at = put_float(out, at, values[row])
    return at


@kernel
def put_digits(out, at, number, letter):
    """An integer of 0 or more and less than 30 digits, as text, after an ASCII letter; 0 for none."""
    digits = 1
    left = number // 10
    while left:
        digits += 1
        left //= 10
    if letter:
        out[at] = np.uint8(0xA0 | (digits + 1))
        out[at + 1] = np.uint8(letter)
        at += 2
    else:
        out[at] = np.uint8(0xA0 | digits)
        at += 1
    left = number
    for place in range(digits - 1, -1, -1):
        out[at + place] = np.uint8(48 + left % 10)
        left //= 10
    return at + digits


@inlined
def put_best(out, at, bid, bid_size, ask, ask_size, bids, asks, is_stale):
    """What the digest covers of a book after each message: best levels, NaN without one, and numbers of levels."""
    out[at] = 66  # B
    at = put_float_le(out, at + 1, bid)
    at = put_float_le(out, at, bid_size)
    at = put_float_le(out, at, ask)
    at = put_float_le(out, at, ask_size)
    at = put_uint32_le(out, at, bids)
    at = put_uint32_le(out, at, asks)
    out[at] = is_stale
    return at + 1


@kernel
def _is_same(a, b):
    """Whether two float64 are one value; NaN is NaN."""
    return a == b or (a != a and b != b)


@inlined
def set_top(top, bid, bid_size, ask, ask_size):
    """Set the four values of the last row of `top`; whether they were others."""
    is_same = (
        _is_same(top[0], bid) and _is_same(top[1], bid_size) and _is_same(top[2], ask) and _is_same(top[3], ask_size)
    )
    top[0], top[1], top[2], top[3] = bid, bid_size, ask, ask_size
    return not is_same
