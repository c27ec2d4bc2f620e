"""
MessagePack into a buffer of bytes, in the shortest form, as the canonical bytes of messages have it.

Words are stored in the machine's byte order, which is little-endian wherever numba compiles to.
"""

from __future__ import annotations

import numpy as np

from toolkit.kernels.compiling import copy_bytes, float_bits, kernel, store_word, swap_bytes

__all__ = ["put_array_head", "put_bytes", "put_float", "put_float_le", "put_int", "put_uint32_le"]


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
