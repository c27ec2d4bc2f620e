"""The manifest: written whole, read with care. What is said of a damaged one is in `test_recording.py`."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import msgspec
import pytest

from recordings.format.manifest import (
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
from recordings.format.schema import FORMAT_VERSION
from tests.manifests import change_fields, sealed, without_checksum
from toolkit.errors import NotARecording, RecordingDamaged

REQUIRED = (
    "format",
    "format_version",
    "status",
    "origin",
    "created_ns",
    "sources",
    "symbols",
    "segments",
    "digest_version",
    "digest",
)
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
    change_fields(tmp_path, new={"a": [1]})
    assert read_manifest(tmp_path) == FULL


def test_a_bit_of_any_byte_of_a_manifest_counts(tmp_path: Path) -> None:
    """Also those of white space, of keys that are not read, and of the checksum itself."""
    write_manifest(tmp_path, FULL)
    path = tmp_path / MANIFEST_NAME
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(
            RecordingDamaged, match=r"^[^\n]* is damaged \([^\n]*\): expected the manifest of a recording$"
        ):
            read_manifest(tmp_path)


def test_a_reader_without_this_code_can_check_it(tmp_path: Path) -> None:
    write_manifest(tmp_path, FULL)
    text = (tmp_path / MANIFEST_NAME).read_text(encoding="utf-8")
    checksum = json.loads(text)["checksum"]
    blank = text.replace(checksum, "0" * 64)
    assert hashlib.blake2b(blank.encode(), digest_size=32).hexdigest() == checksum


@pytest.mark.parametrize("name", [*REQUIRED, "checksum"])
def test_a_required_key_that_is_missing_is_damage(tmp_path: Path, name: str) -> None:
    """Nothing is taken for empty because its name was lost, in a manifest of version 1 neither."""
    write_manifest(tmp_path, FULL)
    path = tmp_path / MANIFEST_NAME
    content = msgspec.json.decode(path.read_bytes())
    checksum, gone = content.pop("checksum"), content.pop(name, None)
    if name == "checksum":
        path.write_bytes(msgspec.json.encode(content))
    else:
        assert gone is not None
        assert checksum
        path.write_bytes(sealed(content))
    with pytest.raises(RecordingDamaged, match=name):
        read_manifest(tmp_path)
    if name not in ("checksum", "format_version"):
        path.write_bytes(msgspec.json.encode(content | {"format_version": 1}))
        with pytest.raises(RecordingDamaged, match=name):
            read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"status": "runninf"}, "status 'runninf', expected one of running, sealed, recovered"),
        ({"origin": "live "}, "origin 'live ', expected one of live, import"),
        ({"created_ns": -1}, "created_ns is -1, expected 0 to"),
        ({"created_ns": 1 << 63}, "created_ns is 9223372036854775808, expected 0 to"),
        ({"created_ns": 10**40}, "created_ns is 10000000000"),
        ({"segments": None}, "segments"),
    ],
)
def test_what_no_manifest_can_say_is_damage(tmp_path: Path, fields: dict[str, object], problem: str) -> None:
    """Whether a checksum vouches for it or not."""
    write_manifest(tmp_path, FULL)
    change_fields(tmp_path, **fields)
    with pytest.raises(RecordingDamaged, match=problem):
        read_manifest(tmp_path)
    without_checksum(tmp_path, **fields)
    with pytest.raises(RecordingDamaged, match=problem):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b'{"format": "tickdeck-recording", "format_version": 1, "software": "\xff\xfe"}',
        b"[" * 1_000_000,
        b'{"format": "tickdeck-recording", "format_version": 1, "sources": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"format": "tickdeck-recording", "format_version": 1, "x": ' + b'{"a":' * 100_000,
        b'{"format": "tickdeck-recording", "format_version": 1e999}',
        b'{"format": "tickdeck-recording", "format_version": 1, "software": "\\ud800"}',
    ],
    ids=["no-utf8", "nested", "nested-closed", "nested-objects", "huge", "surrogate"],
)
def test_what_is_no_text_or_nests_without_end_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(RecordingDamaged) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_pipe_or_a_folder_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST_NAME)
    with pytest.raises(RecordingDamaged, match=r"it is no regular file$"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST_NAME).unlink()
    (tmp_path / MANIFEST_NAME).mkdir()
    with pytest.raises(RecordingDamaged, match="cannot be read"):
        read_manifest(tmp_path)
    with pytest.raises(NotARecording, match="NUL"):
        read_manifest(Path("tapes/\0"))
    with pytest.raises(RecordingDamaged, match="cannot be read: File name too long"):
        read_manifest(Path("x" * 5000))


@pytest.mark.parametrize("name", ["raw/\0", "raw/" + "x" * 300, "x/" * 5000, "/", "raw/../..", "loop/x"])
def test_a_path_that_is_none_is_damage(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "raw").mkdir()
    with pytest.raises(RecordingDamaged, match="expected a file inside the recording"):
        inside(tmp_path, name)


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
