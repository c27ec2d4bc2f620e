"""A session of each venue to try things on: recorded from the embedded venue, or taken from a real capture."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recordings.importing.importer import ImportOptions, import_capture
from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from recordings.recording import Recording
from recordings.states.normalizer import protocol_for
from replay.embedded import EmbeddedVenue
from toolkit.clock import SystemClock
from toolkit.frames import WS_IN, Frame
from toolkit.messages import BookDiff, BookSnapshot, FundingInfo, Message, Trade
from toolkit.protocol import ProtocolOptions, VenueProtocol
from toolkit.venue import find_venue

#: Venues that the embedded one speaks for, and what of each is recorded.
EMBEDDED: Final = {
    "hyperliquid": ("BTC-USD", "ETH-USD", "#7510"),
    "dydx_v4": ("BTC-USD", "ETH-USD"),
    "binance-usdm": ("BTC-USDT", "ETH-USDT"),
}
#: Venues of which only captures are at hand, below the shared data.
CAPTURED: Final = {
    "binance-spot": "binance/spot_btcusdt_20240808.gz",
    "binance-coinm": "binance/coinm_btcusd_perp_20240808.gz",
}
#: Frames of a capture that are enough to see everything in it.
FRAMES_MAX: Final = 2_500


@dataclass(frozen=True)
class Session:
    """A recorded session, and its frames."""

    venue: str
    recording: Recording
    frames: tuple[Frame, ...]

    def protocol(self) -> VenueProtocol:
        """A fresh protocol with the options of the session."""
        return protocol_for(self.recording.manifest.sources[0])

    def messages(self, frames: tuple[Frame, ...] | None = None) -> list[Message]:
        """What a fresh protocol makes of the session's frames, or of others."""
        protocol = self.protocol()
        return [message for frame in (self.frames if frames is None else frames) for message in protocol.receive(frame)]

    @property
    def market_frame(self) -> int:
        """Index of a received frame in the later half of the session, whose protocol is in full swing."""
        half = len(self.frames) // 2
        return next(i for i, frame in enumerate(self.frames) if i >= half and frame.kind == WS_IN)


def recorded(venue: str, folder: Path) -> Session:
    """Record the embedded venue until every pair has a book that changes, a trade and its funding."""
    asyncio.run(_record(venue, folder))
    return _session(venue, folder)


def captured(venue: str, capture: Path, folder: Path) -> Session:
    """Import a real capture."""
    import_capture([capture], folder, ImportOptions(venue=venue, line_format="collector"))
    return _session(venue, folder, FRAMES_MAX)


def _session(venue: str, folder: Path, frames_max: int | None = None) -> Session:
    recording = Recording.open(folder)
    frames = tuple(frame for batch in recording.raw_frames() for frame in batch)
    return Session(venue, recording, frames[:frames_max])


async def _record(venue: str, folder: Path) -> None:
    pairs = EMBEDDED[venue]
    async with EmbeddedVenue(venue=venue, clock=SystemClock(), seed=11) as embedded:
        request = VenueRequest(
            spec=find_venue(venue),
            options=ProtocolOptions(pairs=pairs),
            ws_url=embedded.ws_url,
            rest_url=embedded.rest_url,
        )
        recorder = Recorder(options=RecorderOptions(folder=folder, venues=(request,), backoff_seed=1))
        books: dict[str, int] = {}
        seen: set[str] = set()

        def count(message: Message) -> None:
            if isinstance(message, BookSnapshot | BookDiff):
                books[message.trading_pair] = books.get(message.trading_pair, 0) + 1
            elif isinstance(message, Trade):
                seen.add("trade")
            elif isinstance(message, FundingInfo) and message.index_price:
                seen.add("funding")
            if len(books) == len(pairs) and min(books.values()) >= 8 and len(seen) == 2:
                recorder.stop()

        recorder.dispatcher.add_callback(count)
        await recorder.run()
