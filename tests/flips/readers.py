"""Everything that reads a recording, as functions from its folder to an answer that can be compared."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import msgspec
import polars as pl

import analysis
from recordings.care.compacting import compact
from recordings.care.recovery import recover
from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.catalogue import catalogue
from recordings.format.schema import TABLES
from recordings.queries.gaps import find_gaps
from recordings.reading.growing import GrowingRecording
from recordings.recording import Recording
from recordings.storage.lock import FolderLock
from replay.follow import FollowDataSource
from replay.serving.deck import Deck, DeckOptions
from replay.serving.registry import served_venues
from replay.source import Fidelity, ReplayDataSource
from toolkit.clock import SystemClock
from toolkit.errors import TickdeckError
from toolkit.messages import Message

#: Said instead of an answer.
REFUSED = "refused"
NEVER_NS = 1 << 62
Reader = Callable[[Path], object]
_encode = msgspec.msgpack.Encoder(enc_hook=str).encode


def answer_of(value: object) -> str:
    """A value as what two answers are compared by."""
    return blake2b(_encode(value), digest_size=12).hexdigest()


def _frames(folder: Path) -> object:
    return [frame for batch in Recording.open(folder).raw_frames() for frame in batch]


def _messages(folder: Path) -> object:
    return [message for batch in Recording.open(folder).messages() for message in batch]


def _replay(
    fidelity: Fidelity, *, pair: bool = False, seek: float | None = None, digest: bool = True
) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        recording = Recording.open(folder)
        pairs = recording.trading_pairs[:1] if pair else None
        source = ReplayDataSource(recording, fidelity=fidelity, trading_pairs=pairs, with_digest=digest and not pair)
        seen: list[Message] = []
        source.set_message_callback(seen.append)
        if seek is not None:
            segments = recording.manifest.segments
            first, last = segments[0].ts_recv_first, segments[-1].ts_recv_last
            source.player.seek(first + int((last - first) * seek))
        source.play()
        books = [
            (name, source.tracker.book(name).bids.columns(), source.tracker.book(name).asks.columns())
            for name in source.tracker.trading_pairs
        ]
        return seen, books, source.chain.hexdigest() if source.chain is not None else ""

    return read


def _follow(share: float | None) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        segments = Recording.open(folder).manifest.segments
        first, last = segments[0].ts_recv_first, segments[-1].ts_recv_last
        start_ns = first + int((last - first) * share) if share is not None else None

        async def main() -> object:
            source = FollowDataSource(folder, start_ns=start_ns, with_digest=True, patience_s=0.0)
            seen: list[Message] = []
            source.set_message_callback(seen.append)
            async with source:
                await source.wait()
            return seen

        return asyncio.run(main())

    return read


def _growing(folder: Path) -> object:
    return [frame for batch in GrowingRecording(folder).read() for frame in batch]


def _serve(folder: Path) -> object:
    """What a client of everything is sent, without the sockets."""
    recording = Recording.open(folder)
    deck = Deck([recording], served_venues(), pacer=SystemClock(), options=DeckOptions(speed=None))
    venue = recording.manifest.sources[0].venue
    client = deck.connect(venue, 0, "127.0.0.1", "/ws", "")
    for kind in ("l2Book", "bbo", "trades"):
        subscription = {"method": "subscribe", "subscription": {"type": kind, "coin": "BTC"}}
        deck.receive(client, msgspec.json.encode(subscription).decode(), 0)
    sent = client.take()
    while deck.player.step_frame():
        sent += client.take()
    return sent


def _sql(folder: Path) -> object:
    with analysis.connect(folder) as connection:
        return [connection.sql(f"SELECT * FROM {view}").fetchall() for view in analysis.VIEWS]


def _scans(folder: Path) -> object:
    return [analysis.scan(folder, table).collect().rows() for table in TABLES]


def _frame(frame: pl.DataFrame) -> object:
    return frame.columns, frame.rows()


def _spreads(folder: Path) -> object:
    window = analysis.spread_window(folder)
    return _frame(window.report()), _frame(window.series(10**9).collect())


def _info(folder: Path) -> object:
    from toolkit.cli.commands.info import summary

    opened = Recording.open(folder)
    found = summary(opened)
    tail = opened.for_summary().tail
    if "problem" in found or (tail is not None and (tail.missing or tail.unreadable)):
        return REFUSED  # the command ends with it, or has a note of each
    return {name: value for name, value in found.items() if name != "recording"}


def _ls(folder: Path) -> object:
    (row,) = catalogue(folder).rows(named=True)
    # What cannot be read is said in a column of its own.
    return REFUSED if row["problem"] is not None and "journal" not in row["problem"] else row


class _Verify:
    """
    `verify`, in full every tenth time.

    What is found in files makes a recording unsound whatever comes after it, so in between files are all that is looked
    at, as long as something is found there.
    """

    EVERY = 10

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, folder: Path) -> object:
        self._calls += 1
        if self._calls % self.EVERY != 1 and not verify(folder, is_quick=True).is_sound:
            return REFUSED
        result = verify(folder)
        return result.recorded_digest if result.is_sound else REFUSED


def _on_a_copy(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """What a command leaves that changes a recording: its frames and messages, or everything as it was."""

    def read(folder: Path) -> object:
        with tempfile.TemporaryDirectory() as place:
            copy = Path(shutil.copytree(folder, Path(place) / "copy"))
            try:
                with FolderLock(copy):
                    change(copy)
            except TickdeckError:
                kept = {path.read_bytes() for path in copy.rglob("*") if path.is_file()}
                gone = [path.name for path in folder.rglob("*.parquet") if path.read_bytes() not in kept]
                assert not gone, f"files are gone: {gone}"
                raise
            return _frames(copy), _messages(copy)

    return read


def _left_by_a_crash(folder: Path) -> object:
    """What `recover` makes of journals: all frames, or a statement of which are missing."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(shutil.copytree(folder, Path(place) / "copy"))
        made = recover(copy, SystemClock(), alive_until=NEVER_NS)
        if made.left_bytes or not verify(copy).is_sound:
            return REFUSED  # it says what it could not read, and from when until when that may be missing
        found = [frame for batch in Recording.open(copy).raw_frames() for frame in batch]
    return REFUSED if any(not frame.venue for frame in found) else found[:-2]


def _followed_after_a_crash(folder: Path) -> object:
    """What whoever looks into the folder is given: all frames, or a statement, or none from where it is damaged."""
    found = [frame for batch in GrowingRecording(folder).read() for frame in batch]
    recovered = _left_by_a_crash(folder)
    is_short = recovered is REFUSED or (isinstance(recovered, list) and found == recovered[: len(found)] != recovered)
    return REFUSED if is_short or any(not frame.venue for frame in found) else found


#: Readers by name. Whatever is raised but an error of ours is a traceback at the user's.
READERS: dict[str, Reader] = {
    "verify": _Verify(),
    "info": _info,
    "ls": _ls,
    "raw frames": _frames,
    "messages": _messages,
    "replay raw": _replay("raw"),
    "replay normalized": _replay("normalized"),
    "replay --pair": _replay("normalized", pair=True),
    "seek raw": _replay("raw", seek=0.6, digest=False),
    "seek normalized": _replay("normalized", seek=0.45, digest=False),
    "follow": _follow(None),
    "follow from a time": _follow(0.9),
    "follow the folder": _growing,
    "serve": _serve,
    "sql": _sql,
    "Polars": _scans,
    "gaps": lambda folder: _frame(find_gaps(folder)),
    "analyze spreads": _spreads,
    "analyze orders": lambda folder: _frame(analysis.order_report(folder)),
    "analyze pnl": lambda folder: (_frame(analysis.pnl_report(folder)), _frame(analysis.pnl_series(folder))),
    "coverage": lambda folder: _frame(analysis.coverage(folder)),
    "latency": lambda folder: _frame(analysis.latency(folder)),
}
#: Those that read what a crash left.
OPEN_READERS: dict[str, Reader] = {
    "verify": _Verify(),
    "info": _info,
    "recover": _left_by_a_crash,
    "follow the folder": _followed_after_a_crash,
}
#: Those that write: what they leave is read, from a copy.
WRITERS: dict[str, Reader] = {
    "recover": _on_a_copy(lambda folder: recover(folder, SystemClock())),
    "compact": _on_a_copy(compact),
    "renormalize": _on_a_copy(renormalize),
}
