"""What `verify` finds: any difference between a recording and what it says of itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from recordings.files import file_hash
from recordings.manifest import Manifest, read_manifest, write_manifest
from recordings.verifying import verify
from tests.tapes import mixed_tape
from toolkit.errors import NotARecording


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
        "it is being recorded, or its recorder died",
        f"recorded with protocol hyperliquid 999 (now {_now(tape)})",
    ]


def _now(tape: Path) -> int:
    from recordings.normalize import protocol_for

    return protocol_for(read_manifest(tape).sources[0]).version


def test_a_folder_that_is_no_recording_raises(tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        verify(tmp_path)
