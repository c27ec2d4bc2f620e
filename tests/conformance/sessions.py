"""A session of each venue to try things on, recorded from its synthetic side. Venues are found by their folders."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from recordings.recording import Recording
from recordings.states.normalizer import protocol_for
from replay.embedded import EmbeddedVenue
from replay.serving.deck import DeckOptions
from replay.serving.registry import synthetic_venues
from replay.serving.server import TapeServer
from toolkit.clock import SystemClock
from toolkit.frames import WS_IN, Frame
from toolkit.messages import BookDiff, BookSnapshot, FundingInfo, Instrument, InstrumentKind, Message, Trade
from toolkit.protocol import ProtocolOptions, VenueProtocol
from toolkit.venue import find_venue

__all__ = ["Session", "one_of_each_folder", "pairs_of", "recorded", "recorded_from_served"]


def pairs_of(venue: str) -> tuple[str, ...]:
    """What is recorded of a venue: two of the pairs that show what it has, and those that are not like the others."""
    spec = synthetic_venues()[venue]
    return (*spec.pairs[:2], *spec.peculiar)


def one_of_each_folder() -> dict[str, tuple[str, ...]]:
    """A venue of each folder, with the pairs that are recorded of it."""
    first: dict[str, str] = {}
    for name, spec in synthetic_venues().items():
        first.setdefault(spec.make.__module__.rpartition(".synthetic")[0], name)
    return {name: pairs_of(name) for name in first.values()}


@dataclass(frozen=True)
class Session:
    """A recorded session, and its frames."""

    venue: str
    recording: Recording
    frames: tuple[Frame, ...]

    def protocol(self) -> VenueProtocol:
        """A fresh protocol with the options of the session."""
        return protocol_for(self.recording.manifest.sources[0])

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """What a fresh protocol makes of the session's frames."""
        protocol = self.protocol()
        return tuple(message for frame in self.frames for message in protocol.receive(frame))

    @cached_property
    def market_frame(self) -> int:
        """Index of a received frame in the later half of the session, whose protocol is in full swing."""
        half = len(self.frames) // 2
        return next(i for i, frame in enumerate(self.frames) if i >= half and frame.kind == WS_IN)

    @cached_property
    def later(self) -> tuple[Message, ...]:
        """What the frames from `market_frame` on give."""
        begin = self.frames[self.market_frame].capture_seq
        return tuple(message for message in self.messages if message.capture_seq >= begin)

    @cached_property
    def _half(self) -> bytes:
        """The state of a protocol before `market_frame`."""
        protocol = self.protocol()
        for frame in self.frames[: self.market_frame]:
            protocol.receive(frame)
        return protocol.checkpoint()

    def in_full_swing(self) -> VenueProtocol:
        """
        A protocol that has received every frame before `market_frame`.

        It is restored from a checkpoint; that this is the same is held by a test of its own.
        """
        protocol = self.protocol()
        protocol.restore(self._half)
        return protocol


def recorded(venue: str, folder: Path) -> Session:
    """Record the embedded venue until every pair has a book that changes, and there are a trade and funding, if it has any."""
    asyncio.run(_record_embedded(venue, folder))
    return session_of(venue, folder)


def recorded_from_served(session: Session, folder: Path) -> Session:
    """Serve a session and record it from there, until every pair has a book."""
    asyncio.run(_record_served(session, folder))
    return session_of(session.venue, folder)


def session_of(venue: str, folder: Path) -> Session:
    """What was recorded."""
    recording = Recording.open(folder)
    return Session(venue, recording, tuple(frame for batch in recording.raw_frames() for frame in batch))


async def _record_embedded(venue: str, folder: Path) -> None:
    async with EmbeddedVenue(venue=venue, clock=SystemClock(), seed=11) as embedded:
        await _record(venue, embedded.ws_url, embedded.rest_url, folder, books=8, is_live=True)


async def _record_served(session: Session, folder: Path) -> None:
    # So slow that the tape outlasts whatever a busy machine needs to connect and ask.
    deck = DeckOptions(speed="0.05x")
    async with TapeServer([session.recording], clock=SystemClock(), deck=deck) as server, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.run())
        venue = session.venue
        await _record(venue, server.ws_url_of(venue), server.rest_url_of(venue), folder, books=1, is_live=False)
        server.stop()
        await running


async def _record(venue: str, ws_url: str, rest_url: str, folder: Path, *, books: int, is_live: bool) -> None:
    """Until each pair has so many books; live also until there are a trade, and funding if any pair has it."""
    pairs = pairs_of(venue)
    request = VenueRequest(
        spec=find_venue(venue), options=ProtocolOptions(pairs=pairs), ws_url=ws_url, rest_url=rest_url
    )
    recorder = Recorder(options=RecorderOptions(folder=folder, venues=(request,), backoff_seed=1))
    counts: dict[str, int] = {}
    wanted, seen = ({"trade"} if is_live else set[str]()), set[str]()

    def count(message: Message) -> None:
        if isinstance(message, BookSnapshot | BookDiff):
            counts[message.trading_pair] = counts.get(message.trading_pair, 0) + 1
        elif isinstance(message, Trade):
            seen.add("trade")
        elif isinstance(message, FundingInfo) and message.index_price:
            seen.add("funding")
        elif is_live and isinstance(message, Instrument) and message.kind is InstrumentKind.PERPETUAL:
            wanted.add("funding")
        if len(counts) == len(pairs) and min(counts.values()) >= books and wanted <= seen:
            recorder.stop()

    recorder.dispatcher.add_callback(count)
    await recorder.run()
