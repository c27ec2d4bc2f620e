"""Lines `<integer time> <payload>`, taken apart."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from toolkit.kernels.compiling import copy_bytes, kernel, load_word, lowest_bit

__all__ = ["compile_lines", "split_lines"]

_NEWLINE: Final = 10
_SPACE: Final = 32
_ZERO: Final = np.uint64(48)
_NINE: Final = np.uint64(9)
_TEN: Final = np.uint64(10)
_DIGITS_MAX: Final = 19
#: A newline, the lowest bit, and the highest bit in each of eight bytes.
_NEWLINES: Final = np.uint64(0x0A0A0A0A0A0A0A0A)
_LOWS: Final = np.uint64(0x0101010101010101)
_HIGHS: Final = np.uint64(0x8080808080808080)


@kernel
def _newline(text, at, end):
    """The place of the first newline; there must be one. Of eight bytes at a time, the lowest that is one."""
    while at + 8 <= end:
        word = load_word(text, at) ^ _NEWLINES
        found = (word - _LOWS) & ~word & _HIGHS
        if found:
            return at + lowest_bit(found) // 8
        at += 8
    while text[at] != _NEWLINE:
        at += 1
    return at


@kernel
def split_lines(
    text: Any,
    begin: int,
    end: int,
    unit_ns: int,
    earliest: int,
    latest: int,
    times: Any,
    payloads: Any,
    ends: Any,
    row: int,
) -> tuple[int, int]:
    """
    Take lines apart until one is not of that form, or its time is not plausible.

    Args:
        text: uint8; lines from `begin` to `end`, where the last one ends in a newline.
        begin: See there.
        end: See there.
        unit_ns: Nanoseconds per unit of the times.
        earliest: First plausible time, in that unit.
        latest: First time after the plausible ones.
        times: int64: where times go, ns.
        payloads: uint8: where payloads go, one after the other.
        ends: int64: where each of them ends; `ends[0]` is 0, and payload `row` ends at `ends[row + 1]`.
        row: Lines that are there already.

    Returns:
        Where the first line begins that was not taken, and how many lines there are now.
    """
    low, high = np.uint64(earliest), np.uint64(latest)
    at = begin
    while at < end:
        place = at
        value = np.uint64(0)
        while place < end:
            digit = np.uint64(text[place]) - _ZERO  # wraps around for what is below `0`
            if digit > _NINE:
                break
            value = value * _TEN + digit
            place += 1
        digits = place - at
        if digits == 0 or digits > _DIGITS_MAX or place >= end or text[place] != _SPACE:
            return at, row
        if value < low or value >= high:
            return at, row
        place += 1
        stop = _newline(text, place, end)
        if stop == place:
            return at, row
        start = ends[row]
        copy_bytes(payloads, start, text, place, stop - place)
        ends[row + 1] = start + stop - place
        times[row] = np.int64(value) * unit_ns
        row += 1
        at = stop + 1
    return at, row


def compile_lines() -> None:
    """Compile, or load, what splits lines."""
    text = np.frombuffer(b"", np.uint8)
    split_lines(text, 0, 0, 1, 0, 1, np.zeros(1, np.int64), np.empty(1, np.uint8), np.zeros(2, np.int64), 0)
