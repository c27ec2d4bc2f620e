"""Lines by the block are the lines one by one."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.format.rows_to_messages import frames
from recordings.importing import array_lines, capture_files, line_blocks
from recordings.importing.capture_files import CaptureFile
from recordings.importing.captured_frames import CapturedFrames
from recordings.importing.line_blocks import merged_blocks, raw_batch
from toolkit.frames import Frame

VENUE = "binance-usdm"
BASE = 1_700_000_000_000_000_000
_times = st.integers(BASE, BASE + 50) | st.sampled_from([BASE - 7, BASE + 10**9])
_lines = st.one_of(
    st.builds(lambda ts, payload: b"%d %s" % (ts, payload), _times, st.sampled_from([b"{}", b'{"a":1}', b" x", b"\xff\xfe"])),
    st.sampled_from(
        [
            b"", b" ", b"  {}", b"x {}", b"12 {}", b"%d" % BASE, b"%d " % BASE, b"99999999999999999999 {}", b"-5 {}",
            b"%d000 {}" % BASE, b"%d\t{}" % BASE, b"%d {}\r" % BASE, b"9999999999999999999 {}", b"%d 1 2" % BASE,
            b"\xef\xbb\xbf%d {}" % BASE, b"\xef\xbb\xbfx", b"\r", b"\0" * 50, b"%d %s" % (BASE, b"y" * 90),
            b"%d {}" % (BASE // 1000), b"%d {}" % (BASE // 10**6), b"%d {}" % (BASE - 60 * 10**9),
        ]
    ),
)  # fmt: skip


def plain(paths: Sequence[Path], line_format: str = "collector") -> tuple[list[Frame], list[tuple[int, int, str, str]]]:
    captured = CapturedFrames(VENUE, paths, line_format, None, [])
    found = list(captured.frames())
    return found, [(file.line_count, file.damaged_count, file.time_unit, file.note) for file in captured.files]


def blocked(
    paths: Sequence[Path], compiled_from: int = 0, line_format: str = "collector"
) -> tuple[list[Frame], list[tuple[int, int, str, str]]]:
    """By the block, and by compiled code from so many blocks on."""
    files = [CaptureFile(path, line_format) for path in paths]
    found: list[Frame] = []
    blocks = iter(range(1 << 30))
    for stretches in merged_blocks(files, lambda: next(blocks) >= compiled_from):
        found += frames(raw_batch(VENUE, len(found), stretches))
    return found, [(file.line_count, file.damaged_count, file.time_unit, file.note) for file in files]


@settings(max_examples=80)
@given(
    st.lists(st.lists(_lines, max_size=30), min_size=1, max_size=3),
    st.sampled_from([1, 40, 1 << 20]),
    st.sampled_from([1, 5, 8192]),
    st.sampled_from(["plain", "gzip", "damaged"]),
    st.booleans(),
    st.sampled_from([1, 40, 64 << 20]),
    st.sampled_from([0, 1, 3, 1 << 30]),
    st.sampled_from([30, 1 << 16]),
)
def test_blocks_are_the_lines_in_their_order(
    contents: list[list[bytes]],
    block_bytes: int,
    block_lines: int,
    kind: str,
    ended: bool,
    line_bytes_max: int,
    compiled_from: int,
    window_bytes: int,
) -> None:
    """Whatever the lines, the size of blocks, the number of files and whether the last line is ended; and the notes."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(line_blocks, "BLOCK_BYTES", block_bytes)
        patch.setattr(line_blocks, "BLOCK_LINES", block_lines)
        patch.setattr(capture_files, "LINE_BYTES_MAX", line_bytes_max)
        patch.setattr(array_lines, "_WINDOW_BYTES", window_bytes)
        paths = []
        for number, lines in enumerate(contents):
            content = b"\n".join(lines) + (b"\n" if ended else b"")
            path = Path(folder, f"{number}.txt")
            packed = bytearray(gzip.compress(content))
            if kind == "damaged":
                packed[-9 + number % 2 * 3] ^= 1
            path.write_bytes(content if kind == "plain" else packed)
            paths.append(path)
        assert blocked(paths, compiled_from) == plain(paths)


@settings(max_examples=60)
@given(
    st.sampled_from(["jsonl", "archive"]),
    st.lists(
        st.tuples(
            st.integers(0, 90_000), st.sampled_from(["", ".1", ".123456", ".123456789", ".1234567891", "."]),
            st.sampled_from(["", "", "", "Z", "+00:00", "+02:00"]),
            st.sampled_from(['{"a":1}', '{"a":[1,"b"]}', '{"a": 1}', '{"a":"\\u0041"}', '"x"', "{", "{}}", "1", '{"\xe9":1}']),
            st.sampled_from(["", "", "", " ", "\r", "x"]),
        ),
        max_size=40,
    ),
    st.sampled_from(["", ',"ver_num":1', ',"ver_num":01', ',"time":"x"', ',"raw":3']),
    st.sampled_from([200, 1 << 20]),
    st.sampled_from([0, 1, 1 << 30]),
)  # fmt: skip
def test_lines_that_wrap_a_frame_are_the_same_by_the_block(
    line_format: str,
    entries: list[tuple[int, str, str, str, str]],
    between: str,
    block_bytes: int,
    compiled_from: int,
) -> None:
    """A time in ISO 8601 of whatever digits and zone, other fields, frames that are plain or not, and damage."""
    time, payload = ("ts", "payload") if line_format == "jsonl" else ("time", "raw")
    lines = []
    for second, fraction, zone, frame, tail in entries:
        stamp = (
            f"2024-02-{28 + second // 86_400}T{second % 86_400 // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        )
        lines.append(f'{{"{time}":"{stamp}{fraction}{zone}"{between},"{payload}":{frame}}}{tail}')
    lines += [f'{{"{time}":1709164800123,"{payload}":{{"a":2}}}}', '1709164800123456789 {"a":3}'] * (len(lines) % 2)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(line_blocks, "BLOCK_BYTES", block_bytes)
        path = Path(folder, "lines")
        path.write_text("\n".join(lines), encoding="utf-8")
        assert blocked([path], compiled_from, line_format) == plain([path], line_format)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
def test_a_file_cut_short_gives_what_is_there(tmp_path: Path, kept: float) -> None:
    """The same lines, and the same words about it."""
    content = gzip.compress(b"".join(b'%d {"n":%d,"x":"%x"}\n' % (BASE + n, n, hash((n, 7))) for n in range(20_000)))
    path = tmp_path / "cut.gz"
    path.write_bytes(content[: int(len(content) * kept)])
    mine, my_facts = blocked([path])
    theirs, their_facts = plain([path])
    assert 0 < len(theirs) < 20_000
    assert mine == theirs
    assert my_facts == their_facts
    assert "cut short" in my_facts[0][3]


# -- damage ------------------------------------------------------------------------------------------------------------

LINES = [b'%d {"n":%d,"x":"%x"}\n' % (BASE + n, n, hash((n, 7)) & 0xFFFFFFFF) for n in range(30_000)]


def both_ways(path: Path) -> tuple[list[Frame], str]:
    mine, my_facts = blocked([path])
    theirs, their_facts = plain([path])
    assert mine == theirs
    assert my_facts == their_facts
    assert blocked([path], 1 << 30) == (mine, my_facts)
    return mine, my_facts[0][3]


@pytest.mark.parametrize("flipped", [-1, -4, -5, -8])
def test_a_checksum_that_does_not_hold_loses_no_line(tmp_path: Path, flipped: int) -> None:
    """Everything that can be decompressed is imported; the note says that lines may be others than they were."""
    packed = bytearray(gzip.compress(b"".join(LINES)))
    packed[flipped] ^= 1
    path = tmp_path / "altered.gz"
    path.write_bytes(packed)
    found, note = both_ways(path)
    assert len(found) == len(LINES)
    assert "a checksum does not hold" in note
    assert "altered lines may have been accepted" in note


def test_what_follows_a_checksum_that_does_not_hold_is_imported_too(tmp_path: Path) -> None:
    """Collectors that append write a member for each time they were started."""
    first = bytearray(gzip.compress(b"".join(LINES[:9000])))
    first[-7] ^= 16
    path = tmp_path / "members.gz"
    path.write_bytes(bytes(first) + b"\0" * 512 + gzip.compress(b"".join(LINES[9000:])))
    found, note = both_ways(path)
    assert len(found) == len(LINES)
    assert "a checksum does not hold" in note


@pytest.mark.parametrize("place", [0.05, 0.31, 0.5, 0.83, 0.999])
@pytest.mark.parametrize("bit", [1, 128])
def test_damage_within_a_gzip_gives_the_same_lines_both_ways(tmp_path: Path, place: float, bit: int) -> None:
    packed = bytearray(gzip.compress(b"".join(LINES)))
    packed[int(len(packed) * place)] ^= bit
    path = tmp_path / "damaged.gz"
    path.write_bytes(packed)
    found, note = both_ways(path)
    assert note
    assert "altered lines may have been accepted" in note
    assert len(found) >= len(LINES) * place * 0.9 - 2000


# -- sizes -------------------------------------------------------------------------------------------------------------


def test_a_line_that_is_too_long_is_kept_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pieces both ways; a line of the greatest length is still one, and those after it are read."""
    monkeypatch.setattr(capture_files, "LINE_BYTES_MAX", 3 << 20)
    longest = b"%d %s" % (BASE + 1, b"y" * ((3 << 20) - 20))
    junk = b"\0" * ((7 << 20) + 5)
    path = tmp_path / "long.txt"
    path.write_bytes(b"\n".join([LINES[0][:-1], longest, junk, LINES[1][:-1], junk]))
    found, note = both_ways(path)
    assert [len(frame.payload) for frame in found[2:5]] == [3 << 20, 3 << 20, (1 << 20) + 5]
    assert [frame.kind for frame in found] == ["ws_in", "ws_in", *["damaged"] * 3, "ws_in", *["damaged"] * 3]
    assert note.startswith("line 3 is longer than 3 MiB")


def test_batches_end_before_arrow_cannot_count_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By bytes where lines are long, so that 2,200 lines of a megabyte are no single column."""
    monkeypatch.setattr(line_blocks, "BATCH_BYTES", 4 << 20)
    path = tmp_path / "wide.txt"
    path.write_bytes(b"".join(b"%d %s\n" % (BASE + n, b"y" * 500_000) for n in range(60)))
    batches = [
        sum(len(block) for _, block in stretches) for stretches in merged_blocks([CaptureFile(path, "collector")])
    ]
    assert sum(batches) == 60
    assert max(batches) <= 14
    both_ways(path)


# -- hints -------------------------------------------------------------------------------------------------------------


def test_a_capture_that_stands_in_a_file_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "twice.gz"
    path.write_bytes(gzip.compress(b"".join(LINES[:9000])) * 2)
    found, note = both_ways(path)
    assert len(found) == 18_000
    assert note.startswith("line 9,001 is the first one again: the file seems to hold a capture twice")


def test_captures_that_were_joined_in_a_file_are_told(tmp_path: Path) -> None:
    later = [b"%d {}\n" % (BASE + 3600 * 10**9 + n) for n in range(5000)]
    path = tmp_path / "joined.txt"
    path.write_bytes(b"".join([*later, *LINES[:5000]]))
    _, note = both_ways(path)
    assert note.startswith("at line 5,001 the receive time goes back by 3,600.0 s")


def test_times_of_another_unit_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "mixed.txt"
    path.write_bytes(b"".join([*LINES[:100], *[b"%d {}\n" % (BASE // 1000 + n) for n in range(7)], *LINES[100:110]]))
    _, note = both_ways(path)
    assert note.startswith("7 lines have times in us, the first of them line 101, where the lines before have ns")
    assert "--time-unit" in note


def test_a_clock_that_was_corrected_gives_no_hint(tmp_path: Path) -> None:
    path = tmp_path / "stepped.txt"
    path.write_bytes(b"".join([*LINES[5000:10_000], *LINES[1:3000]]))
    assert both_ways(path)[1] == ""
