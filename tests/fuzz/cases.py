"""A case: frames or files, what becomes of them on both ways, and where the two differ."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.manifest import Manifest
from recordings.format.parquet_options import FAST
from recordings.importing import capture_files, line_blocks
from recordings.importing.importer import ImportOptions, import_capture
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.checkpoints import encode_checkpoint
from recordings.states.normalizer import Normalizer
from tests.fuzz.frames import Captures, session
from tests.fuzz.hyperliquid_frames import TEXTS, VENUE, hyperliquid_session
from tests.fuzz.mutations import damaged, mutated, packed, written
from toolkit.errors import TickdeckError
from toolkit.frames import Frame
from toolkit.kernels.run_taker import Rest
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

__all__ = ["Difference", "Frames", "case"]


class Difference(AssertionError):
    """The two ways made something else of the same."""


@dataclass
class Frames:
    """
    What a case was.

    Attributes:
        frames: Frames or lines that went both ways.
        taken: Number of them that compiled code took, where that was counted.
        kind: In a word.
    """

    frames: int
    taken: int
    kind: str


def case(seed: str, folder: Path, captures: Captures, only: str = "") -> Frames:
    """Run the case of that seed, of the venues whose names begin so. Raises Difference."""
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    count = rng.choice((300, 1000, 3000, 6000))
    if (only and VENUE.startswith(only)) or (not only and rng.random() < 0.5):
        venue, frames = VENUE, _hyperliquid(rng, count, captures)
    elif captures.venues and rng.random() < 0.5:
        venue, frames = captures.stretch(rng, count)
        frames = mutated(rng, frames)
    else:
        tape = session(rng, count)
        venue, frames = tape.venue, mutated(rng, tape.frames)
    # Of so many frames for others in a row compiled code is rested else, and would not be tried.
    Rest.FRAMES_MIN = Rest.FRAMES_MAX = rng.choice((0, 16, 4096))
    if rng.random() < 0.4:
        return _files(rng, folder, venue, frames)
    return _segments(rng, folder, venue, frames)


def _hyperliquid(rng: random.Random, count: int, captures: Captures) -> list[Frame]:
    if captures.books and rng.random() < 0.3:
        frames = captures.book_stretch(rng, count)
    else:
        frames = hyperliquid_session(rng, count)
    return mutated(rng, frames, TEXTS, "BTC")


# -- segments ------------------------------------------------------------------------------------------------------------


def _segments(rng: random.Random, folder: Path, venue: str, frames: list[Frame]) -> Frames:
    pairs = ("BTC", "kPEPE") if venue == VENUE else ("BTCUSDT", "ETHUSDT")
    options = ProtocolOptions(pairs=pairs if rng.random() < 0.3 else ())
    ends = sorted({rng.randint(1, max(len(frames), 1)) for _ in range(rng.choice((0, 0, 1, 3)))} | {len(frames)})
    cuts = sorted({rng.randint(0, len(frames)) for _ in range(rng.choice((0, 1, 5, 60)))})
    plain = _run(folder / "plain", venue, frames, options, ends, None)
    later = rng.choice((0, 0, 1, rng.randint(0, len(cuts))))
    compiled = _run(folder / "compiled", venue, frames, options, ends, cuts, later)
    for number, (mine, theirs) in enumerate(zip(plain.outcomes, compiled.outcomes, strict=True)):
        for name, value in mine.items():
            _same(f"segment {number}, {name}", value, theirs[name])
    _same_tables(folder / "plain", folder / "compiled")
    return Frames(len(frames), compiled.taken, "segments")


@dataclass
class _Run:
    outcomes: list[dict[str, Any]]
    taken: int


def _run(
    folder: Path,
    venue: str,
    frames: Sequence[Frame],
    options: ProtocolOptions,
    ends: Sequence[int],
    cuts: Sequence[int] | None,
    compiled_from: int = 0,
) -> _Run:
    """
    Frames to segments that end at `ends`: in batches that end at `cuts` too, or one by one.

    Compiled code takes over at the batch of that number.
    """
    folder.mkdir()
    normalizer = Normalizer({venue: find_venue(venue).make_protocol(options)})
    batches = 0
    run = _Run([], 0)
    start = 0
    for number, end in enumerate(ends):
        writer = SegmentWriter(folder, number, normalizer, compression=FAST)
        if cuts is None:
            for frame in frames[start:end]:
                writer.add(frame)
        else:
            plain = writer._normalize

            def counted(frame: Frame, add: Any, plain: Any = plain) -> Any:
                run.taken -= 1
                return plain(frame, add)

            writer._normalize = counted  # type: ignore[method-assign]  # only to count what goes the other way
            run.taken += end - start
            for stop in [*(cut for cut in cuts if start < cut < end), end]:
                if stop > start:
                    if batches == compiled_from:
                        normalizer.compile()
                    batches += 1
                    writer.add_batch(frames_to_batch(list(frames[start:stop])))
                    start = stop
        start = end
        write = writer.cut()
        run.outcomes.append(
            {
                "entry": _entry(write()) if write is not None else None,
                "symbols": writer.symbols,
                "books": (normalizer.tracker.crossed_count, normalizer.tracker.refused_count, normalizer.conn_id_max),
                "checkpoint": encode_checkpoint(normalizer),
            }
        )
    return run


def _entry(segment: Any) -> Any:
    """What a manifest says of a segment, but for the bytes of tables: their values are compared."""
    facts = msgspec.to_builtins(segment)
    for table in facts["tables"].values():
        for key in [key for key in table if key not in ("path", "rows")]:
            del table[key]
    return facts


# -- files ---------------------------------------------------------------------------------------------------------------


def _files(rng: random.Random, folder: Path, venue: str, frames: list[Frame]) -> Frames:
    parts = rng.choice((1, 1, 2, 3))
    paths = []
    line_format = rng.choice(("collector", "collector", "jsonl", "archive"))
    for number in range(parts):
        of_part = frames if parts == 1 else [frame for frame in frames if rng.randrange(parts) == number]
        content = packed(rng, written(rng, of_part, line_format))
        if rng.random() < 0.4:
            content = damaged(rng, content)
        paths.append(folder / f"{number}.capture")
        paths[-1].write_bytes(content)
    if rng.random() < 0.1:
        paths.append(paths[0])
    sizes: dict[str, Any] = {
        "segment_frames": rng.choice((200, 1500, 500_000)),
        "segment_bytes": rng.choice((50_000, 64 << 20)),
    }
    line_bytes_max, block_bytes = rng.choice((64 << 20, 64 << 20, 5_000)), rng.choice((2 << 20, 100_000))
    found = []
    before = capture_files.LINE_BYTES_MAX, line_blocks.BLOCK_BYTES
    capture_files.LINE_BYTES_MAX, line_blocks.BLOCK_BYTES = line_bytes_max, block_bytes  # type: ignore[misc]
    try:
        for name, is_compiled in (("plain", False), ("compiled", True)):
            options = ImportOptions(
                venue=venue, line_format=line_format, compression=FAST, compiled=is_compiled, threads=False, **sizes
            )
            try:
                found.append(_facts(import_capture(paths, folder / name, options)))
            except TickdeckError as exc:
                found.append({"error": f"{type(exc).__name__}: {exc}"})
    finally:
        capture_files.LINE_BYTES_MAX, line_blocks.BLOCK_BYTES = before  # type: ignore[misc]
    plain, compiled = found
    _same("outcome", sorted(plain), sorted(compiled))
    for name, value in plain.items():
        _same(name, value, compiled[name])
    _same_tables(folder / "plain", folder / "compiled")
    _same_states(folder / "plain", folder / "compiled")
    return Frames(sum(entry["frame_count"] for entry in plain.get("segments", ())), 0, "files")


def _facts(manifest: Manifest) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(manifest)
    facts["segments"] = [_entry(segment) for segment in manifest.segments]
    return facts


def _same_states(mine: Path, theirs: Path) -> None:
    """Checkpoints and the states within segments, byte by byte."""
    for path in sorted((mine / "checkpoints").glob("*")):
        _same(f"checkpoints/{path.name}", path.read_bytes(), (theirs / "checkpoints" / path.name).read_bytes())


# -- comparing -----------------------------------------------------------------------------------------------------------


def _same_tables(mine: Path, theirs: Path) -> None:
    names = sorted(str(path.relative_to(mine)) for path in mine.rglob("*.parquet"))
    _same("tables", names, sorted(str(path.relative_to(theirs)) for path in theirs.rglob("*.parquet")))
    for name in names:
        if (mine / name).read_bytes() == (theirs / name).read_bytes():
            continue
        one, other = pq.read_table(mine / name), pq.read_table(theirs / name)
        if not one.equals(other) and str(one.to_pylist()) != str(other.to_pylist()):  # NaN is no NaN for Arrow
            rows = zip(one.to_pylist(), other.to_pylist(), strict=False)
            at, pair = next(((at, pair) for at, pair in enumerate(rows) if str(pair[0]) != str(pair[1])), (-1, None))
            raise Difference(f"table {name}: {one.num_rows} and {other.num_rows} rows, row {at}: {str(pair)[:1500]}")


def _same(what: str, mine: Any, theirs: Any) -> None:
    if mine == theirs:
        return
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in {**mine, **theirs}:
            _same(f"{what}.{key}", mine.get(key), theirs.get(key))
    if isinstance(mine, (bytes, str)) and isinstance(theirs, (bytes, str)) and type(mine) is type(theirs):
        at = next((at for at, (one, other) in enumerate(zip(mine, theirs, strict=False)) if one != other), 0)
        raise Difference(
            f"{what}, from {at}: {mine[max(at - 150, 0) : at + 150]!r} and {theirs[max(at - 150, 0) : at + 150]!r}"
        )
    raise Difference(f"{what}: {str(mine)[:1500]} and {str(theirs)[:1500]}")
