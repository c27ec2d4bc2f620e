"""Lines `{"<name>":"<ISO 8601 time>",...,"<name>":<JSON object>}`, taken apart."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from toolkit.kernels.compiling import copy_bytes, kernel
from toolkit.kernels.text import skip_string, skip_value, starts_with

__all__ = ["compile_wrapped_lines", "skip_object", "split_wrapped_lines"]

_QUOTE: Final = 34
_COMMA: Final = 44
_POINT: Final = 46
_COLON: Final = 58
_OPEN: Final = 91
_CLOSE: Final = 93
_BEGIN: Final = 123
_END: Final = 125
_ZERO: Final = 48
_NEWLINE: Final = 10
_DASH: Final = 45
_T: Final = 84
_DEPTH_MAX: Final = 60
_NS: Final = 1_000_000_000
#: Digits of a second that a time keeps.
_FRACTION: Final = 9
_YEAR_FIRST: Final = 2009
_YEAR_END: Final = 2100
_DAYS: Final = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_DAYS_TO_1970: Final = 719_468


@kernel
def skip_object(data, at, end):
    """
    The place after a JSON object, from its opening brace on; -1 for one that is none, or not plain.

    Strings are printable ASCII without escapes, numbers integers and decimals without an exponent; no white space.
    """
    refused = np.int64(-1)
    if at >= end or data[at] != _BEGIN:
        return refused
    is_object = np.uint64(1)  # a bit for each open bracket, the innermost the lowest
    depth = 1
    at += 1
    is_first = True
    while True:
        if at >= end:
            return refused
        byte = data[at]
        in_object = is_object & np.uint64(1)
        if byte == (_END if in_object else _CLOSE):
            # After a comma there is more to come: that is looked for below.
            if not is_first and data[at - 1] == _COMMA:
                return refused
            at += 1
            depth -= 1
            is_object >>= np.uint64(1)
            is_first = False
            if depth == 0:
                return at
        else:
            if in_object:
                at = skip_string(data, at, end)
                if at < 0 or at >= end or data[at] != _COLON:
                    return refused
                at += 1
                if at >= end:
                    return refused
                byte = data[at]
            if byte == _BEGIN or byte == _OPEN:
                depth += 1
                if depth > _DEPTH_MAX:
                    return refused
                is_object = (is_object << np.uint64(1)) | np.uint64(byte == _BEGIN)
                at += 1
                is_first = True
                continue
            at = skip_value(data, at, end)
            if at < 0:
                return refused
            is_first = False
        # After a value: more of the same, or the end of what it is in.
        if at >= end:
            return refused
        byte = data[at]
        if byte == _COMMA:
            at += 1
        elif byte != _END and byte != _CLOSE:
            return refused


@kernel
def _number(text, at, digits):
    """The number that so many digits make; -1 if one is none."""
    value = np.int64(0)
    for place in range(at, at + digits):
        digit = np.int64(text[place]) - _ZERO
        if digit < 0 or digit > 9:
            return np.int64(-1)
        value = value * 10 + digit
    return value


@kernel
def _read_second(text, at, end):
    """Seconds since 1970 of `2024-01-01T12:00:01`, in the years that receive times are plausible in; -1 for others."""
    refused = np.int64(-1)
    if at + 19 > end or text[at + 4] != _DASH or text[at + 7] != _DASH or text[at + 10] != _T:
        return refused
    if text[at + 13] != _COLON or text[at + 16] != _COLON:
        return refused
    year, month, day = _number(text, at, 4), _number(text, at + 5, 2), _number(text, at + 8, 2)
    hour, minute, second = _number(text, at + 11, 2), _number(text, at + 14, 2), _number(text, at + 17, 2)
    if year < _YEAR_FIRST or year >= _YEAR_END or month < 1 or month > 12 or day < 1:
        return refused
    days = _DAYS[month - 1]
    if month == 2 and year % 4 == 0:  # within these years every fourth is a leap year
        days += 1
    if day > days or hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return refused
    # Days from the civil date, with years that begin in March (Howard Hinnant's `days_from_civil`).
    if month <= 2:
        year -= 1
        month += 12
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month - 3) + 2) // 5 + day - 1
    total = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - _DAYS_TO_1970
    return total * 86_400 + hour * 3_600 + minute * 60 + second


@kernel
def split_wrapped_lines(
    text: Any, begin: int, end: int, lead: Any, zone: Any, times: Any, payloads: Any, ends: Any, row: int
) -> tuple[int, int]:
    """
    Take lines apart until one is not of that form.

    Args:
        text: uint8; lines from `begin` to `end`, where the last one ends in a newline.
        begin: See there.
        end: See there.
        lead: uint8: what a line begins with, up to its time.
        zone: uint8: what stands between the digits of a time, which is UTC, and the object.
        times: int64: where times go, ns.
        payloads: uint8: where payloads go, one after the other.
        ends: int64: where each of them ends; `ends[0]` is 0, and payload `row` ends at `ends[row + 1]`.
        row: Lines that are there already.

    Returns:
        Where the first line begins that was not taken, and how many lines there are now.
    """
    at = begin
    while at < end:
        if not starts_with(text, at, end, lead):
            return at, row
        place = at + len(lead)
        second = _read_second(text, place, end)
        if second < 0:
            return at, row
        place += 19
        fraction, digits = np.int64(0), 0
        if place < end and text[place] == _POINT:
            place += 1
            while place < end:
                digit = np.int64(text[place]) - _ZERO
                if digit < 0 or digit > 9:
                    break
                if digits < _FRACTION:
                    fraction = fraction * 10 + digit
                digits += 1
                place += 1
            if digits == 0:
                return at, row
            for _ in range(digits, _FRACTION):
                fraction *= 10
        if not starts_with(text, place, end, zone):
            return at, row
        place += len(zone)
        stop = skip_object(text, place, end)
        if stop < 0 or stop + 1 >= end or text[stop] != _END or text[stop + 1] != _NEWLINE:
            return at, row
        start = ends[row]
        copy_bytes(payloads, start, text, place, stop - place)
        ends[row + 1] = start + stop - place
        times[row] = second * _NS + fraction
        row += 1
        at = stop + 2
    return at, row


def compile_wrapped_lines() -> None:
    """Compile, or load, what splits such lines."""
    text = np.frombuffer(b"", np.uint8)
    split_wrapped_lines(text, 0, 0, text, text, np.zeros(1, np.int64), np.empty(1, np.uint8), np.zeros(2, np.int64), 0)
