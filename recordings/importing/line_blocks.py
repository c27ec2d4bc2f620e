"""
Capture files of lines `<integer time> <payload>`, block by block, for compiled code.

The lines, their times and what counts as damaged are those of `CaptureFile`, which reads every line that is not plain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recordings.format.schema import RAW_TABLE, TABLES
from recordings.importing.array_lines import split_by_arrays
from recordings.importing.capture_files import BACK_NS, EMPTY_LINES, TIME_UNITS, CaptureFile, LineOrder, plausible_times
from toolkit.frames import DAMAGED, WS_IN

__all__ = ["LineBlock", "blocks_of", "merged_blocks", "raw_batch"]

#: Decompressed bytes that become one block, and the lines that a merged one has at least; of most captures one block
#: has as many, so that payloads need not be copied once more.
BLOCK_BYTES: Final = 2 << 20
BLOCK_LINES: Final = 8192
#: Bytes from which on a merged block is complete, however few lines: Arrow counts those of a column in 31 bits.
BATCH_BYTES: Final = 64 << 20
_NEWLINE: Final = 10
#: Bytes of two payloads that are compared before the whole of them is.
_SAMPLES: Final = 16


@dataclass(frozen=True, slots=True)
class LineBlock:
    """
    Consecutive lines of one file, as arrays.

    Attributes:
        ts_recv: ns; of a damaged line, that of the line before.
        merge_time: The highest `ts_recv` of the file so far, ns, by which files are merged.
        is_damaged: Whether a line could not be read; its payload is the whole line then.
        ends: Where each payload ends in `data`; the first element is where the first one begins.
        data: Payloads, one after the other (uint8).
    """

    ts_recv: npt.NDArray[np.int64]
    merge_time: npt.NDArray[np.int64]
    is_damaged: npt.NDArray[np.bool_]
    ends: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ts_recv)

    def payload(self, row: int) -> bytes:
        """One payload."""
        return self.data[int(self.ends[row]) : int(self.ends[row + 1])].tobytes()

    def part(self, begin: int, end: int) -> LineBlock:
        """Some of its lines."""
        return LineBlock(
            self.ts_recv[begin:end],
            self.merge_time[begin:end],
            self.is_damaged[begin:end],
            self.ends[begin : end + 1],
            self.data,
        )


class _Gathering:
    """Lines of one block on their way into arrays."""

    def __init__(self, array: npt.NDArray[np.uint8]) -> None:
        # Several times as fast as `count` of the bytes.
        lines = int(np.count_nonzero(array == _NEWLINE)) + 1
        self.times = np.zeros(lines, np.int64)
        self.is_damaged = np.zeros(lines, np.bool_)
        self.ends = np.zeros(lines + 1, np.int64)
        self.data = np.empty(len(array), np.uint8)
        self.count = 0

    def add(self, ts_recv: int, payload: bytes, *, is_damaged: bool) -> None:
        """One line that was read otherwise."""
        row, start = self.count, int(self.ends[self.count])
        self.data[start : start + len(payload)] = np.frombuffer(payload, np.uint8)
        self.times[row], self.is_damaged[row], self.ends[row + 1] = ts_recv, is_damaged, start + len(payload)
        self.count = row + 1

    def block(self, highest: int) -> LineBlock:
        """The lines so far; `highest` is the highest time before them."""
        times = self.times[: self.count]
        return LineBlock(
            times,
            np.maximum(np.maximum.accumulate(times), highest),
            self.is_damaged[: self.count],
            self.ends[: self.count + 1],
            self.data,
        )


class _Wrapped:
    """
    Splits lines `{"time":"...",...,"raw":{...}}` by compiled code, if a file has such.

    Attributes:
        is_told: Whether a line has told how they look.
    """

    #: What a line begins with; before its object, but for the time, what ends that and numbers of other names may stand.
    _LINE: Final = re.compile(
        rb'(\{"(?:time|ts)":")[-0-9T:.]+((?:Z|\+00:00)?"(?:,"(?!time"|ts"|raw"|payload")\w+":(?:0|[1-9][0-9]{0,17}))*,"(?:raw|payload)":)\{'
    )
    _NAMES: Final = {"archive": (b"time", b"raw"), "jsonl": (b"ts", b"payload")}

    def __init__(self, file: CaptureFile) -> None:
        self._names = self._NAMES.get(file.line_format)
        self._split: Callable[..., tuple[int, int]] | None = None
        self._lead = self._zone = np.zeros(0, np.uint8)
        self.is_told = False

    def begin(self) -> None:
        """Compiled code may be used."""
        if self._names is not None:
            from toolkit.kernels.wrapped_lines import split_wrapped_lines  # loads the compiler

            self._split = split_wrapped_lines

    def note(self, line: bytes) -> None:
        """A line that was read otherwise: those after it may look like it."""
        found = self._LINE.match(line) if self._split is not None else None
        if found is None or self._names is None:
            return
        time, payload = self._names
        if found[1] == b'{"%s":"' % time and found[2].endswith(b',"%s":' % payload):
            self._lead, self._zone = np.frombuffer(found[1], np.uint8), np.frombuffer(found[2], np.uint8)
            self.is_told = True

    def split(self, text: npt.NDArray[np.uint8], at: int, end: int, gathering: _Gathering) -> int:
        """Take lines into the block that look like the one that told, until one does not; where that begins."""
        if self._split is not None:
            at, gathering.count = self._split(
                text, at, end, self._lead, self._zone, gathering.times, gathering.data, gathering.ends, gathering.count
            )
        return at


def blocks_of(file: CaptureFile, is_compiled: Callable[[], bool] = lambda: True) -> Iterator[LineBlock]:
    """
    The lines of a file of that form; its attributes are complete when the iteration is.

    `is_compiled` says at the beginning of each block whether compiled code may be used, and then goes on saying so.
    """
    split = split_by_arrays
    wrapped = _Wrapped(file)
    read = file.reader()
    # Lines before the first one that can be read get its time.
    last = highest = file.first_time or 0
    is_told = False
    for text, is_piece in file.texts(BLOCK_BYTES):
        if split is split_by_arrays and is_compiled():
            from toolkit.kernels.lines import split_lines as split  # loads the compiler

            wrapped.begin()
        array = np.frombuffer(text, np.uint8)
        gathering = _Gathering(array)
        lines_before = file.line_count
        at, end = 0, len(text)
        if is_piece:
            file.line_count += 1
            file.damaged_count += 1
            gathering.add(last, text, is_damaged=True)
            at = end
        while at < end:
            if wrapped.is_told:
                before = gathering.count
                at = wrapped.split(array, at, end, gathering)
            elif is_told:
                unit_ns = TIME_UNITS[file.time_unit]
                earliest, latest = plausible_times(unit_ns)
                before = gathering.count
                at, gathering.count = split(
                    array, at, end, unit_ns, earliest, latest, gathering.times, gathering.data, gathering.ends, before
                )
            if (is_told or wrapped.is_told) and gathering.count > before:
                last = int(gathering.times[gathering.count - 1])
                file.line_count += gathering.count - before
            if at >= end:
                break
            stop = text.index(b"\n", at)
            line = text[at:stop]
            at = stop + 1
            if not line.strip():
                at = EMPTY_LINES.match(text, at).end()  # type: ignore[union-attr]  # it matches everywhere
                continue
            file.line_count += 1
            entry = read(line)
            wrapped.note(line)
            is_told = file.line_format == "collector" and file.time_unit in TIME_UNITS
            if entry.ts_recv is None:
                file.damaged_count += 1
            else:
                last = entry.ts_recv
            gathering.add(last, entry.payload, is_damaged=entry.is_damaged)
        if gathering.count and last:
            block = gathering.block(highest)
            highest = int(block.merge_time[-1])
            _note_order(file.order, block, lines_before)
            yield block


def _note_order(order: LineOrder, block: LineBlock, lines_before: int) -> None:
    """What reading line by line notes of the order of lines."""
    _note_steps(order, block)
    if order.first is not None and np.array_equal(block.ts_recv, block.merge_time):
        order.highest = int(block.merge_time[-1])
        return
    sound = np.flatnonzero(~block.is_damaged)
    if not len(sound):
        return
    if order.first is None:
        order.first = int(block.ts_recv[sound[0]]), block.payload(int(sound[0]))
    behind = sound[block.ts_recv[sound] < block.merge_time[sound]]
    if len(behind):
        far = behind[block.merge_time[behind] - block.ts_recv[behind] >= BACK_NS]
        again = behind[block.ts_recv[behind] == order.first[0]]
        for row in sorted({*far[:1].tolist(), *(again.tolist() if not order.repeated else ())}):
            order.highest = int(block.merge_time[row])
            order.went_back(lines_before + row + 1, int(block.ts_recv[row]), block.payload(row))
    order.highest = int(block.merge_time[-1])


def _note_steps(order: LineOrder, block: LineBlock) -> None:
    """Count the lines that are later or earlier than the one before them, or the same."""
    rows = np.flatnonzero(~block.is_damaged) if block.is_damaged.any() else np.arange(len(block))
    if not len(rows):
        return
    times = block.ts_recv[rows]
    order.count += len(rows)
    if order.first is not None:
        before = order.last[0]
        order.up += int(times[0] > before)
        order.down += int(times[0] < before)
        order.doubled += int((int(times[0]), block.payload(int(rows[0]))) == order.last)
    steps = np.diff(times)
    order.up += int(np.count_nonzero(steps > 0))
    order.down += int(np.count_nonzero(steps < 0))
    still = np.flatnonzero(steps == 0)
    if len(still):
        order.doubled += sum(
            block.payload(row) == block.payload(other) for row, other in _alike(block, rows[still], rows[still + 1])
        )
    order.last = int(times[-1]), block.payload(int(rows[-1]))


def _alike(block: LineBlock, rows: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Those of the pairs of rows whose payloads have one length, and the same bytes here and there."""
    starts, lengths = block.ends[rows], block.ends[rows + 1] - block.ends[rows]
    theirs = block.ends[others]
    is_alike = lengths == block.ends[others + 1] - theirs
    for part in range(_SAMPLES):
        place = lengths * part // _SAMPLES
        last = len(block.data) - 1
        is_alike &= block.data[np.minimum(starts + place, last)] == block.data[np.minimum(theirs + place, last)]
    yield from zip(rows[is_alike].tolist(), others[is_alike].tolist(), strict=True)


def merged_blocks(
    files: Sequence[CaptureFile], is_compiled: Callable[[], bool] = lambda: True
) -> Iterator[list[tuple[int, LineBlock]]]:
    """
    Lines of several files in the order of their merge times, at equal times those of the file named first.

    Yields stretches of lines with the position of their file, some thousand lines at a time. `is_compiled` as `blocks_of`
    has it.
    """
    sources = [blocks_of(file, is_compiled) for file in files]
    heads: dict[int, tuple[LineBlock, int]] = {}
    for index, source in enumerate(sources):
        block = next(source, None)
        if block is not None:
            heads[index] = (block, 0)
    gathered: list[tuple[int, LineBlock]] = []
    lines = payload_bytes = 0
    while heads:
        index = min(heads, key=lambda one: (int(heads[one][0].merge_time[heads[one][1]]), one))
        block, begin = heads[index]
        end = len(block)
        for other, (their, start) in heads.items():
            if other != index:
                side = "right" if index < other else "left"
                end = min(end, int(np.searchsorted(block.merge_time, their.merge_time[start], side)))  # type: ignore[call-overload]
        gathered.append((index, block.part(begin, end)))
        lines += end - begin
        payload_bytes += int(block.ends[end] - block.ends[begin])
        if end < len(block):
            heads[index] = (block, end)
        else:
            following = next(sources[index], None)
            if following is None:
                del heads[index]
            else:
                heads[index] = (following, 0)
        if lines >= BLOCK_LINES or payload_bytes >= BATCH_BYTES:
            yield gathered
            gathered, lines, payload_bytes = [], 0, 0
    if gathered:
        yield gathered


def raw_batch(venue: str, first_seq: int, stretches: Sequence[tuple[int, LineBlock]]) -> pa.RecordBatch:
    """Lines as rows of the `raw` table; the position of a file is the number of the connection."""
    blocks = [block for _, block in stretches]
    count = sum(map(len, blocks))
    ts_recv = np.concatenate([block.ts_recv for block in blocks])
    conn_id = np.repeat(np.array([index for index, _ in stretches], np.int32), [len(block) for block in blocks])
    is_damaged = np.concatenate([block.is_damaged for block in blocks])
    payload, payload_bytes = _payloads(blocks)
    kind: pa.Array = pa.repeat(pa.scalar(WS_IN, pa.string()), count)
    if is_damaged.any():
        kind = pa.array(np.where(is_damaged, DAMAGED, WS_IN).tolist(), pa.string())
    arrays = [
        pa.array(np.arange(first_seq, first_seq + count)),
        pa.array(ts_recv).view(pa.timestamp("ns")),
        pa.nulls(count, pa.int64()),
        pa.repeat(pa.scalar(venue, pa.string()), count),
        pa.array(conn_id),
        pa.array(np.zeros(count, np.int32)),
        kind,
        payload,
        payload_bytes,
        pa.nulls(count, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=TABLES[RAW_TABLE])


def _payloads(blocks: Sequence[LineBlock]) -> tuple[pa.Array, pa.Array]:
    """Text, and beside it what is no UTF-8."""
    first = blocks[0].ends[0]
    if len(blocks) == 1 and first == 0:
        ends, data = blocks[0].ends, blocks[0].data
    else:
        parts = [block.data[int(block.ends[0]) : int(block.ends[-1])] for block in blocks]
        sizes = np.concatenate([np.diff(block.ends) for block in blocks])
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        data = np.concatenate(parts)
    count = len(ends) - 1
    buffers: list[Any] = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data[: int(ends[-1])])]
    binary = pa.Array.from_buffers(pa.binary(), count, buffers)
    try:
        return binary.cast(pa.string()), pa.nulls(count, pa.binary())  # the cast checks that it is UTF-8
    except pa.ArrowInvalid:
        values = binary.to_pylist()
        texts = [_text_or_none(value) for value in values]
        others = [None if text is not None else value for text, value in zip(texts, values, strict=True)]
        return pa.array(texts, pa.string()), pa.array(others, pa.binary())


def _text_or_none(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None
