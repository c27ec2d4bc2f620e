"""Lines by the block are the lines one by one."""

from __future__ import annotations

import gzip
import heapq
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings import line_blocks
from recordings.capture_files import CaptureFile
from recordings.importing import _timed
from recordings.line_blocks import merged_blocks, raw_batch
from recordings.rows import frames
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
        ]
    ),
)  # fmt: skip


def plain(paths: Sequence[Path]) -> tuple[list[Frame], list[tuple[int, int, str, str]]]:
    files = [CaptureFile(path, "collector") for path in paths]
    merged = heapq.merge(*(_timed(file, index) for index, file in enumerate(files)))
    found = [
        Frame(number, ts_recv, ts_recv, VENUE, conn_id, 0, kind, payload)
        for number, (_, conn_id, _, ts_recv, payload, kind) in enumerate(merged)
    ]
    return found, [(file.line_count, file.damaged_count, file.time_unit, file.note) for file in files]


def blocked(paths: Sequence[Path]) -> tuple[list[Frame], list[tuple[int, int, str, str]]]:
    files = [CaptureFile(path, "collector") for path in paths]
    found: list[Frame] = []
    for stretches in merged_blocks(files):
        found += frames(raw_batch(VENUE, len(found), stretches))
    return found, [(file.line_count, file.damaged_count, file.time_unit, file.note) for file in files]


@settings(max_examples=80)
@given(
    st.lists(st.lists(_lines, max_size=30), min_size=1, max_size=3),
    st.sampled_from([1, 40, 1 << 20]),
    st.sampled_from([1, 5, 8192]),
    st.booleans(),
    st.booleans(),
)
def test_blocks_are_the_lines_in_their_order(
    contents: list[list[bytes]], block_bytes: int, block_lines: int, zipped: bool, ended: bool
) -> None:
    """Whatever the lines, the size of blocks, the number of files and whether the last line is ended."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(line_blocks, "BLOCK_BYTES", block_bytes)
        patch.setattr(line_blocks, "BLOCK_LINES", block_lines)
        paths = []
        for number, lines in enumerate(contents):
            content = b"\n".join(lines) + (b"\n" if ended else b"")
            path = Path(folder, f"{number}.txt")
            path.write_bytes(gzip.compress(content) if zipped else content)
            paths.append(path)
        assert blocked(paths) == plain(paths)


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
