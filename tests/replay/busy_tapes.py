"""Recordings of everything that changes a state, as a recorder makes them: several venues, forms, gaps, unquiet clocks."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from recordings.format.manifest import Manifest, SourceInfo, write_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from recordings.states.normalizer import protocol_for
from tests.tapes import TS, bbo_frame, book_frame, trade
from toolkit.digest import DIGEST_VERSION
from toolkit.frames import CONTROL, WS_IN, WS_OUT, Frame, control_payload

MS: Final = 1_000_000
DIFFS: Final = "binance-usdm"
BOOKS: Final = "hyperliquid"


class Tape:
    """
    Frames of a session, drawn by a seed.

    Args:
        seed: Decides everything.
        start_ns: Receive time of the first frame.
        coins: Coins of Hyperliquid.
        symbols: Symbols of Binance USD-M.
        back: How often the clock steps back.
    """

    def __init__(
        self,
        seed: int,
        start_ns: int = TS,
        *,
        coins: Sequence[str] = ("BTC", "ETH"),
        symbols: Sequence[str] = (),
        back: float = 0.03,
    ) -> None:
        self._random = random.Random(seed)
        self._now = start_ns
        self._back = back
        self._coins = coins
        self._update_id = dict.fromkeys(symbols, 1000)
        self._tid = seed * 100_000
        self.frames: list[Frame] = []

    def make(self, count: int) -> list[Frame]:
        """So many frames or a few more, with a connection that is made first and closed last."""
        venues = [*([BOOKS] if self._coins else []), *([DIFFS] if self._update_id else [])]
        for venue in venues:
            self._add(venue, CONTROL, control_payload("session_start", software="test"))
            self._add(venue, CONTROL, control_payload("connected", url="ws://x", role="market"))
        for symbol in self._update_id:
            self._snapshot(symbol)
        while len(self.frames) < count:
            venue = self._random.choice(venues)
            if self._random.random() < 0.04:
                self._trouble(venue)
            elif venue == BOOKS:
                self._hyperliquid()
            else:
                self._diff()
        for venue in venues:
            self._add(venue, CONTROL, control_payload("session_end", cause="stop"))
        return self.frames

    def _add(self, venue: str, kind: str, payload: Any) -> None:
        raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        seq = len(self.frames)
        self.frames.append(Frame(seq, self._now, seq * MS, venue, 0, 0, kind, raw))
        step = self._random.random()
        # Often at one time, now and then much later, and the clock steps back.
        self._now += 0 if step < 0.3 else -7 * MS if step > 1 - self._back else self._random.randrange(1, 3 * MS)

    def _trouble(self, venue: str) -> None:
        symbol = self._random.choice([*self._coins] if venue == BOOKS else [*self._update_id])
        stream = self._random.choice(["full", "bbo", "trades", "agg:3"])
        match self._random.randrange(5):
            case 0:
                self._add(
                    venue, CONTROL, control_payload("disconnected", role="market", code=1006, reason="", error="")
                )
                self._add(venue, CONTROL, control_payload("connected", url="ws://x", role="market"))
                if venue == DIFFS:
                    for each in self._update_id:
                        self._snapshot(each)
            case 1:
                self._add(
                    venue,
                    CONTROL,
                    control_payload("stale", symbol=symbol, stream=stream, silence_s=3.0, cause="silence"),
                )
            case 2:
                self._now += 40 * MS
                self._add(venue, WS_OUT, b'{"method":"ping"}')  # no message: only the raw frames know of its time
                self._now -= 39 * MS
            case 3:
                self._add(venue, WS_IN, b'{"broken')
            case 4 if venue == DIFFS:
                self._update_id[symbol] += 50  # a hole in the numbers
                self._diff()
            case _:
                self._add(venue, CONTROL, control_payload("clock_step", delta_ns=5))

    def _hyperliquid(self) -> None:
        draw, coin = self._random, self._random.choice(list(self._coins))
        ms = self._now // MS - draw.choice([0, 0, 0, 5, 40])  # some come late
        price = 100.0 + draw.randrange(20)
        levels = draw.randrange(1, 6)
        bids = [(price - n, 1.0 + draw.randrange(5)) for n in range(levels)]
        asks = [(price + 1 + n, 0.5 + draw.randrange(5)) for n in range(levels)]
        match draw.randrange(6):
            case 0:
                self._add(BOOKS, WS_IN, book_frame(coin, ms, bids, asks))
            case 1:
                self._add(BOOKS, WS_IN, book_frame(coin, ms, bids[:3], asks[:3], fast=True))
            case 2 | 3:
                self._add(BOOKS, WS_IN, bbo_frame(coin, ms, bids[0], draw.choice([asks[0], None])))
            case 4:
                self._tid += draw.randrange(2)  # some are told twice
                self._add(BOOKS, WS_IN, {"channel": "trades", "data": [trade(coin, self._tid, ms, price)]})
            case _:
                ctx = {"markPx": str(price), "funding": "0.0001", "openInterest": "5.0"}
                self._add(BOOKS, WS_IN, {"channel": "activeAssetCtx", "data": {"coin": coin, "ctx": ctx}})

    def _snapshot(self, symbol: str) -> None:
        last = self._update_id[symbol]
        levels = [[[str(100 + side * (n + 1)), str(n + 1)] for n in range(30)] for side in (-1, 1)]
        body = {"lastUpdateId": last, "E": self._now // MS, "T": self._now // MS, "bids": levels[0], "asks": levels[1]}
        context = msgspec.json.encode({"tag": f"depth:{symbol}", "status": 200}).decode()
        seq = len(self.frames)
        self.frames.append(Frame(seq, self._now, seq * MS, DIFFS, -1, 0, "rest_in", msgspec.json.encode(body), context))

    def _diff(self) -> None:
        draw, symbol = self._random, self._random.choice(list(self._update_id))
        ms, last = self._now // MS, self._update_id[symbol]
        if draw.random() < 0.4:
            data = {
                "e": "bookTicker",
                "u": last,
                "s": symbol,
                "b": "99",
                "B": "1",
                "a": "101",
                "A": "2",
                "T": ms,
                "E": ms,
            }
        else:
            self._update_id[symbol] = last + 3
            sides = [[[str(100 + side * draw.randrange(1, 40)), str(draw.randrange(4))]] for side in (-1, 1)]
            data = {"e": "depthUpdate", "E": ms, "T": ms, "s": symbol, "U": last + 1, "u": last + 3, "pu": last}
            data |= {"b": sides[0], "a": sides[1]}
        self._add(DIFFS, WS_IN, {"stream": f"{symbol.lower()}@x", "data": data})


def sealed(folder: Path, frames: Sequence[Frame], segment_frames: int) -> Recording:
    """A recording of these frames, sealed as a recorder does it, segment by segment."""
    folder.mkdir()
    manifest = Manifest(digest_version=DIGEST_VERSION)
    for venue in dict.fromkeys(frame.venue for frame in frames):
        manifest.sources.append(SourceInfo(venue, protocol_for(SourceInfo(venue, 0)).version))
    write_manifest(folder, manifest)
    sealer = Sealer(folder)
    for number, part in enumerate(_parts(frames, segment_frames)):
        JournalWriter(folder, number).close()
        sealer.seal(number, part, status="sealed")
    return Recording.open(folder)


def _parts(frames: Sequence[Frame], size: int) -> Iterator[Sequence[Frame]]:
    for start in range(0, len(frames), size):
        yield frames[start : start + size]
