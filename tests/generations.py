"""Recording what is served from a recording, with the live code and without chance; and what a recording says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from recordings.recording import Recording
from recordings.states.normalizer import Normalizer
from replay.embedded import EmbeddedVenue
from replay.serving.deck import DeckOptions
from replay.serving.server import ServerOptions, TapeServer
from replay.synthetic.market import MarketOptions
from tests.deadlines import HANG_S
from toolkit.books.orderbook import Columns
from toolkit.books.tracker import OrderBookTracker
from toolkit.clock import NS_PER_MS, SystemClock
from toolkit.digest import DigestChain
from toolkit.frames import CONTROL, WS_IN
from toolkit.messages import Message, StreamEvent
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

#: Beginnings of what answers a recorder and not the market.
ANSWERS = (
    b'{"channel":"subscriptionResponse"',
    b'{"channel":"pong"',
    b'{"result":',
    b'{"type":"connected"',
    b'{"type":"unsubscribed"',
)


class ClockOfThen(SystemClock):
    """The machine's clock, set back to a time."""

    def __init__(self, then_ns: int) -> None:
        super().__init__()
        self._behind_ns = self.time_ns() - then_ns

    def time_ns(self) -> int:
        return super().time_ns() - getattr(self, "_behind_ns", 0)


class Told(NamedTuple):
    """What a recording says, without what is the recorder's own."""

    payloads: list[tuple[str, bytes]]
    messages: list[Message]
    digest: str
    replies: Counter[bytes]


def plain(message: Message) -> Message:
    """A message without what is the recorder's own."""
    return msgspec.structs.replace(message, ts_recv=0, capture_seq=0, sub_seq=0)


def told(
    recording: Recording,
    plain_payload: Callable[[bytes], bytes] = bytes,
    plain_message: Callable[[Message], Message] = plain,
) -> Told:
    """What a recording says; the others take from frames and messages what is of a connection."""
    payloads: list[tuple[str, bytes]] = []
    messages: list[Message] = []
    replies: Counter[bytes] = Counter()
    roles: dict[int, str] = {}
    normalizer = Normalizer.for_sources(recording.manifest.sources)
    tracker, chain = OrderBookTracker(checked=True), DigestChain()
    for batch in recording.raw_frames():
        for frame in batch:
            if frame.kind == CONTROL:
                details = msgspec.json.decode(frame.payload)
                roles[frame.conn_id] = details.get("role", "") or roles.get(frame.conn_id, "")
            made = [plain_message(each) for each in normalizer.messages(frame) if not isinstance(each, StreamEvent)]
            if frame.kind == WS_IN and not frame.payload.startswith(ANSWERS):
                payloads.append((roles[frame.conn_id], plain_payload(frame.payload)))
                for message in made:
                    messages.append(message)
                    chain.update(message, tracker.apply(message))
            else:
                replies.update(msgspec.json.encode([type(each).__name__, each]) for each in made)
    return Told(payloads, messages, chain.hexdigest(), replies)


async def embedded_session(folder: Path, venue: str, pairs: tuple[str, ...], frames: int = 150) -> Recording:
    """A session with the embedded venue, recorded by the live code until it has so many frames."""
    clock = SystemClock()
    market = MarketOptions(block_ns=50 * NS_PER_MS)
    async with asyncio.timeout(HANG_S), EmbeddedVenue(venue=venue, seed=5, clock=clock, market=market) as embedded:
        request = VenueRequest(
            spec=find_venue(venue),
            options=ProtocolOptions(pairs=pairs),
            ws_url=embedded.ws_url,
            rest_url=embedded.rest_url,
        )
        options = RecorderOptions(folder=folder, venues=(request,), disk_free_min=0)
        recorder = Recorder(options=options, clock=clock)
        run = asyncio.get_running_loop().create_task(recorder.run())
        while recorder.status.frame_count < frames and not run.done():  # noqa: ASYNC110 -- nobody tells of it
            await asyncio.sleep(0.01)
        recorder.stop()
        await run
    return Recording.open(folder)


async def record_of(recording: Recording, folder: Path, wanted: ProtocolOptions, streams: int) -> Recording:
    """
    Serve a recording, and record it with the live code.

    Args:
        recording: Recording of one venue.
        folder: For the new one.
        wanted: Venues and pairs to record.
        streams: How many subscriptions that makes at the server.
    """
    venue = recording.manifest.sources[0].venue
    options = ServerOptions(start="told")
    async with (
        asyncio.timeout(HANG_S),
        TapeServer([recording], clock=SystemClock(), deck=DeckOptions(speed=None), options=options) as server,
    ):
        request = VenueRequest(
            spec=find_venue(venue),
            options=wanted,
            ws_url=server.ws_url_of(venue),
            rest_url=server.rest_url_of(venue),
        )
        recorder = Recorder(
            options=RecorderOptions(folder=folder, venues=(request,), disk_free_min=0),
            clock=ClockOfThen(server.deck.tape.first_ns),
        )
        run = asyncio.get_running_loop().create_task(recorder.run())

        async def until(count: int) -> None:
            # The recorder tells nobody of a frame that says nothing.
            while recorder.status.frame_count < count and not run.done():  # noqa: ASYNC110
                await asyncio.sleep(0)

        await settled(server, recorder, run, streams)
        player, deck = server.deck.player, server.deck
        while True:
            taken, delivered = recorder.status.frame_count, deck.delivered_count
            if not player.step_frame():
                break
            server.flush()
            await until(taken + deck.delivered_count - delivered)
        recorder.stop()
        await run
    return Recording.open(folder)


async def settled(server: TapeServer, recorder: Recorder, run: asyncio.Task[Any], streams: int) -> None:
    """Until the recorder has subscribed everything and nothing more happens."""
    quiet, last = 0, -1
    while quiet < 5 and not run.done():
        await asyncio.sleep(0.05)
        count = recorder.status.frame_count
        quiet = quiet + 1 if count == last and server.deck.subscription_count >= streams else 0
        last = count


def final_books(recording: Recording) -> dict[str, tuple[Columns, Columns]]:
    """Both sides of every book at the end of a recording."""
    normalizer = Normalizer.for_sources(recording.manifest.sources)
    tracker = OrderBookTracker(checked=True)
    for batch in recording.raw_frames():
        for frame in batch:
            for message in normalizer.messages(frame):
                tracker.apply(message)
    books = {pair: tracker.book(pair) for pair in tracker.trading_pairs}
    return {pair: (book.bids.columns(), book.asks.columns()) for pair, book in books.items()}
