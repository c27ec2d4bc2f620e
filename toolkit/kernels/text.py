"""
Reading JSON text byte by byte.

These functions accept a part of JSON only: printable ASCII without escapes, integers without a sign, decimals in
quotes without a sign or an exponent. What they refuse (-1 for the place to go on) is not wrong; it is left to the
general parser. What they accept means the same there, to the last bit: a decimal is an integer below 2**53 over a
power of ten of at most 10**22, and the one division rounds as a correct parser does.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from toolkit.kernels.compiling import kernel

__all__ = [
    "INTEGER_MAX",
    "LONG",
    "POWERS",
    "POWERS_INT",
    "is_imprecise",
    "name_hash",
    "read_decimal",
    "read_int",
    "skip_string",
    "skip_value",
    "skip_word",
    "starts_with",
]

#: Integers up to here are exact in a float64.
INTEGER_MAX: Final = 2**53
#: Powers of ten: exact as float64 up to 22, as int64 up to 18.
POWERS: Final = np.array([10.0**n for n in range(23)], np.float64)
POWERS_INT: Final = np.array([10**n for n in range(19)], np.int64)
_DIGITS_MAX: Final = 18
#: A quoted decimal shorter than this has at most 15 digits, which a float64 keeps.
LONG: Final = 18
_FNV_START: Final = np.uint64(14695981039346656037)
_FNV_FACTOR: Final = np.uint64(1099511628211)

_QUOTE: Final = 34
_MINUS: Final = 45
_POINT: Final = 46
_ZERO: Final = 48
_NINE: Final = 57
_BACKSLASH: Final = 92
_TILDE: Final = 126
_SPACE: Final = 32


@kernel
def name_hash(data, start, end):
    """FNV-1a of some bytes."""
    value = _FNV_START
    for index in range(start, end):
        value = (value ^ np.uint64(data[index])) * _FNV_FACTOR
    return value


@kernel
def is_imprecise(mantissa):
    """Whether a decimal has more than 15 significant digits."""
    if mantissa < POWERS_INT[15]:
        return False
    while mantissa % 10 == 0:
        mantissa //= 10
    return mantissa >= POWERS_INT[15]


@kernel
def read_int(data, at, end):
    """`(next, value)` of an integer of at most 18 digits."""
    start = at
    value = np.int64(0)
    while at < end:
        digit = np.int64(data[at]) - _ZERO
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        at += 1
    digits = at - start
    if digits == 0 or digits > _DIGITS_MAX or (data[start] == _ZERO and digits > 1):
        return np.int64(-1), np.int64(0)
    return at, value


@kernel
def read_decimal(data, at, end):
    """`(next, mantissa, decimals)` of a quoted decimal, from its opening quote on; mantissa below 2**53."""
    refused = np.int64(-1), np.int64(0), np.int64(0)
    if at >= end or data[at] != _QUOTE:
        return refused
    at += 1
    start = at
    value = np.int64(0)
    while at < end:
        digit = np.int64(data[at]) - _ZERO
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        at += 1
    whole = at - start
    if whole == 0 or whole > _DIGITS_MAX or (data[start] == _ZERO and whole > 1) or at >= end:
        return refused
    decimals = np.int64(0)
    if data[at] == _POINT:
        at += 1
        fraction = at
        while at < end:
            digit = np.int64(data[at]) - _ZERO
            if digit < 0 or digit > 9:
                break
            # Past 18 digits the value is refused anyway; wrapping around until then does no harm.
            value = value * 10 + digit
            at += 1
        decimals = at - fraction
        if decimals == 0 or whole + decimals > _DIGITS_MAX:
            return refused
    if at >= end or data[at] != _QUOTE or value > INTEGER_MAX:
        return refused
    return at + 1, value, decimals


@kernel
def skip_string(data, at, end):
    """The place after a quoted string of printable ASCII without escapes, from its opening quote on."""
    if at >= end or data[at] != _QUOTE:
        return np.int64(-1)
    at += 1
    while at < end:
        byte = data[at]
        if byte == _QUOTE:
            return at + 1
        if byte < _SPACE or byte > _TILDE or byte == _BACKSLASH:
            return np.int64(-1)
        at += 1
    return np.int64(-1)


@kernel
def starts_with(data, at, end, word):
    """Whether the bytes of `word` stand at that place."""
    if end - at < len(word):
        return False
    for index in range(len(word)):  # a generator is not compiled
        if data[at + index] != word[index]:
            return False
    return True


@kernel
def skip_word(data, at, end, word):
    """The place after that word, or -1."""
    return at + len(word) if starts_with(data, at, end, word) else np.int64(-1)


_TRUE: Final = np.frombuffer(b"true", np.uint8)
_FALSE: Final = np.frombuffer(b"false", np.uint8)
_NULL: Final = np.frombuffer(b"null", np.uint8)


@kernel
def skip_value(data, at, end):
    """The place after a string, a plain number, `true`, `false` or `null`."""
    if at >= end:
        return np.int64(-1)
    byte = data[at]
    if byte == _QUOTE:
        return skip_string(data, at, end)
    if starts_with(data, at, end, _TRUE) or starts_with(data, at, end, _NULL):
        return at + 4
    if starts_with(data, at, end, _FALSE):
        return at + 5
    if byte == _MINUS:
        at += 1
    after, _ = read_int(data, at, end)
    if after < 0:
        return after
    if after < end and data[after] == _POINT:
        fraction = after + 1
        after = fraction
        while after < end and _ZERO <= data[after] <= _NINE:
            after += 1
        if after == fraction:
            return np.int64(-1)
    return after
