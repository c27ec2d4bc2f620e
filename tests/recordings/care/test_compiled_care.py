"""`verify` and `renormalize` by compiled code find and make what they do without."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from unittest.mock import patch

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recordings.care.renormalizing import renormalize
from recordings.care.verifying import Verification, verify
from recordings.format.manifest import read_manifest, write_manifest
from recordings.states import seek_points
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import file_hash
from tests.tapes import import_files

CAPTURES = {"binance-usdm": "usdm_btcusdt_20240808.gz", "binance-spot": "spot_btcusdt_20240808.gz"}
FRAMES = 3000


@pytest.fixture(scope="module", params=sorted(CAPTURES))
def tape(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of several segments, with a state every few hundred frames."""
    path = shared_data / "binance" / CAPTURES[request.param]
    if not path.is_file():
        pytest.skip(f"no capture {path}")
    with gzip.open(path) as file:
        lines = b"".join(file.readline() for _ in range(FRAMES))
    folder = tmp_path_factory.mktemp("care") / "tape"
    with patch.multiple(seek_points, PAYLOAD_PER_BYTE=0, POINT_FRAMES=400):
        import_files(folder, lines, venue=request.param, segment_frames=1100, compiled=False)
    return folder


def _verified(folder: Path, *, compiled: bool) -> tuple[Verification, int]:
    """What is found, and how many runs of frames compiled code took."""
    runs = 0
    take = Normalizer.take_batch

    def counted(normalizer: Normalizer, *args: object) -> object:
        nonlocal runs
        taken = take(normalizer, *args)  # type: ignore[arg-type]  # whatever it is called with
        runs += taken is not None
        return taken

    with (
        patch.object(Normalizer, "compile_if_kept", lambda self: compiled and self.compile()),
        patch.object(Normalizer, "take_batch", counted),
    ):
        return verify(folder), runs


def _agree(folder: Path) -> Verification:
    plain, none = _verified(folder, compiled=False)
    found, runs = _verified(folder, compiled=True)
    assert found == plain
    assert (none, runs > 3) == (0, True)
    return found


def test_a_sound_recording_is_sound_either_way(tape: Path) -> None:
    """States within segments are held against what the frames before them give, however batches lie."""
    found = _agree(tape)
    assert (found.problems, found.frame_count) == ([], FRAMES)


def test_a_state_of_another_moment_is_found_either_way(tape: Path, tmp_path: Path) -> None:
    """A state within the segment is read where it is due, in the middle of a batch."""
    folder = Path(shutil.copytree(tape, tmp_path / "tape"))
    manifest = read_manifest(folder)
    segment = manifest.segments[1]
    points = seek_points.open_points(folder, segment)
    assert points is not None
    swapped = seek_points.PointCollector()
    first, second = points.points[:2]
    swapped.add(points.packed(second), first.capture_seq, first.ts_recv_max)
    entry = swapped.write(folder, 1, segment.digest_start, segment.capture_seq_first)
    manifest.segments[1] = msgspec.structs.replace(segment, seek_points=entry)
    write_manifest(folder, manifest)
    (problem,) = _agree(folder).problems
    assert f"before frame {first.capture_seq}" in problem


@pytest.mark.parametrize("gone", [5, 600, 1099])
def test_a_frame_that_is_missing_is_found_either_way(tape: Path, tmp_path: Path, gone: int) -> None:
    """At the beginning of a segment, in its middle and at its end, under a manifest that holds all hashes."""
    folder = Path(shutil.copytree(tape, tmp_path / "tape"))
    path = folder / "raw" / "000001.parquet"
    rows = pq.read_table(path)
    kept = pa.concat_tables([rows.slice(0, gone), rows.slice(gone + 1)])
    pq.write_table(kept, path, write_page_checksum=True, store_schema=False)
    manifest = read_manifest(folder)
    segment = manifest.segments[1]
    entry = msgspec.structs.replace(segment.tables["raw"], bytes=path.stat().st_size, blake2b=file_hash(path))
    manifest.segments[1] = msgspec.structs.replace(segment, tables={**segment.tables, "raw": entry})
    write_manifest(folder, manifest)
    problems = _agree(folder).problems
    expected = segment.capture_seq_first + gone
    assert any(
        f"goes on with frame {expected + 1}, expected {expected}" in each or f"ends with frame {expected - 1}" in each
        for each in problems
    )


def test_renormalizing_makes_the_same_files_either_way(tape: Path, tmp_path: Path) -> None:
    made = []
    for compiled in (False, True):
        folder = Path(shutil.copytree(tape, tmp_path / str(compiled)))
        with patch.object(Normalizer, "compile_if_kept", lambda self, by_batch=compiled: by_batch and self.compile()):
            renormalize(folder)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock"]
        made.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})
    assert made[0] == made[1]
    assert verify(folder).problems == []
