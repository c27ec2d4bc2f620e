"""The state before a segment, on disk. That a restored one goes on alike is in `test_importing.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.format.manifest import SourceInfo, TableFile
from recordings.states.checkpoints import decode_checkpoint, encode_checkpoint, read_checkpoint, write_checkpoint
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import file_hash
from tests.tapes import VENUE, Feed, bbo_frame, book_frame
from toolkit.errors import RecordingDamaged


def normalizer(*frames: object) -> Normalizer:
    made = Normalizer.for_sources([SourceInfo(VENUE, 1)])
    feed = Feed(made.protocols[VENUE])
    for each in frames:
        for message in feed.text(each, conn_id=4):
            made.take(message)
    return made


BUSY = (book_frame("BTC", 5, [(10.0, 1.0)], [(11.0, 2.0)]), bbo_frame("BTC", 6, (10.5, 1.0), (11.0, 1.0)), b"{")


@pytest.mark.parametrize("frames", [(), BUSY])
def test_a_checkpoint_of_what_was_restored_is_the_same(frames: tuple[object, ...]) -> None:
    whole, restored = normalizer(*frames), normalizer()
    content = encode_checkpoint(whole)
    decode_checkpoint(content, restored)
    assert encode_checkpoint(restored) == content
    assert restored.chain.hexdigest() == whole.chain.hexdigest()
    assert restored.conn_id_max == whole.conn_id_max
    assert restored.top.last == whole.top.last


def test_the_manifest_is_told_what_was_written(tmp_path: Path) -> None:
    entry = write_checkpoint(tmp_path, 3, normalizer(*BUSY))
    path = tmp_path / entry.path
    assert (entry.path, entry.bytes, entry.blake2b) == (
        "checkpoints/000003.state",
        path.stat().st_size,
        file_hash(path),
    )


def test_a_checkpoint_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    entry = write_checkpoint(tmp_path, 1, normalizer(*BUSY))
    path = tmp_path / entry.path
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\x00" * 50):
        path.write_bytes(content)
        with pytest.raises(RecordingDamaged, match=r"is not the file that was sealed: its BLAKE2b hash differs$"):
            read_checkpoint(tmp_path, entry, normalizer())
    path.unlink()
    with pytest.raises(RecordingDamaged, match=r"000001\.state is missing$"):
        read_checkpoint(tmp_path, entry, normalizer())
    with pytest.raises(RecordingDamaged, match="expected a file inside the recording"):
        read_checkpoint(tmp_path, TableFile("../x", 0, 0, ""), normalizer())
