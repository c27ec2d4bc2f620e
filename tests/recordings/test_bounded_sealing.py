"""Sealing in bounded memory: what does not fit waits on disk, and the files are the same."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.raw_file import RawFile
from recordings.segment import SegmentWriter
from recordings.spilling import RowStore
from recordings.tables import TableBuilders
from tests.recordings.strategies import messages
from tests.tapes import TS, diff, quote
from toolkit.frames import WS_IN, Frame
from toolkit.messages import BestQuote, BookDiff, BookSnapshot, Message, StreamEvent, Trade

BIT = 1 << 10


def files(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("*/*.parquet")}


def written(folder: Path, given_messages: Sequence[Message], memory_max: int | None) -> dict[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    builders = TableBuilders(folder, memory_max)
    for message in given_messages:
        builders.add(message)
    builders.write(folder, 0)
    assert [path.name for path in folder.iterdir() if path.is_file()] == []
    return files(folder)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(*(messages(cls) for cls in (BookSnapshot, BookDiff, BestQuote, Trade, StreamEvent))), max_size=60
    ),
    st.integers(1, 100_000),
)
def test_the_files_do_not_show_how_much_memory_there_was(
    tmp_path_factory: pytest.TempPathFactory, given_messages: list[Message], memory_max: int
) -> None:
    """Byte for byte: nothing of them depends on where rows were cut."""
    place = tmp_path_factory.mktemp("tables")
    assert written(place / "a", given_messages, memory_max) == written(place / "b", given_messages, None)


def test_many_symbols_of_several_row_groups_are_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words appear, go and come back over the groups."""
    monkeypatch.setattr("recordings.tables.ROW_GROUP_ROWS", 50)
    monkeypatch.setattr("recordings.tables.BATCH_MESSAGES", 7)
    rng = random.Random(3)
    given_messages: list[Message] = []
    for seq in range(600):
        symbol = rng.choice("ABCDE")
        if rng.random() < 0.5:
            given_messages.append(quote((1.0, 1.0), (2.0, rng.random()), symbol=symbol, capture_seq=seq))
        else:
            form = f"form-{rng.randrange(1 + seq // 40)}"
            given_messages.append(diff([(10.0, 0.5)] * rng.randrange(4), [], symbol=symbol, capture_seq=seq, form=form))
    whole = written(tmp_path / "a", given_messages, None)
    assert set(whole) == {"book", "bbo"}
    for memory_max in (100, 20_000, 100_000):
        assert written(tmp_path / str(memory_max), given_messages, memory_max) == whole


def test_what_is_held_is_bounded(tmp_path: Path) -> None:
    """Of a segment of any size; before it is written everything else is in a file without a name."""
    store = RowStore(tmp_path, 64 * BIT)
    builders = TableBuilders(tmp_path, 64 * BIT)
    builders._rows = store
    for seq in range(1500):
        builders.add(diff([(10.0, 1.0)] * 20, [], symbol=f"S{seq % 50}", capture_seq=seq))
        assert builders._weight <= 64 * BIT
        assert store._held <= 64 * BIT
    assert len(store) > 20
    assert os.fstat(store._handle).st_nlink == 0
    builders.close()
    assert store._handle == -1


def test_a_segment_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    from recordings.manifest import SourceInfo
    from recordings.normalize import Normalizer

    handles = len(list(Path("/proc/self/fd").iterdir()))
    normalizer = Normalizer.for_sources([SourceInfo("hyperliquid", 1, ("BTC-USD",))])
    writer = SegmentWriter(tmp_path, 0, normalizer, memory_max=1)
    for seq in range(10):
        payload = (
            b'{"channel":"trades","data":[{"coin":"BTC","side":"B","px":"1","sz":"1","time":%d,"tid":%d,"hash":"0x0"}]}'
        ) % (TS // 1_000_000, seq)
        writer.add(Frame(seq, TS + seq, seq, "hyperliquid", 0, 0, WS_IN, payload))
    writer.abort()
    assert len(list(Path("/proc/self/fd").iterdir())) == handles
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_room_for_what_waits_is_an_error_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And sealing is tried again later."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recordings.spilling.os.pwrite", full)
    builders = TableBuilders(tmp_path, 1)
    with pytest.raises(OSError, match="No space left"):
        builders.add(quote((1.0, 1.0), None))
    builders.close()


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_raw_frames_of_any_length_are_held_by_the_megabyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """A row group ends at so many payload bytes, wherever batches were cut."""
    import pyarrow.parquet as pq

    from recordings.frame_batches import frames_to_batch

    monkeypatch.setattr("recordings.raw_file.RAW_ROW_GROUP_BYTES", 1000)
    monkeypatch.setattr("recordings.raw_file.RAW_ROW_GROUP_ROWS", 16)
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

    from recordings.journal import JournalWriter
    from recordings.manifest import Manifest, SourceInfo, write_manifest

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
    program = "import sys, resource; from pathlib import Path; from recordings.sealing import Sealer\n"
    program += "Sealer(Path(sys.argv[1])).seal(0); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)"
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 512
    assert {path.parent.name for path in tmp_path.glob("*/*.parquet")} == {"raw", "book", "top"}
