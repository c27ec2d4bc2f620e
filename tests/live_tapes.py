"""Recording sessions with the embedded venue, for tests: short cadences, and a listener that can be waited on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from recordings.format.manifest import Manifest
from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from replay.embedded import EmbeddedVenue
from replay.serving.venues.hyperliquid.synthetic.venue import VenueOptions
from tests.tapes import Seen, pair_state
from toolkit.clock import NS_PER_MS, SystemClock
from toolkit.messages import EventKind, Message
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

#: Streams of every kind.
CHANNELS = ("full", "fast", "bbo", "trades", "funding", "agg:3")
QUICK = VenueOptions(book_every_ns=200 * NS_PER_MS, fast_every_ns=100 * NS_PER_MS, ctx_every_ns=150 * NS_PER_MS)


def recorder_for(folder: Path, venue: EmbeddedVenue, pairs: tuple[str, ...], **options: object) -> Recorder:
    request = VenueRequest(
        spec=find_venue("hyperliquid"),
        options=ProtocolOptions(pairs=pairs, channels=CHANNELS),
        ws_url=venue.ws_url,
        rest_url=venue.rest_url,
    )
    given = RecorderOptions(folder=folder, venues=(request,), disk_free_min=0, **options)  # type: ignore[arg-type]
    return Recorder(options=given, clock=SystemClock())


class Listener:
    """Keeps every message with the book after it, and can be waited on."""

    def __init__(self, recorder: Recorder) -> None:
        self.seen: Seen = []
        self._recorder = recorder
        self._more = asyncio.Event()
        self._is_over = False

    def __call__(self, message: Message) -> None:
        assert self._recorder.session is not None
        normalizer = self._recorder.session.normalizer
        self.seen.append((message, pair_state(normalizer.tracker, message)))
        self._more.set()

    def wake(self) -> None:
        """The session is over: nobody need wait any longer."""
        self._is_over = True
        self._more.set()

    async def until(self, kind: type[Message], count: int, event: EventKind | None = None) -> None:
        """Until so many more messages of a class (and an event's kind) have come."""

        def number() -> int:
            return sum(type(m) is kind and event in (None, getattr(m, "kind", None)) for m, _ in self.seen)

        enough = number() + count
        while number() < enough and not self._is_over:
            self._more.clear()
            await self._more.wait()


async def started(recorder: Recorder) -> tuple[asyncio.Task[Manifest], Listener]:
    """A recorder at work, and who listens to every word of it."""
    listener = Listener(recorder)
    recorder.dispatcher.add_callback(listener)
    run = asyncio.get_running_loop().create_task(recorder.run())
    run.add_done_callback(lambda _: listener.wake())
    return run, listener
