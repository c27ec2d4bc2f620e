"""The manifest: written whole, read with care. What is said of a damaged one is in `test_recording.py`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from recordings.manifest import (
    MANIFEST_NAME,
    InputFile,
    Manifest,
    Segment,
    SourceInfo,
    TableFile,
    inside,
    read_manifest,
    write_manifest,
)
from recordings.schema import FORMAT_VERSION
from toolkit.errors import RecordingDamaged

FILE = TableFile("raw/000000.parquet", 5, 1234, "ab" * 32)
FULL = Manifest(
    software="tickdeck 0.1",
    status="sealed",
    created_ns=2**62,
    sources=[SourceInfo("v", 3, ("A-B",), ("full",), ("0x1",), {"k": "v"}, "ws://x", "http://x")],
    symbols={"v/A": "A-B"},
    segments=[
        Segment(0, 5, 0, 4, 1, 2, "aa", "bb", {"raw": FILE}, {"trades": 2}, 7, 1, FILE),
        Segment(1, 5, 5, 9, 1, 2, "cc", "aa", {"raw": FILE}, {"trades": 3, "event_gap": 1}, 7),
    ],
    digest="cc",
    live_digest="cc",
    resume=FILE,
    flush_interval_s=0.25,
    inputs=[InputFile("a.gz", 10, 1, "ns", "cut")],
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    for manifest in (Manifest(), FULL):
        write_manifest(tmp_path, manifest)
        assert read_manifest(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_NAME]


def test_it_is_json_that_people_can_read(tmp_path: Path) -> None:
    write_manifest(tmp_path, FULL)
    text = (tmp_path / MANIFEST_NAME).read_text()
    assert text.startswith('{\n  "format": "tickdeck-recording",\n  "format_version": ')
    assert text.endswith("}\n")


def test_counts_are_those_of_all_segments() -> None:
    assert FULL.counts == {"event_gap": 1, "trades": 5}


def test_fields_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    """A later version of the same format may say more."""
    write_manifest(tmp_path, FULL)
    content = msgspec.json.decode((tmp_path / MANIFEST_NAME).read_bytes())
    (tmp_path / MANIFEST_NAME).write_bytes(msgspec.json.encode(content | {"new": {"a": [1]}}))
    assert read_manifest(tmp_path) == FULL


def test_a_failed_write_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(tmp_path, FULL)

    def refuse(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(tmp_path, Manifest())
    monkeypatch.undo()
    assert read_manifest(tmp_path) == FULL
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_NAME]


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_never_was_is_damage(tmp_path: Path, version: int) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(
        msgspec.json.encode({"format": "tickdeck-recording", "format_version": version})
    )
    with pytest.raises(RecordingDamaged, match=rf"format version {version}, expected 1 to {FORMAT_VERSION}$"):
        read_manifest(tmp_path)


def test_paths_inside_the_recording_are_found(tmp_path: Path) -> None:
    assert inside(tmp_path, "raw/000000.parquet") == tmp_path.resolve() / "raw" / "000000.parquet"
