"""Frames of captures come in one order, replies of the venue before them, one by one and by the batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.format.rows_to_messages import frames
from recordings.importing.captured_frames import CapturedFrames
from tests.tapes import TS
from toolkit.frames import REST_IN, WS_IN

LINES = (b'%d {}\nx\n%d {"a":1}\n' % (TS + 5, TS + 7), b'%d {"b":2}\n%d {"c":3}\n' % (TS + 5, TS + 6))
REPLIES = [("meta", b"{}"), ("spotMeta", b"[]")]


def captured(folder: Path, *contents: bytes, metadata: list[tuple[str, bytes]] = REPLIES) -> CapturedFrames:
    paths = [folder / f"{number}.txt" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return CapturedFrames("hyperliquid", paths, "collector", None, metadata)


@pytest.mark.parametrize("metadata", [[], REPLIES])
@pytest.mark.parametrize("contents", [LINES, LINES[:1], LINES[::-1]])
def test_batches_are_the_frames(tmp_path: Path, contents: tuple[bytes, ...], metadata: list[tuple[str, bytes]]) -> None:
    one_by_one, by_batch = (captured(tmp_path, *contents, metadata=metadata) for _ in range(2))
    alone = list(one_by_one.frames())
    assert [frame for batch in by_batch.batches(lambda: False) for frame in frames(batch)] == alone
    assert [frame.capture_seq for frame in alone] == list(range(len(alone)))
    assert one_by_one.inputs() == by_batch.inputs()


def test_files_are_merged_after_the_replies(tmp_path: Path) -> None:
    found = list(captured(tmp_path, *LINES).frames())
    assert [frame.kind for frame in found[:3]] == [REST_IN, REST_IN, WS_IN]
    assert [frame.payload for frame in found[2:]] == [b"{}", b"x", b'{"b":2}', b'{"c":3}', b'{"a":1}']


def test_a_file_that_is_another_once_more_is_told(tmp_path: Path) -> None:
    twice = captured(tmp_path, LINES[0], LINES[0])
    list(twice.frames())
    first, second = twice.inputs()
    assert not first.note
    assert "it holds the same lines as 0.txt" in second.note
    assert second.damaged_lines == 1
