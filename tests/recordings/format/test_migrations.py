"""Old recordings open: one small step per version of the format."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from recordings.care.compacting import compact
from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.format import manifest, migrations
from recordings.format.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from recordings.format.migrations import MIGRATIONS, migrated
from recordings.format.schema import FORMAT_VERSION
from recordings.journal.journal_reader import JournalWriter
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from tests.hand_recorder import frame
from tests.manifests import sealed
from toolkit.cli.commands.info import summary


def test_there_is_a_step_from_every_older_version() -> None:
    assert sorted(MIGRATIONS) == list(range(1, FORMAT_VERSION))


def test_the_present_version_is_left_as_it_is() -> None:
    assert migrated(b"anything", FORMAT_VERSION) == b"anything"


def test_steps_follow_each_other_up_to_the_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here with two versions that have yet to come."""

    def rename(text: dict[str, Any]) -> dict[str, Any]:
        return {"software" if name == "program" else name: value for name, value in text.items()}

    def mark(text: dict[str, Any]) -> dict[str, Any]:
        assert text["format_version"] == FORMAT_VERSION + 1
        return text | {"software": text["software"] + "!"}

    monkeypatch.setitem(MIGRATIONS, FORMAT_VERSION, rename)
    monkeypatch.setitem(MIGRATIONS, FORMAT_VERSION + 1, mark)
    for module in (migrations, manifest):
        monkeypatch.setattr(module, "FORMAT_VERSION", FORMAT_VERSION + 2)
    write_manifest(tmp_path, Manifest(software="tickdeck 0"))
    path = tmp_path / MANIFEST_NAME
    content = msgspec.json.decode(path.read_bytes()) | {"format_version": FORMAT_VERSION}
    path.write_bytes(sealed({"program" if name == "software" else name: value for name, value in content.items()}))
    found = read_manifest(tmp_path)
    assert (found.software, found.format_version) == ("tickdeck 0!", FORMAT_VERSION + 2)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Recordings of version 1: by a recorder driven by hand, of the embedded venue, and an import."""
    with tarfile.open(Path(__file__).parents[2] / "data" / "version_1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.mark.parametrize("name", ["live", "embedded", "import"])
def test_a_recording_of_version_1_is_read_and_marked_as_unchecked(old: Path, name: str) -> None:
    recording = Recording.open(old / name)
    assert (recording.manifest.migrated_from, recording.manifest.is_checked) == (1, False)
    result = verify(old / name)
    # States are private to the version that wrote them: books may be kept in another way since.
    assert [problem for problem in result.problems if not problem.startswith("checkpoints/")] == []
    assert "format version 1: its manifest has no checksum, so nothing vouches for what it says" in result.notes
    assert result.frame_count == sum(segment.frame_count for segment in recording.manifest.segments) > 0
    assert summary(recording)["format_version"] == 1


def test_what_continues_a_recording_of_version_1_brings_it_to_the_present(old: Path) -> None:
    before = read_manifest(old / "live")
    sealer = Sealer(old / "live")
    journal = JournalWriter(old / "live", len(before.segments))
    journal.append(frame(before.segments[-1].capture_seq_last + 1))
    journal.close()
    sealer.seal(len(before.segments))
    after = read_manifest(old / "live")
    assert (after.migrated_from, after.is_checked, after.format_version) == (msgspec.UNSET, True, FORMAT_VERSION)
    assert after.segments[:-1] == before.segments
    assert json.loads((old / "live" / MANIFEST_NAME).read_bytes())["format_version"] == FORMAT_VERSION
    assert verify(old / "live").problems == []


def test_a_rewrite_of_a_recording_of_version_1_brings_it_to_the_present(old: Path) -> None:
    compact(old / "live")
    renormalize(old / "embedded")
    for name in ("live", "embedded"):
        assert read_manifest(old / name).is_checked
        assert verify(old / name).problems == []


def test_pages_are_written_with_checksums(old: Path) -> None:
    """Every reader of Parquet may check them; those of version 1 have none."""
    folder = old / "live"
    compact(folder)
    for path in sorted(folder.glob("*/*.parquet")):
        chunk = pq.read_metadata(path).row_group(0).column(0)
        first = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
        content = bytearray(path.read_bytes())
        content[first + chunk.total_compressed_size - 1] ^= 1  # the end of its last page
        path.write_bytes(content)
        with pytest.raises(OSError, match=r"(?i)crc|checksum"):
            pq.ParquetFile(path, page_checksum_verification=True).read()
