"""
`memory`: what a replay of many recordings takes at most, and a compiled strategy, by the size of the tape.

The tape is made of one imported recording of a real market (as long as a capture is at hand) and of copies of it that were
received later: rows as they are, but for the receive times. Their digests are not those of their rows any more, so they
claim none. Each replay runs in a process of its own, whose peak of resident memory is the figure.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import grid
from benchmarks.captures import busy_frames, write_busy
from benchmarks.harness import ROOT, Figure, Options, peak_bytes
from benchmarks.spread_steps import spread_of_times
from recordings.format.columns_to_rows import dictionary_columns, dictionary_schema
from recordings.format.manifest import Manifest, Segment, TableFile, read_manifest, write_manifest
from recordings.format.parquet_options import SMALL
from recordings.format.schema import RAW_TABLE, TABLES
from recordings.format.table_writer import TableFileWriter
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.fast_classes.strategy_backtest import backtest
from replay.source import FIDELITIES, ReplayDataSource
from toolkit.clock import NS_PER_S

__all__ = ["main", "run"]

#: Payload of the recording that is copied, and how many are open at one time where they overlap.
_PART_BYTES: Final = 64 << 20
_OVERLAPPING: Final = 8
_MIB: Final = 1 << 20
#: A compiled strategy, in place of a replay.
COMPILED: Final = "compiled"
_ASSUMED: Final = {"tick": Decimal(grid.TICK), "lot": Decimal(grid.LOT), "min_notional": Decimal(5)}


def run(options: Options) -> list[Figure]:
    """Measure tapes of an eighth of the size and of all of it, one recording after the other and eight at a time."""
    base, origin = _base(options)
    count = max(options.memory_bytes // _payload_bytes(base), _OVERLAPPING)
    figures = []
    for layout, overlapping in (("one after the other", 1), (f"{_OVERLAPPING} at a time", _OVERLAPPING)):
        folders = _tape(base, count, overlapping, options.folder / f"tape-{overlapping}")
        jobs = [*reversed(FIDELITIES), *([COMPILED] if overlapping == 1 else [])]
        for fidelity in jobs:
            for number in dict.fromkeys((max(count // 8, min(overlapping, count)), count)):
                told = _replayed(folders[:number], fidelity)
                size = number * _payload_bytes(base) / 2**30
                name = f"{fidelity}, {layout}, {number} recordings"
                messages = "" if fidelity == COMPILED else f", {told['messages']:,} messages"
                note = f"{size:.2f} GiB of payload{messages}; {origin}"
                value = told["peak_bytes"] / _MIB
                figures.append(Figure(bench="memory", name=name, value=value, unit="MiB at most", note=note))
        shutil.rmtree(options.folder / f"tape-{overlapping}")
    return figures


def main(fidelity: str, folders: Sequence[str]) -> None:
    """Replay, then print how many messages came and the peak of this process's memory: one JSON line."""
    if fidelity == COMPILED:
        # The result keeps what its function did, which is nothing.
        result = backtest(spread_of_times, list(folders), assumed=_ASSUMED)
        print(json.dumps({"messages": 0, "orders": result.orders.height, "peak_bytes": peak_bytes()}))
        return
    source = ReplayDataSource(list(folders), fidelity="raw" if fidelity == "raw" else "normalized")
    source.set_message_callback(lambda message: None)
    source.play()
    print(json.dumps({"messages": source.message_count, "peak_bytes": peak_bytes()}))


def _replayed(folders: Sequence[Path], fidelity: str) -> dict[str, int]:
    program = "import sys; from benchmarks.memory import main; main(sys.argv[1], sys.argv[2:])"
    command = [sys.executable, "-c", program, fidelity, *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    told: dict[str, int] = json.loads(done.stdout)
    return told


def _base(options: Options) -> tuple[Path, str]:
    venue, origin, frames = busy_frames(options)
    folder = options.folder / "memory"
    if not folder.exists():
        mean = sum(len(payload) for _, payload in frames) / len(frames)
        part = min(_PART_BYTES, max(options.memory_bytes // _OVERLAPPING, 1))
        path = write_busy(venue, frames, max(int(part / mean), 1), options.folder / "memory.txt")
        import_capture([path], folder, ImportOptions(venue=venue, line_format="collector", segment_bytes=1 << 60))
        path.unlink()
    return folder, origin


def _payload_bytes(folder: Path) -> int:
    total = 0
    for path in Recording.open(folder).files("raw"):
        for batch in pq.ParquetFile(path).iter_batches(columns=["payload"]):
            total += pc.sum(pc.binary_length(batch.column(0))).as_py() or 0
    return total


def _tape(base: Path, count: int, overlapping: int, folder: Path) -> list[Path]:
    """So many copies of the recording, each received later than the one before, so that some are open at one time."""
    manifest = read_manifest(base)
    first = min(segment.ts_recv_first for segment in manifest.segments)
    length = max(segment.ts_recv_last for segment in manifest.segments) - first
    step = length + NS_PER_S if overlapping == 1 else length // overlapping
    folders = []
    for number in range(count):
        target = folder / f"{number:04d}"
        target.mkdir(parents=True)
        _copy(base, manifest, target, number * step)
        folders.append(target)
    return folders


def _copy(base: Path, manifest: Manifest, target: Path, later_ns: int) -> None:
    segments = []
    for segment in manifest.segments:
        tables: dict[str, TableFile] = {}
        for table, file in segment.tables.items():
            if table == "top":
                continue
            schema = TABLES[table] if table == RAW_TABLE else dictionary_schema(table)
            writer = TableFileWriter(target, table, segment.number, schema, SMALL)
            tables[table] = writer.finish(partial(_later, base / file.path, later_ns))
        segments.append(_received_later(segment, tables, later_ns))
    copy = msgspec.structs.replace(manifest, segments=segments, digest_version=0, digest=segments[-1].digest)
    copy.created_ns += later_ns
    write_manifest(target, copy)


def _received_later(segment: Segment, tables: dict[str, TableFile], later_ns: int) -> Segment:
    return msgspec.structs.replace(
        segment,
        tables=tables,
        counts={name: count for name, count in segment.counts.items() if name != "tops"},
        checkpoint=None,
        seek_points=None,
        ts_recv_first=segment.ts_recv_first + later_ns,
        ts_recv_last=segment.ts_recv_last + later_ns,
    )


def _later(path: Path, later_ns: int) -> Iterator[Any]:
    table_name = path.parent.name
    words = [] if table_name == RAW_TABLE else dictionary_columns(table_name)
    parquet = pq.ParquetFile(path, read_dictionary=words)
    place = parquet.schema_arrow.names.index("ts_recv")
    for number in range(parquet.num_row_groups):
        table = parquet.read_row_group(number)
        moved = pc.add(table.column(place).cast(pa.int64()), later_ns).cast(pa.timestamp("ns"))
        yield table.set_column(place, "ts_recv", moved)
