"""
The result of a run as a recording: the tables of an account, and `equity`, `decisions` and `series` beside them.

The same run gives the same bytes: nothing in it is of the machine, or of the time at which it ran. It is written under
another name, and takes its own when it is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from recordings.format.columns_to_rows import dictionary_schema
from recordings.format.file_names import files_of
from recordings.format.manifest import (
    MANIFEST_NAME,
    Manifest,
    Segment,
    SourceInfo,
    TableFile,
    read_manifest,
    write_manifest,
)
from recordings.format.messages_to_rows import TableBuilders
from recordings.format.row_order import StretchedFile
from recordings.format.schema import RESULT_TABLES
from recordings.format.software import SOFTWARE
from recordings.storage.atomic_files import disk_refusals, make_folder, sync_folder
from recordings.storage.lock import FolderLock
from replay.ledger.money import CASH_DECIMALS
from replay.results.run_info import RunInfo, as_run, run_info
from replay.results.run_record import DecisionRow, EquityRow, Placed, RunRecord, SeriesRow
from replay.results.spooled_rows import BLOCK_ROWS
from toolkit.books.tracker import OrderBookTracker
from toolkit.digest import DIGEST_VERSION, EMPTY_DIGEST, DigestChain
from toolkit.errors import ConfigError, RecordingError
from toolkit.messages import StreamEvent

__all__ = ["RESULT_ORIGINS", "check_folder", "result_batches", "write_result"]

#: What the manifest of a result says of its origin.
RESULT_ORIGINS: Final = ("backtest", "paper")
_CASH: Final = 10**CASH_DECIMALS


def check_folder(folder: Path, *, replace: bool = False) -> None:
    """
    See whether a result may be written there, before the work is done.

    Args:
        folder: Where to.
        replace: Whether a result that is there may be replaced.

    Raises ConfigError where something is there that is not to be overwritten.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        return
    if not replace:
        raise ConfigError(
            f"{folder} already exists: name another folder, or say --replace to replace an earlier result"
        )
    try:
        origin = read_manifest(folder).origin
    except RecordingError:
        origin = "no recording"
    if folder.is_symlink() or origin not in RESULT_ORIGINS:
        raise ConfigError(
            f"{folder} is not replaced, since it is not the result of a run ({origin}): name another folder"
        )


def write_result(record: RunRecord, folder: Path, *, replace: bool = False) -> RunInfo:
    """
    Write the result of a run.

    Args:
        record: The run.
        folder: Where to; made with those above it.
        replace: Replace an earlier result. What its manifest does not name (notes, pictures) is kept.

    Returns:
        What the manifest says of the run.

    Raises:
        ConfigError: Something is there that is not to be overwritten.
        RecordingError: The disk refuses, or another run is writing the same result (RecordingLocked).
    """
    folder = folder.absolute()
    part, old = (folder.with_name(f".{folder.name}.{what}") for what in ("part", "old"))
    with disk_refusals(folder, "no result was written; see to the disk, then run it again"):
        make_folder(folder.parent, parents=True)
        make_folder(part)
        with FolderLock(part):  # two runs may be asked to write the same
            try:
                _finish_replacing(folder, old)
                check_folder(folder, replace=replace)
                made = part / "made"
                if made.exists():  # a run died here
                    shutil.rmtree(made)
                make_folder(made)
                info = _write(record, made)
                if folder.exists():
                    folder.replace(old)
                made.replace(folder)
                sync_folder(folder.parent)
                _finish_replacing(folder, old)
            finally:  # after Ctrl-C and out of memory too
                shutil.rmtree(part, ignore_errors=True)
                if not folder.exists() and old.exists():
                    old.replace(folder)
    return info


def _finish_replacing(folder: Path, old: Path) -> None:
    """An earlier result is out of the way: put it back where nothing took its place, else keep of it what is somebody's."""
    if not old.exists():
        return
    if not folder.exists():
        old.replace(folder)
        return
    known = {old / MANIFEST_NAME}
    try:
        known |= {old / file.path for file in files_of(read_manifest(old))}
    except RecordingError:
        return  # half of it is gone already, or it is none: leave it to be looked at
    for path in sorted(old.rglob("*")):
        if path.is_file() and path not in known:
            target = folder / path.relative_to(old)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    shutil.rmtree(old)


def _write(record: RunRecord, folder: Path) -> RunInfo:
    builders = TableBuilders(folder)
    chain, tracker, counts = DigestChain(), OrderBookTracker(checked=True), dict[str, int]()
    for number, message in enumerate(record.messages, 1):
        builders.add(message)
        if not number % BLOCK_ROWS:
            builders.cut(message.capture_seq - 1)
        chain.update(message, tracker.apply(message))
        if isinstance(message, StreamEvent):
            counts[f"event_{message.kind}"] = counts.get(f"event_{message.kind}", 0) + 1
    for number, top in enumerate(record.tops, 1):
        builders.add(top)
        if not number % BLOCK_ROWS:
            builders.cut(top.capture_seq - 1)
    tables: dict[str, TableFile] = builders.write()
    for name in RESULT_TABLES:
        file: StretchedFile | None = None
        for rows in result_batches(record, name):
            file = file or StretchedFile(folder, name, 0)
            file.add(rows)
            file.cut(rows.column("capture_seq")[-1].as_py() - 1)
        if file is not None:
            tables[name] = file.finish()
    info = run_info(record)
    digest = chain.hexdigest()
    manifest = Manifest(
        software=SOFTWARE,
        status="sealed",
        origin=info.kind,
        created_ns=record.start_ns,
        sources=[
            SourceInfo(venue, 0, pairs=tuple(pair.trading_pair for pair in info.pairs if pair.venue == venue))
            for venue in dict.fromkeys(pair.venue for pair in info.pairs)
        ],
        symbols=dict(sorted(builders.symbols.items())),
        digest_version=DIGEST_VERSION,
        digest=digest,
        run=as_run(info),
    )
    if record.instants:
        manifest.segments = [
            Segment(
                number=0,
                frame_count=record.instants,
                capture_seq_first=0,
                capture_seq_last=record.instants - 1,
                ts_recv_first=record.start_ns,
                ts_recv_last=record.end_ns,
                digest=digest,
                digest_start=EMPTY_DIGEST.hex(),
                tables=tables,
                counts=dict(sorted({**builders.counts, **counts}.items())),
                message_count=chain.message_count,
            )
        ]
    write_manifest(folder, manifest)
    return info


# -- the tables that are none of messages ---------------------------------------------------------------------------------


def result_batches(record: RunRecord, name: str) -> Iterator[pa.RecordBatch]:
    """The rows of `equity`, `decisions` or `series`, in its schema while it is written, so many at a time."""
    account = record.head.strategy
    venues = list(dict.fromkeys(market.key.venue for market in record.markets))
    # A decision is about no venue where there are several.
    venue = venues[0] if len(venues) == 1 else ""
    table: Any = record.equity if name == "equity" else record.decisions if name == "decisions" else record.series
    for rows in _blocks(table):
        named = [_equity_venue(record, row) for *_, row in rows] if name == "equity" else [venue] * len(rows)
        yield _batch(name, rows, named, account)


def _blocks(rows: Iterable[Any]) -> Iterator[Sequence[Any]]:
    block: list[Any] = []
    for row in rows:
        block.append(row)
        if len(block) == BLOCK_ROWS:
            yield block
            block = []
    if block:
        yield block


def _equity_venue(record: RunRecord, row: EquityRow) -> str:
    pairs = record.ledger.accounts[row.account].pairs
    return record.markets[pairs[0]].key.venue if pairs else record.markets[0].key.venue


def _batch(
    table: str,
    rows: Sequence[Placed[EquityRow]] | Sequence[Placed[DecisionRow]] | Sequence[Placed[SeriesRow]],
    venues: Sequence[str],
    account: str,
) -> pa.RecordBatch:
    times = [row.now_ns for *_, row in rows]
    columns: dict[str, Sequence[Any]] = {
        "venue": venues,
        "symbol": [""] * len(rows),
        "trading_pair": [""] * len(rows),
        "ts_event": times,
        "ts_recv": times,
        "capture_seq": [seq for seq, *_ in rows],
        "sub_seq": [sub for _, sub, _ in rows],
        "account": [account] * len(rows),
    }
    for name in RESULT_TABLES[table].names:
        if name not in columns:
            columns[name] = [_value(row, name) for *_, row in rows]
    schema = dictionary_schema(table)
    return pa.RecordBatch.from_arrays([_array(columns[field.name], field.type) for field in schema], schema=schema)


def _value(row: EquityRow | DecisionRow | SeriesRow, name: str) -> Any:
    if isinstance(row, EquityRow) and name not in ("asset", "is_doubtful"):
        match name:
            case "wallet":
                return row.account
            case "balance":
                return row.wallet / _CASH
            case _:
                return getattr(row, name) / _CASH
    return getattr(row, name)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)
