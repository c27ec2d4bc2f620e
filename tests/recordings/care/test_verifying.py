"""What `verify` finds: any difference between a recording and what it says of itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from recordings.care.compacting import compact
from recordings.care.verifying import verify
from recordings.format.manifest import Manifest, read_manifest, write_manifest
from recordings.storage.atomic_files import file_hash
from tests.hand_recorder import HandRecorder
from tests.tapes import TS, bbo_frame, collector_line, import_files, mixed_tape
from toolkit.errors import NotARecording
from toolkit.messages import StreamEvent


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recordings.states.seek_points.PAYLOAD_PER_BYTE", 0)
        return mixed_tape(tmp_path_factory.mktemp("sound") / "tape").path


@pytest.fixture
def tape(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "tape"))


def change(folder: Path, edit: Callable[[Manifest], None]) -> None:
    manifest = read_manifest(folder)
    edit(manifest)
    write_manifest(folder, manifest)


def segment(place: int, **fields: object) -> Callable[[Manifest], None]:
    def edit(manifest: Manifest) -> None:
        manifest.segments[place] = msgspec.structs.replace(manifest.segments[place], **fields)

    return edit


def test_a_sound_recording_has_one_digest_three_times(sound: Path) -> None:
    done: list[int] = []
    result = verify(sound, done.append)
    assert result.is_sound
    assert (result.problems, result.notes) == ([], [])
    assert result.recorded_digest == result.raw_digest == result.normalized_digest != ""
    assert (result.live_digest, result.frame_count) == (None, 240)
    assert sum(done) == result.frame_count + result.message_count


@pytest.mark.parametrize("table", ["raw", "book", "bbo", "trades", "funding", "events", "top", "checkpoints"])
def test_one_changed_byte_of_any_file_is_found(tape: Path, table: str) -> None:
    """By its hash; and nothing is played from a file that is not sound. States are none that anything is played from."""
    path = sorted((tape / table).iterdir())[-1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    result = verify(tape)
    name = path.relative_to(tape).as_posix()
    assert result.problems == [f"{name} is not the file that was sealed: its BLAKE2b hash differs"]
    assert (result.raw_digest is None) is (table == "raw")
    assert (result.normalized_digest is None) is (table not in ("raw", "checkpoints"))


def test_missing_and_shorter_files_are_found(tape: Path) -> None:
    (tape / "bbo" / "000001.parquet").unlink()
    path = tape / "raw" / "000000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    size = path.stat().st_size
    assert verify(tape).problems == [
        f"raw/000000.parquet has {size:,} bytes, expected {size + 1:,}",
        "bbo/000001.parquet is missing",
    ]


def test_a_row_that_was_changed_with_its_hash_is_found_by_the_digest(tape: Path) -> None:
    """Whoever rewrites a price, and even the manifest, still has to explain the raw frames."""
    path = tape / "bbo" / "000002.parquet"
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    index = groups[0].schema.get_field_index("bid_price")
    changed = groups[0].column("bid_price").to_pylist()
    groups[0] = groups[0].set_column(index, "bid_price", [[changed[0] + 1, *changed[1:]]])
    with pq.ParquetWriter(path, file.schema_arrow, store_schema=False) as writer:
        for group in groups:
            writer.write_table(group)

    def edit(manifest: Manifest) -> None:
        tables = manifest.segments[2].tables
        tables["bbo"] = msgspec.structs.replace(tables["bbo"], bytes=path.stat().st_size, blake2b=file_hash(path))

    change(tape, edit)
    result = verify(tape)
    assert [problem.partition(" give")[0] for problem in result.problems] == ["the normalized rows of segment 2"]
    assert result.raw_digest == result.recorded_digest != result.normalized_digest


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (segment(1, number=5), "the manifest lists segment 5, expected 1"),
        (segment(1, capture_seq_first=91), "segment 1 begins with frame 91, expected 90"),
        (segment(1, capture_seq_last=178), "segment 2 begins with frame 180, expected 179"),
        (segment(1, digest_start="00"), "segment 1 does not continue the digest of segment 0"),
        (segment(2, digest="00" * 16), "the manifest's digest is not that of its last segment"),
        (segment(0, message_count=5), "messages in its tables, expected 5"),
        (lambda manifest: manifest.segments.pop(1), "segment 1 begins with frame 180, expected 90"),
        (lambda manifest: setattr(manifest, "live_digest", "ab"), "the live session computed the digest ab, sealing "),
    ],
)
def test_a_manifest_that_contradicts_itself_or_the_files_is_found(
    tape: Path, edit: Callable[[Manifest], None], problem: str
) -> None:
    change(tape, edit)
    problems = verify(tape).problems
    assert any(problem in each for each in problems), problems


def test_what_cannot_be_compared_is_noted_and_no_fault(tape: Path) -> None:
    def edit(manifest: Manifest) -> None:
        manifest.sources[0] = msgspec.structs.replace(manifest.sources[0], protocol_version=999)
        manifest.status = "running"

    change(tape, edit)
    result = verify(tape)
    assert result.is_sound
    assert [note.partition(":")[0] for note in result.notes] == [
        "no frame is waiting to be sealed; its recorder has died",
        f"recorded with protocol hyperliquid 999 (now {_now(tape)})",
    ]


def _now(tape: Path) -> int:
    from recordings.states.normalizer import protocol_for

    return protocol_for(read_manifest(tape).sources[0]).version


def test_a_folder_that_is_no_recording_raises(tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        verify(tmp_path)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (segment(1, ts_recv_first=1), "the manifest says ts_recv_first 1 of segment 1, its frames 17"),
        (segment(2, ts_recv_last=2**62), "the manifest says ts_recv_last 4611686018427387904 of segment 2, its frames"),
        (segment(1, frame_count=91), "the manifest says 91 frames of segment 1, its numbers 90"),
        (segment(0, imprecise_values=7), "the manifest says imprecise_values 7 of segment 0, its frames 0"),
        (
            lambda manifest: manifest.segments[0].counts.update(trades=7),
            "the manifest says trades 7 of segment 0, its rows",
        ),
        (lambda manifest: manifest.segments[0].counts.update(event_gap=3), "says event_gap 3 of segment 0, its rows 0"),
        (lambda manifest: manifest.segments[0].counts.pop("book_snapshots"), "says book_snapshots 0 of segment 0, its"),
        (lambda manifest: manifest.segments[0].counts.pop("tops"), "the manifest says tops 0 of segment 0, its rows"),
        (
            lambda manifest: manifest.symbols.update({"hyperliquid/BTC": "BTC-EUR"}),
            "that 'hyperliquid/BTC' is 'BTC-EUR'",
        ),
        (lambda manifest: manifest.symbols.pop("hyperliquid/BTC"), "that 'hyperliquid/BTC' is None, the rows say 'BTC"),
        (lambda manifest: manifest.symbols.update(x="y"), "the manifest says that 'x' is 'y', the rows say none"),
        (lambda manifest: setattr(manifest, "created_ns", 5), "the manifest says created_ns 5, its first frame"),
        (segment(0, digest_start="11" * 16), "segment 0 does not begin with the empty digest"),
        (lambda manifest: setattr(manifest, "origin", "live"), "the manifest names no resume file"),
    ],
)
def test_what_the_manifest_says_of_frames_and_rows_is_computed_again(
    tape: Path, edit: Callable[[Manifest], None], problem: str
) -> None:
    """Whoever writes another number has the checksum agree with it, too."""
    change(tape, edit)
    problems = verify(tape).problems
    assert any(problem in each for each in problems), problems


def test_a_number_of_rows_that_is_not_so_is_found(tape: Path) -> None:
    def edit(manifest: Manifest) -> None:
        for table in ("raw", "bbo", "top"):
            file = manifest.segments[0].tables[table]
            manifest.segments[0].tables[table] = msgspec.structs.replace(file, rows=file.rows + 1)

    change(tape, edit)
    found = verify(tape).problems
    assert [problem.partition(" rows of ")[2].partition(",")[0] for problem in found] == [
        "raw/000000.parquet",
        "bbo/000000.parquet",
        "top/000000.parquet",
    ]


def test_batches_that_are_not_sealed_yet_are_checked_too(tmp_path: Path) -> None:
    """By their checksums; what is torn at the end is not damage: it may be on its way to the disk."""
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(3):
        recorder.write(4)
    recorder.journal.close()
    path = recorder.journal.path
    assert verify(tmp_path / "tape").problems == []
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    result = verify(tmp_path / "tape")
    assert result.problems == []
    assert any("that are no whole batch" in note for note in result.notes)
    place = whole.index(b'"channel"')
    path.write_bytes(whole[:place] + b"X" + whole[place + 1 :])
    (problem,) = verify(tmp_path / "tape").problems
    assert problem.startswith("journal/000000.arrows cannot be read from byte ")


def test_events_that_make_a_book_stale_are_counted(tmp_path: Path) -> None:
    """As the rows count them."""
    recording = mixed_tape(tmp_path / "tape")
    events = [m for batch in recording.messages(tables=["events"]) for m in batch if isinstance(m, StreamEvent)]
    for kind in {event.kind for event in events}:
        assert recording.manifest.counts[f"event_{kind}"] == sum(event.kind is kind for event in events)


def test_an_import_whose_times_go_back_is_sound_also_when_it_is_compacted(tmp_path: Path) -> None:
    """Its first frame is not its earliest then, and its segments overlap in time."""
    lines = [
        collector_line(TS + (number * 7919) % 200 * 1000, bbo_frame("BTC", TS // 10**6, (1.0, 1.0), None))
        for number in range(90)
    ]
    folder = import_files(tmp_path / "tape", b"".join(lines), segment_frames=30).path
    assert verify(folder).problems == []
    compact(folder)
    assert len(read_manifest(folder).segments) == 1
    assert verify(folder).problems == []
