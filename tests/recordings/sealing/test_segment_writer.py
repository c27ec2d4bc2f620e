"""Sealing in bounded memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from recordings.format.messages_to_rows import BATCH_MESSAGES, TableBuilders
from recordings.sealing.raw_writer import RawFile
from recordings.sealing.segment_writer import SegmentWriter
from tests.tapes import TS, diff, quote
from toolkit.frames import WS_IN, Frame


def files(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("*/*.parquet")}


def test_what_is_held_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a segment of any size and any number of symbols: some messages, and the rows of a stretch."""
    monkeypatch.setattr("recordings.format.row_order.STRETCH_ROWS", 2_000)
    monkeypatch.setattr("recordings.format.messages_to_rows.BATCH_MESSAGES", 64)
    builders = TableBuilders(tmp_path)
    for seq in range(1500):
        builders.add(diff([(10.0, 1.0)] * 20, [], symbol=f"S{seq % 50}", capture_seq=seq))
        assert len(builders._pending["book"]) < 64
        assert builders._files["book"]._rows < 2_000 + 64 * 20 if builders._files else seq < 64
    assert (tmp_path / "book" / ".000000.parquet.tmp").stat().st_size > 0
    builders.close()
    builders.close()
    assert list((tmp_path / "book").iterdir()) == []


def test_deep_books_become_columns_sooner(tmp_path: Path) -> None:
    """A thousand books of ten thousand levels would take gigabytes as messages."""
    builders = TableBuilders(tmp_path)
    for seq in range(3):
        builders.add(diff([(10.0, 1.0)] * 50_000, [], capture_seq=seq))
    assert builders._pending["book"] == []
    builders.close()


def test_a_segment_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    from recordings.format.manifest import SourceInfo
    from recordings.states.normalizer import Normalizer

    handles = len(list(Path("/proc/self/fd").iterdir()))
    normalizer = Normalizer.for_sources([SourceInfo("hyperliquid", 1, ("BTC-USD",))])
    writer = SegmentWriter(tmp_path, 0, normalizer)
    for seq in range(10):
        payload = (
            b'{"channel":"trades","data":[{"coin":"BTC","side":"B","px":"1","sz":"1","time":%d,"tid":%d,"hash":"0x0"}]}'
        ) % (TS // 1_000_000, seq)
        writer.add(Frame(seq, TS + seq, seq, "hyperliquid", 0, 0, WS_IN, payload))
    writer.abort()
    assert len(list(Path("/proc/self/fd").iterdir())) == handles
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_room_for_a_table_is_an_error_of_the_disk_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor of the tables whose turn it was not yet; and sealing is tried again later."""
    monkeypatch.setattr("recordings.format.row_order.STRETCH_ROWS", 4)
    builders = TableBuilders(tmp_path)
    for seq in range(BATCH_MESSAGES + 1):
        builders.add(quote((1.0, 1.0), None, capture_seq=seq))
        builders.add(diff([(10.0, 1.0)], [], capture_seq=seq, sub_seq=1))
    assert {path.name for path in tmp_path.glob("*/*")} == {".000000.parquet.tmp"}

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recordings.format.table_writer.file_hash", full)
    with pytest.raises(OSError, match="No space left"):
        builders.write()
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_raw_frames_of_any_length_are_held_by_the_megabyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """A row group ends at so many payload bytes, wherever batches were cut."""
    import pyarrow.parquet as pq

    from recordings.format.frames_to_rows import frames_to_batch

    monkeypatch.setattr("recordings.sealing.raw_writer.RAW_ROW_GROUP_BYTES", 1000)
    monkeypatch.setattr("recordings.sealing.raw_writer.RAW_ROW_GROUP_ROWS", 16)
    rng = random.Random(1)
    frames = [
        Frame(seq, TS, seq, "v", 0, 0, WS_IN, (b"\xff" if seq % 9 == 0 else b"x") * rng.choice([0, 3, 60, 500]))
        for seq in range(300)
    ]
    one_by_one = RawFile(tmp_path / "a", 0)
    (tmp_path / "a").mkdir()
    for frame in frames:
        one_by_one.add(frame)
    one_by_one.finish()
    (tmp_path / "b").mkdir()
    by_batch = RawFile(tmp_path / "b", 0)
    for start in range(0, len(frames), cut):
        by_batch.add_batch(frames_to_batch(frames[start : start + cut]))
    file = by_batch.finish()
    assert files(tmp_path / "a") == files(tmp_path / "b")
    metadata = pq.read_metadata(tmp_path / "b" / file.path)
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sum(rows) == len(frames)
    assert max(rows) <= 16
    place = 0
    for count in rows[:-1]:
        sizes = [len(frame.payload) for frame in frames[place : place + count]]
        assert count == 16 or sum(sizes) >= 1000 > sum(sizes[:-1])
        place += count


@pytest.mark.slow
def test_a_process_that_seals_many_pairs_stays_below_its_bound(tmp_path: Path) -> None:
    """Two hundred books of forty levels: the messages alone took over a gigabyte."""
    import json
    import subprocess
    import sys

    from recordings.format.manifest import Manifest, SourceInfo, write_manifest
    from recordings.journal.journal_reader import JournalWriter

    pairs = [f"C{number}" for number in range(200)]
    sources = [SourceInfo("hyperliquid", 1, tuple(f"{name}-USD" for name in pairs))]
    write_manifest(tmp_path, Manifest(created_ns=TS, sources=sources))
    rng = random.Random(1)

    def levels(sign: int) -> list[dict[str, object]]:
        return [{"px": str(1000 + sign * (n + 1)), "sz": f"{rng.random():.3f}", "n": n + 1} for n in range(20)]

    writer = JournalWriter(tmp_path, 0)
    for seq in range(40_000):
        data = {"coin": pairs[seq % 200], "time": TS // 1_000_000 + seq, "levels": [levels(-1), levels(1)]}
        payload = json.dumps({"channel": "l2Book", "data": data}).encode()
        writer.append(Frame(seq, TS + seq * 1_000_000, seq, "hyperliquid", 0, 0, WS_IN, payload))
        if seq % 1000 == 0:
            writer.drain()
    writer.close()
    # Not `ru_maxrss`, which a process has from the one that started it.
    program = "import sys; from pathlib import Path; from recordings.sealing.journal_sealing import Sealer\n"
    program += "Sealer(Path(sys.argv[1])).seal(0); print(Path('/proc/self/status').read_text())"
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    # Some 450 MiB on a quiet machine; where threads wait for a processor, allocators keep more for a while.
    assert int(done.stdout.partition("VmHWM:")[2].split()[0]) < 640 * 1024
    assert {path.parent.name for path in tmp_path.glob("*/*.parquet")} == {"raw", "book", "top"}
