"""One pair on several venues, by hand: every venue's own frames in one recording, with pairs and symbols that are shared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from recordings.format.manifest import Manifest, SourceInfo, write_manifest
from recordings.recording import Recording
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.normalizer import Normalizer
from tests.tapes import SECOND, TS, bbo_frame, book_frame, trade
from tests.toolkit.venues import dydx_harness as dydx
from tests.toolkit.venues.binance_tapes import Tape
from toolkit.frames import WS_IN, Frame
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

#: Of the tape below: two pairs that share a name with others, one venue of which nothing is shared but the symbol.
KEYS = [
    ("binance-coinm", "BTC-USD"),
    ("binance-spot", "BTC-USDT"),
    ("binance-usdm", "BTC-USDT"),
    ("dydx_v4", "BTC-USD"),
    ("hyperliquid", "BTC-USD"),
    ("hyperliquid", "ETH-USD"),
]
VENUES = tuple(sorted({venue for venue, _ in KEYS}))


_Sent = tuple[bytes, str, str | None]  # payload, kind, context


def tape_of_venues(
    folder: Path,
    venues: Sequence[str] = VENUES,
    *,
    rounds: int = 6,
    start_ns: int = TS,
    crossed: Sequence[str] = (),
) -> Recording:
    """
    A recording of some venues, whose frames take turns a millisecond apart; the same frames whatever the venues.

    Hyperliquid's BTC-USD costs 100 or 101, that of dYdX 200.75, that of COIN-M 100.15 as the BTC-USDT of the other two do.
    The books of `crossed`, which are of Binance, are crossed from the second round on.
    """
    sent = {venue: _sent(venue, rounds, is_crossed=venue in crossed) for venue in VENUES}
    frames: list[Frame] = []
    for number in range(max(map(len, sent.values()))):
        for place, venue in enumerate(VENUES):
            if venue in venues and number < len(sent[venue]):
                payload, kind, context = sent[venue][number]
                ts = start_ns + (number * len(VENUES) + place) * SECOND // 1000
                conn_id = -1 if context else place
                frames.append(Frame(len(frames), ts, ts - start_ns, venue, conn_id, 0, kind, payload, context))
    sources = [SourceInfo(venue, find_venue(venue).make_protocol(ProtocolOptions()).version, ()) for venue in venues]
    normalizer = Normalizer.for_sources(sources)
    folder.mkdir()
    writer = SegmentWriter(folder, 0, normalizer)
    for frame in frames:
        writer.add(frame)
    write = writer.cut()
    assert write is not None
    manifest = Manifest(created_ns=start_ns, sources=sources, software="by hand")
    manifest.status = "sealed"
    manifest.segments = [write()]
    manifest.symbols = dict(sorted(writer.symbols.items()))
    manifest.digest = normalizer.chain.hexdigest()
    write_manifest(folder, manifest)
    return Recording.open(folder)


def _sent(venue: str, rounds: int, *, is_crossed: bool) -> list[_Sent]:
    """What a venue sends: so many rounds of book, quote and trade."""
    if venue == "hyperliquid":
        return [(msgspec.json.encode(body), WS_IN, None) for number in range(rounds) for body in _hyperliquid(number)]
    if venue == "dydx_v4":
        return [(dydx.encoded(body), WS_IN, None) for body in _dydx(rounds)]
    tape = Tape(venue)
    symbol = "BTCUSD_PERP" if venue == "binance-coinm" else "BTCUSDT"
    for counts in (tape.last, tape.trade, tape.number):
        counts[symbol] = counts["BTCUSDT"]
    tape.snapshot(symbol, 0)
    for number in range(rounds):
        price = "100.50" if is_crossed and number else "100.10"
        tape.diff(symbol, f'["{price}","{number + 1}"]')
        tape.quote(symbol)
        tape.trades(symbol)
    return [(frame.payload, frame.kind, frame.context) for frame in tape.frames]


def _hyperliquid(number: int) -> list[Any]:
    time_ms = TS // 1_000_000 + 20 * number
    bodies: list[Any] = []
    for coin, price in (("BTC", 100.0 + number % 2), ("ETH", 10.0)):
        bodies += [
            book_frame(coin, time_ms, [(price, 1.0)], [(price + 1.0, 2.0)]),
            bbo_frame(coin, time_ms, (price, 1.0), (price + 1.0, 2.0)),
            {"channel": "trades", "data": [trade(coin, number, time_ms, price)]},
            {"channel": "activeAssetCtx", "data": {"coin": coin, "ctx": {"markPx": str(price)}}},
        ]
    return bodies


def _dydx(rounds: int) -> list[Any]:
    bodies = [dydx.snapshot("BTC-USD", [("200.0", "1")], [("201.5", "2")], 0)]
    for number in range(1, 2 * rounds, 2):
        bodies.append(dydx.update("BTC-USD", [("200.0", f"{1 + number}")], [], number))
        rows = {"trades": [dydx.trade(f"{number:024x}", price="200.5")]}
        bodies.append(dydx.data("v4_trades", "BTC-USD", rows, number + 1))
    return bodies
