"""
What a golden recording is expected to hold, as JSON beside it.

- `digest`, `frames`, `messages`: what its maker wrote into the manifest;
- `tables`: rows of each table, and the first and last of them, as pyarrow reads them;
- `protocols`: the digest of its raw frames by the version of the venue's protocol that they are run through, and the
  rows of each table that `renormalize` makes then. A version that is raised adds an entry; none is ever changed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.care.renormalizing import renormalize
from recordings.format.manifest import Manifest, read_manifest
from recordings.states.normalizer import Normalizer
from replay.source import ReplayDataSource

__all__ = [
    "GOLDEN",
    "NEWEST",
    "RECORDINGS",
    "expected",
    "expected_path",
    "found",
    "found_renormalized",
    "protocol_version",
]

GOLDEN: Final = Path(__file__).parent
#: Every golden recording, by format version and venue: `format-1/hyperliquid`.
RECORDINGS: Final = sorted(path.parent for path in GOLDEN.glob("format-*/*/recording.json"))
#: Those of the newest format, one for each venue: for what runs on messages, which have no format.
NEWEST: Final = [path for path in RECORDINGS if path.parent == RECORDINGS[-1].parent]


def expected_path(folder: Path) -> Path:
    """Where the expectation of a recording is kept."""
    return folder.with_name(f"{folder.name}.json")


def expected(folder: Path) -> dict[str, Any]:
    """The expectation of a recording, as it was stored."""
    stored: dict[str, Any] = json.loads(expected_path(folder).read_text())
    return stored


def protocol_version(manifest: Manifest) -> str:
    """Today's version of the protocol of its only venue, as a key of `protocols`."""
    (protocol,) = Normalizer.for_sources(manifest.sources).protocols.values()
    return str(protocol.version)


def found(folder: Path) -> dict[str, Any]:
    """What a recording holds today: all of the expectation but `protocols`."""
    manifest = read_manifest(folder)
    return {
        "digest": _digest(folder, "normalized"),
        "frames": sum(segment.frame_count for segment in manifest.segments),
        "messages": sum(segment.message_count for segment in manifest.segments),
        "tables": {name: _rows(folder, manifest, name) for name in _tables(manifest)},
    }


def found_renormalized(folder: Path, work: Path) -> dict[str, Any]:
    """What today's protocol makes of its raw frames: replayed, and by `renormalize` of a copy in `work`."""
    copy = Path(shutil.copytree(folder, work / "copy"))
    manifest = renormalize(copy)
    digest = _digest(folder, "raw")
    assert digest == manifest.digest == _digest(copy, "normalized")
    return {"digest": digest, "rows": {name: _height(copy, manifest, name) for name in _tables(manifest)}}


def _digest(folder: Path, fidelity: Literal["raw", "normalized"]) -> str:
    source = ReplayDataSource(folder, fidelity=fidelity, with_digest=True)
    source.play()
    assert source.chain is not None
    return source.chain.hexdigest()


def _tables(manifest: Manifest) -> list[str]:
    return sorted({name for segment in manifest.segments for name in segment.tables})


def _files(folder: Path, manifest: Manifest, table: str) -> list[Path]:
    return [folder / segment.tables[table].path for segment in manifest.segments if table in segment.tables]


def _height(folder: Path, manifest: Manifest, table: str) -> int:
    return sum(pq.read_metadata(path).num_rows for path in _files(folder, manifest, table))


def _rows(folder: Path, manifest: Manifest, table: str) -> dict[str, Any]:
    columns = [pq.read_table(path) for path in _files(folder, manifest, table)]
    return {
        "rows": sum(part.num_rows for part in columns),
        "first": _row(columns[0], 0),
        "last": _row(columns[-1], columns[-1].num_rows - 1),
    }


def _row(columns: pa.Table, index: int) -> dict[str, Any]:
    return {name: _plain(columns[name][index]) for name in columns.column_names}


def _plain(value: pa.Scalar[Any]) -> Any:
    if pa.types.is_timestamp(value.type):
        return value.value
    plain = value.as_py()
    return plain.hex() if isinstance(plain, bytes) else plain
