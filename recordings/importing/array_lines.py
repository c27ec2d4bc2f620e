"""Lines `<integer time> <payload>`, taken apart without compiled code: what `toolkit/kernels/lines.py` does, by arrays."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["split_by_arrays"]

_NEWLINE: Final = 10
_SPACE: Final = 32
_ZERO: Final = 48
_DIGITS_MAX: Final = 19
#: Bytes that are looked at together: few, since a line among them that is not plain is the last one that is taken.
_WINDOW_BYTES: Final = 1 << 16


def split_by_arrays(
    text: npt.NDArray[np.uint8],
    begin: int,
    end: int,
    unit_ns: int,
    earliest: int,
    latest: int,
    times: npt.NDArray[np.int64],
    payloads: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
    row: int,
) -> tuple[int, int]:
    """
    Take lines apart until one is not of that form, or its time has other digits than those before, or is not plausible.

    Arguments and result are those of `split_lines`, which stops later.
    """
    at = begin
    while at < end:
        stop = min(end, at + _WINDOW_BYTES)
        found = np.flatnonzero(text[at:stop] == _NEWLINE)
        if not len(found):  # a line longer than that
            stop = at + _WINDOW_BYTES + int(np.argmax(text[at + _WINDOW_BYTES : end] == _NEWLINE)) + 1
            found = np.array([stop - 1 - at])
        taken, lines = _split(text[at:stop], found, unit_ns, earliest, latest, times, payloads, ends, row)
        at, row = at + taken, row + lines
        if lines < len(found):
            break
    return at, row


def _split(
    text: npt.NDArray[np.uint8],
    line_ends: npt.NDArray[np.int64],
    unit_ns: int,
    earliest: int,
    latest: int,
    times: npt.NDArray[np.int64],
    payloads: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
    row: int,
) -> tuple[int, int]:
    """How many bytes and lines of a text were taken, whose lines end at these places."""
    digits = int(np.argmax(text[: _DIGITS_MAX + 1] == _SPACE))
    starts = np.concatenate([np.zeros(1, np.int64), line_ends[:-1] + 1])
    lengths = line_ends - starts - digits - 1
    # Of the first line that is shorter no byte is looked at.
    count = _until(lengths > 0)
    if not digits or not count:
        return 0, 0
    heads = text[starts[:count, None] + np.arange(digits + 1)]
    values = heads[:, :digits] - np.uint8(_ZERO)  # wraps around for what is below `0`
    count = _until((heads[:, digits] == _SPACE) & (values <= 9).all(axis=1))
    powers = 10 ** np.arange(digits - 1, -1, -1, dtype=np.uint64)
    stamps = (values[:count] * powers).sum(axis=1, dtype=np.uint64)
    count = _until((stamps >= np.uint64(earliest)) & (stamps < np.uint64(latest)))
    if not count:
        return 0, 0
    taken = int(line_ends[count - 1]) + 1
    is_payload = np.ones(taken, np.bool_)
    is_payload[starts[:count, None] + np.arange(digits + 1)] = False
    is_payload[line_ends[:count]] = False
    start = int(ends[row])
    ends[row + 1 : row + 1 + count] = start + np.cumsum(lengths[:count])
    payloads[start : int(ends[row + count])] = text[:taken][is_payload]
    times[row : row + count] = stamps[:count].astype(np.int64) * unit_ns
    return taken, count


def _until(are_sound: npt.NDArray[Any]) -> int:
    """How many there are before the first that is not."""
    return len(are_sound) if are_sound.all() else int(np.argmin(are_sound))
