"""Manifests that say what no recorder of today would write: of other versions, with other fields, with or without a checksum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from recordings.format.manifest import MANIFEST_NAME, TableFile, checksum_of, read_manifest, write_manifest
from recordings.storage.atomic_files import file_hash


def sealed(fields: dict[str, Any]) -> bytes:
    """A manifest with exactly these fields, and a checksum that holds."""
    blank = "0" * 64
    text = msgspec.json.encode({**fields, "checksum": blank})
    return text.replace(blank.encode(), checksum_of(text, blank).encode())


def change_fields(folder: Path, **fields: Any) -> None:
    """Set fields of a recording's manifest, whatever they mean; its checksum agrees afterwards."""
    path = folder / MANIFEST_NAME
    path.write_bytes(sealed(msgspec.json.decode(path.read_bytes()) | fields))


def without_checksum(folder: Path, **fields: Any) -> None:
    """Make it a manifest of version 1, in which nothing vouches for anything."""
    path = folder / MANIFEST_NAME
    content = msgspec.json.decode(path.read_bytes()) | {"format_version": 1} | fields
    del content["checksum"]
    path.write_bytes(msgspec.json.encode(content))


def vouch(folder: Path) -> None:
    """Let the manifest vouch for the files as they are now."""

    def entry(file: TableFile) -> TableFile:
        path = folder / file.path
        return msgspec.structs.replace(file, bytes=path.stat().st_size, blake2b=file_hash(path))

    manifest = read_manifest(folder)
    for segment in manifest.segments:
        segment.tables.update({table: entry(file) for table, file in segment.tables.items()})
    write_manifest(folder, manifest)
