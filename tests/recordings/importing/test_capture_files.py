"""Lines of other people's captures: times, units, damage and compression."""

from __future__ import annotations

import bz2
import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lz4.frame
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.importing import line_blocks
from recordings.importing.capture_files import CaptureFile, CaptureLine, _without_empty_lines
from recordings.importing.line_blocks import blocks_of
from tests.tapes import TS, collector_line
from toolkit.errors import ImportFailed
from toolkit.kernels import lines as line_kernels

PAYLOAD = b'{"channel":"pong"}'


def read(
    path: Path, content: bytes, line_format: str, unit: str | None = None
) -> tuple[list[CaptureLine], CaptureFile]:
    path.write_bytes(content)
    file = CaptureFile(path, line_format, unit)
    return list(file), file


def times(lines: list[CaptureLine]) -> list[int | None]:
    return [line.ts_recv for line in lines]


@pytest.mark.parametrize(("unit", "ns"), [("ns", 1), ("us", 1000), ("ms", 1_000_000)])
def test_the_unit_of_integer_times_is_told_from_the_first_line(tmp_path: Path, unit: str, ns: int) -> None:
    """Seconds are none of them: no collector writes so little."""
    lines, file = read(tmp_path / "x", collector_line(TS // ns, PAYLOAD) * 2, "collector")
    assert (times(lines), file.time_unit) == ([TS // ns * ns] * 2, unit)
    lines, file = read(tmp_path / "x", collector_line(TS // 1_000_000_000, PAYLOAD), "collector")
    assert (times(lines), file.damaged_count) == ([None], 1)


@given(st.sampled_from(["ns", "us", "ms"]), st.integers(1_230_768_000, 4_102_444_799))
def test_no_time_between_2009_and_2100_can_be_taken_for_another_unit(unit: str, seconds: int) -> None:
    factor = {"ns": 10**9, "us": 10**6, "ms": 10**3}[unit]
    plausible = [
        other
        for other, ns in (("ns", 1), ("us", 1000), ("ms", 1_000_000))
        if 1_230_768_000 * 10**9 <= seconds * factor * ns < 4_102_444_800 * 10**9
    ]
    assert plausible == [unit]


def test_a_line_of_another_unit_is_damaged(tmp_path: Path) -> None:
    content = collector_line(TS, PAYLOAD) + collector_line(TS // 1_000_000, PAYLOAD) + collector_line(TS + 1, PAYLOAD)
    lines, file = read(tmp_path / "x", content, "collector")
    assert times(lines) == [TS, None, TS + 1]
    assert (file.line_count, file.damaged_count) == (3, 1)
    assert lines[1].payload == b"%d %s" % (TS // 1_000_000, PAYLOAD)


def test_a_unit_that_is_given_is_not_told_from_the_data(tmp_path: Path) -> None:
    lines, file = read(tmp_path / "x", collector_line(TS // 1000, PAYLOAD), "collector", "ms")
    assert (times(lines), file.time_unit) == ([None], "ms")


@pytest.mark.parametrize(
    "line",
    [b"x", b"12", b"- {}", b"-5 {}", b"1.5 {}", b"{}", b"\xff\xfe", b"9" * 25 + b" {}", "١٢٣ {}".encode(), b"\x00 {}"],
)
def test_a_collectors_line_of_another_shape_is_damaged_and_kept(tmp_path: Path, line: bytes) -> None:
    content = collector_line(TS, PAYLOAD) + line + b"\n" + b"\n  \n" + collector_line(TS + 1, PAYLOAD)
    lines, file = read(tmp_path / "x", content, "collector")
    assert times(lines) == [TS, None, TS + 1]
    assert (lines[1].payload, lines[1].is_damaged, file.line_count, file.damaged_count) == (line, True, 3, 1)


def jsonl(ts: object, payload: object = None) -> bytes:
    return msgspec.json.encode({"ts": ts, "payload": {"a": 1} if payload is None else payload}) + b"\n"


@pytest.mark.parametrize(
    ("ts", "ns"),
    [
        ("2026-07-25T17:20:00.123456789Z", 1_785_000_000_123_456_789),
        ("2026-07-25 17:20:00.123456789", 1_785_000_000_123_456_789),
        ("2026-07-25T19:20:00.5+02:00", 1_785_000_000_500_000_000),
        ("2026-07-25T19:20:00+0200", 1_785_000_000_000_000_000),
        ("2026-07-25T17:20:00.1234567891234Z", 1_785_000_000_123_456_789),
        (1_785_000_000_123, 1_785_000_000_123_000_000),
        (1_785_000_000.123456, 1_785_000_000_123_456_000),
        ("2026-02-30T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59Z", None),
        ("2026-07-25T17:20:00.²Z", None),
        ("yesterday", None),
        ("", None),
        (1e300, None),
        (1_785_000_000_123.5, None),
        (-1, None),
        (10**30, None),
        (None, None),
        (True, None),
    ],
)
def test_times_of_json_lines_keep_all_their_digits_or_are_damaged(tmp_path: Path, ts: object, ns: int | None) -> None:
    """Also where the line before had another zone, or the same second."""
    before = jsonl("2026-07-25T17:20:00.000000001Z") if isinstance(ts, str) else b""
    lines, _ = read(tmp_path / "x", before + jsonl(ts), "jsonl")
    assert (lines[-1].ts_recv, lines[-1].is_damaged) == (ns, ns is None)


@given(
    st.integers(1_300_000_000, 4_000_000_000), st.text("0123456789", max_size=9), st.sampled_from(["Z", "+00:00", ""])
)
def test_every_iso_time_is_read_to_the_nanosecond(seconds: int, digits: str, zone: str) -> None:
    stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}" + (f".{digits}" if digits else "") + zone
    archive = msgspec.json.encode({"time": stamp, "ver_num": 1, "raw": {"a": 1}})
    expected = seconds * 10**9 + int(digits.ljust(9, "0"))
    from recordings.importing.capture_files import LINE_FORMATS, _Unit

    reader = LINE_FORMATS["archive"](_Unit(None))
    assert [reader(archive).ts_recv, reader(archive).ts_recv] == [expected, expected]


def test_a_payload_may_be_an_object_or_a_string_that_holds_it(tmp_path: Path) -> None:
    lines, _ = read(tmp_path / "x", jsonl(TS) + jsonl(TS, '{"é": 1}'), "jsonl")
    assert [line.payload for line in lines] == [b'{"a":1}', '{"é": 1}'.encode()]


@pytest.mark.parametrize(
    "line", [b"{", b'{"ts": 1}', b'{"payload": {}}', b'"x"', b"\xff", b'{"ts": 5, "payload": "\\ud800"}']
)
@pytest.mark.parametrize("line_format", ["jsonl", "archive"])
def test_a_json_line_of_another_shape_is_damaged(tmp_path: Path, line: bytes, line_format: str) -> None:
    lines, file = read(tmp_path / "x", line, line_format)
    assert (times(lines), file.damaged_count, lines[0].payload) == ([None], 1, line)


CONTENT = b"".join(collector_line(TS + number, b'{"n":%d}' % number) for number in range(30_000))


def zstd(content: bytes) -> bytes:
    compressed: bytes = pa.compress(content, "zstd", asbytes=True)
    return compressed


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lz4.frame.compress, zstd])
def test_compression_is_told_by_the_first_bytes(tmp_path: Path, compress: object) -> None:
    assert callable(compress)
    lines, file = read(tmp_path / "no-suffix", compress(CONTENT), "collector")
    assert (len(lines), file.damaged_count, file.note) == (30_000, 0, "")
    assert file.bytes_read == (tmp_path / "no-suffix").stat().st_size


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.99])
@pytest.mark.parametrize(("compress", "block_lines"), [(gzip.compress, 2000), (lz4.frame.compress, 2000), (zstd, 6000)])
def test_a_file_that_was_cut_gives_all_that_is_there_and_says_so(
    tmp_path: Path, compress: object, block_lines: int, keep: float
) -> None:
    """To the last whole block, not only to the last full buffer."""
    assert callable(compress)
    whole = compress(CONTENT)
    lines, file = read(tmp_path / "x", whole[: int(len(whole) * keep)], "collector")
    assert file.note.startswith("cut short or damaged after ")
    assert file.note.endswith("; what is there was imported")
    assert len(lines) > 30_000 * keep * 0.75 - block_lines
    good = [line for line in lines if not line.is_damaged]
    assert times(good) == [TS + number for number in range(len(good))]
    assert len(lines) - len(good) <= 1


def test_a_damaged_gzip_gives_what_came_before(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(CONTENT))
    middle = len(whole) // 2
    whole[middle : middle + 64] = bytes(64)
    lines, file = read(tmp_path / "x", bytes(whole), "collector")
    assert file.note
    assert len(lines) > 1000


def test_an_unknown_compression_is_lines_that_cannot_be_read(tmp_path: Path) -> None:
    _, file = read(tmp_path / "x", bz2.compress(CONTENT), "collector")
    assert file.line_count == file.damaged_count


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match=r"^.*/nothing cannot be read: No such file or directory$"):
        CaptureFile(tmp_path / "nothing", "collector")
    with pytest.raises(ImportFailed, match=r" cannot be read: Is a directory$"):
        CaptureFile(tmp_path, "collector")


# -- what files carry beside their lines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("line_format", ["collector", "jsonl", "archive"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_byte_order_mark_belongs_to_no_line(tmp_path: Path, line_format: str, compress: object) -> None:
    """Neither at the beginning, nor in the middle of files that were joined; a damaged line keeps its own."""
    assert callable(compress)
    iso = "2026-07-25T17:20:00.123456789Z"
    line = {
        "collector": collector_line(TS, b'{"a":1}'),
        "jsonl": jsonl(TS),
        "archive": msgspec.json.encode({"time": iso, "raw": {"a": 1}}) + b"\n",
    }[line_format]
    mark = b"\xef\xbb\xbf"
    lines, file = read(tmp_path / "x", compress(mark + line + line + mark + line + mark + b"x\n"), line_format)
    assert [entry.payload for entry in lines] == [*[b'{"a":1}'] * 3, mark + b"x"]
    assert (file.line_count, file.damaged_count) == (4, 1)


@pytest.mark.parametrize("line_format", ["jsonl", "archive"])
def test_a_line_that_nests_without_end_is_damaged(tmp_path: Path, line_format: str) -> None:
    key = {"jsonl": b'{"ts":%d,"payload":' % TS, "archive": b'{"time":"2026-07-25T17:20:00Z","raw":'}[line_format]
    lines, file = read(tmp_path / "x", key + b"[" * 50_000 + b"]" * 50_000 + b"}\n", line_format)
    assert (times(lines), file.damaged_count) == ([None], 1)


@pytest.mark.parametrize("first", [1_785_000_000, 1_785_000_000.25])
def test_seconds_of_json_lines_are_taken_whole_or_not(tmp_path: Path, first: float) -> None:
    """And are a unit like the others: what is in another one is damaged, and told."""
    content = jsonl(first) + jsonl(1_785_000_001) + jsonl(1_785_000_001.5) + jsonl(1_785_000_002_000)
    lines, file = read(tmp_path / "x", content, "jsonl")
    assert times(lines) == [int(first * 1000) * 10**6, 1_785_000_001 * 10**9, 1_785_000_001_500_000_000, None]
    assert file.time_unit == "s"
    assert file.note.startswith("1 lines have times in ms, the first of them line 4, where the lines before have s")
    lines, file = read(tmp_path / "x", jsonl(first) + jsonl(1_785_000_000_123), "jsonl", "ms")
    assert times(lines) == [None, 1_785_000_000_123_000_000]
    assert "where --time-unit says ms" in file.note


@pytest.mark.parametrize(
    ("content", "unit", "message"),
    [
        (collector_line(TS, PAYLOAD), "us", "the time of line 1 is in ns, and --time-unit says us: say --time-unit ns"),
        (b"x\n" + collector_line(TS // 1000, PAYLOAD), "ns", "the time of line 2 is in us, and --time-unit says ns"),
        (
            collector_line(TS // 10**9, PAYLOAD),
            None,
            "none of its 1 lines can be read: the time of line 1 is in s; expected",
        ),
    ],
)
def test_a_unit_that_is_not_that_of_the_file_is_named(
    tmp_path: Path, content: bytes, unit: str | None, message: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ImportFailed) as caught:
        CaptureFile(tmp_path / "x", "collector", unit).check()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8b\x08\0" + bytes(40), gzip.compress(CONTENT, mtime=0)[:12], zstd(CONTENT)[:300]],
    ids=["zeros", "gzip", "zstd"],
)
def test_a_file_that_is_damaged_from_the_start_does_not_claim_that_anything_was_imported(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ImportFailed, match=r"it has no lines \(cut short or damaged after 0 lines: ") as caught:
        CaptureFile(tmp_path / "x", "collector").check()
    assert "was imported" not in str(caught.value)


def test_empty_lines_cost_next_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many: they are taken out a text at a time, not line by line."""
    (tmp_path / "x").write_bytes(collector_line(TS, PAYLOAD) + b"\n" * 3_000_000 + b"\r\n" * 3_000_000)
    split = 0
    real = line_kernels.split_lines

    def counted(*arguments: Any) -> Any:
        nonlocal split
        split += 1
        return real(*arguments)

    monkeypatch.setattr(line_kernels, "split_lines", counted)
    assert sum(len(block) for block in blocks_of(CaptureFile(tmp_path / "x", "collector"))) == 1
    assert split < 200
    content = (tmp_path / "x").read_bytes()
    assert len(_without_empty_lines(content)) < len(collector_line(TS, PAYLOAD)) + 10
    assert len(list(CaptureFile(tmp_path / "x", "collector"))) == 1


def _lines(count: int, step_ns: int = 1_000_000_000) -> list[bytes]:
    return [b'%d {"n":%d}' % (1_700_000_000_000_000_000 + number * step_ns, number) for number in range(count)]


def _hints(tmp_path: Path, lines: list[bytes]) -> str:
    """The note of a file with these lines: the same read line by line and in blocks of any size."""
    path = tmp_path / "capture"
    path.write_bytes(b"\n".join(lines) + b"\n")
    file = CaptureFile(path, "collector")
    for _ in file:
        pass
    for size in (1, 300, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(line_blocks, "BLOCK_BYTES", size)
            by_block = CaptureFile(path, "collector")
            for _ in blocks_of(by_block):
                pass
        assert by_block.note == file.note
        assert vars(by_block.order) == vars(file.order)
    return file.note


@pytest.mark.parametrize("step_ns", [1_000, 100_000_000, 60_000_000_000])
def test_a_file_in_reverse_order_is_named(tmp_path: Path, step_ns: int) -> None:
    """However long it is, and whatever lies between its lines."""
    lines = _lines(50, step_ns)
    assert _hints(tmp_path, lines) == ""
    assert "49 lines are earlier than the line before them, and 0 later" in _hints(tmp_path, lines[::-1])
    mostly = lines[::-1]
    mostly[10:14] = mostly[10:14][::-1]
    mostly[20] = b"junk"
    assert "reverse order" in _hints(tmp_path, mostly)


@pytest.mark.parametrize("step_ns", [0, 1_000, 60_000_000_000])
def test_a_file_with_each_line_twice_is_named(tmp_path: Path, step_ns: int) -> None:
    """Or three times; equal times alone, or a line here and there, say nothing."""
    lines = _lines(40, step_ns)
    assert "40 lines are the line before them again" in _hints(tmp_path, [line for line in lines for _ in range(2)])
    assert "80 lines are the line before them again" in _hints(tmp_path, [line for line in lines for _ in range(3)])
    assert _hints(tmp_path, [*lines[:20], lines[19], lines[19], *lines[20:]]) == ""


def test_an_order_that_is_off_by_a_little_is_no_hint(tmp_path: Path) -> None:
    """Some swapped lines, and a file of two lines, are not a file in reverse."""
    lines = _lines(40)
    lines[3:5], lines[30:33] = lines[3:5][::-1], lines[30:33][::-1]
    assert _hints(tmp_path, lines) == ""
    assert _hints(tmp_path, _lines(2)[::-1]) == ""
