"""Rows that are the very ones which the frames make need no replay; any others do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recordings.care.compacting import compact
from recordings.care.made_rows import MadeRows
from recordings.care.verifying import verify
from recordings.format.manifest import read_manifest, write_manifest
from recordings.reading.raw_frames import sealed_batches
from recordings.recording import Recording
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import file_hash
from tests.tapes import mixed_tape

Groups = list[pa.Table]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_tape(tmp_path_factory.mktemp("made") / "tape").path


def _are_sealed(folder: Path) -> bool:
    recording = Recording.open(folder)
    normalizer = Normalizer.for_sources(recording.manifest.sources)
    made = MadeRows(folder, normalizer)
    for segment in recording.manifest.segments:
        made.begin(segment)
        for batch in sealed_batches(folder, [segment]):
            made.take(batch)
        made.end()
    assert normalizer.chain.hexdigest() == recording.manifest.digest, "whatever the rows are, the frames are taken"
    return made.are_sealed


def _other(groups: Groups, name: str) -> Groups:
    """The first group with another value in its first row."""
    first = groups[0]
    values = first.column(name).to_pylist()
    value = not values[0] if isinstance(values[0], bool) else "x" if isinstance(values[0], str) else 77
    column = pa.array([value, *values[1:]], first.schema.field(name).type)
    return [first.set_column(first.schema.get_field_index(name), first.schema.field(name), column), *groups[1:]]


def _rewritten(sound: Path, tmp_path: Path, table: str, edit: Callable[[Groups], Groups]) -> Path:
    """The recording with other groups in a file of the second segment, of which the manifest has the right hash."""
    folder = Path(shutil.copytree(sound, tmp_path / "tape"))
    manifest = read_manifest(folder)
    file = manifest.segments[1].tables[table]
    path = folder / file.path
    parquet = pq.ParquetFile(path)
    groups = edit([parquet.read_row_group(number) for number in range(parquet.num_row_groups)])
    with pq.ParquetWriter(path, groups[0].schema, store_schema=False) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=len(group))
    rows = sum(map(len, groups))
    manifest.segments[1].tables[table] = msgspec.structs.replace(
        file, rows=rows, bytes=path.stat().st_size, blake2b=file_hash(path)
    )
    write_manifest(folder, manifest)
    return folder


def test_rows_of_a_recording_are_those_that_its_frames_make(sound: Path, tmp_path: Path) -> None:
    """Written again by any program they still are; and where segments were joined."""
    assert _are_sealed(sound)
    assert _are_sealed(_rewritten(sound, tmp_path, "book", lambda groups: groups))
    joined = Path(shutil.copytree(sound, tmp_path / "joined"))
    compact(joined)
    assert len(read_manifest(joined).segments) == 1
    assert _are_sealed(joined)


@pytest.mark.parametrize(
    ("table", "edit"),
    [
        ("bbo", lambda groups: _other(groups, "bid_price")),
        ("book", lambda groups: _other(groups, "fused")),
        ("trades", lambda groups: _other(groups, "trade_id")),
        ("top", lambda groups: _other(groups, "is_stale")),
        ("funding", lambda groups: _other(groups, "trading_pair")),
        ("events", lambda groups: _other(groups, "detail")),
        ("trades", lambda groups: [*groups[:-1], groups[-1].slice(1)]),
        ("trades", lambda groups: [*groups, groups[-1].slice(0, 1)]),
        ("book", lambda groups: [groups[0].take(list(range(len(groups[0])))[::-1]), *groups[1:]]),
        ("book", lambda groups: [group.drop_columns("count") for group in groups]),
    ],
)
def test_rows_that_are_others_are_told(
    sound: Path, tmp_path: Path, table: str, edit: Callable[[Groups], Groups]
) -> None:
    assert not _are_sealed(_rewritten(sound, tmp_path, table, edit))


@pytest.mark.parametrize("is_missing", [False, True])
def test_a_table_too_many_or_too_few_is_told(sound: Path, tmp_path: Path, is_missing: bool) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "tape"))
    manifest = read_manifest(folder)
    tables = manifest.segments[1].tables
    if is_missing:
        del tables["funding"]
    else:
        tables["liquidations"] = tables["funding"]
    write_manifest(folder, manifest)
    assert not _are_sealed(folder)


def test_rows_in_another_order_are_replayed(sound: Path, tmp_path: Path) -> None:
    """A file that another version has laid out otherwise is sound if it says the same."""
    folder = _rewritten(sound, tmp_path, "trades", lambda groups: [pa.concat_tables(groups).sort_by("capture_seq")])
    assert not _are_sealed(folder)
    found = verify(folder)
    assert found.raw_digest == found.normalized_digest == found.recorded_digest
