"""Sessions of Binance's markets at random: what a venue sends, at any depth and precision, and what it does once a month."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from recordings.importing.capture_files import CaptureFile
from tests.fuzz.hyperliquid_frames import hyperliquid_capture
from tests.toolkit.venues.binance_tapes import CAPTURES, STEPS, Tape
from toolkit.frames import REST_IN, WS_IN, Frame

__all__ = ["VENUES", "Captures", "session"]

VENUES: Final = ("binance-spot", "binance-usdm", "binance-coinm")
#: What a file can hold: only frames that came on a WebSocket.
_STEPS: Final = sorted(STEPS)
_OTHERS: Final = (
    ("kline_1m", '{"e":"kline","E":1}'),
    ("markPrice@1s", '{"e":"markPriceUpdate","E":1723161256299,"p":"100","i":"100","r":"0.0001","T":0}'),
    ("ticker", '{"e":"24hrTicker"}'),
    ("depth20@100ms", '{"lastUpdateId":7,"bids":[["99.1","1"]],"asks":[["100.2","1"]]}'),
    ("nothing", "{}"),
)


class _Market:
    """One instrument: where its price is, how fine prices and sizes are, and how far from it levels change."""

    def __init__(self, rng: random.Random) -> None:
        self.decimals = rng.choice((0, 1, 2, 2, 4, 8))
        self.middle = rng.randint(200, 70_000) * rng.choice((1, 10, 100))
        #: Whether its venue sends prices of sixteen digits now and then, some of which are one float64: above some powers
        #: of two the next float64 is farther away than the next decimal of 16 digits.
        self.is_fine = rng.random() < 0.2
        if self.is_fine:
            self.decimals = min(self.decimals, 2)
            self.middle = rng.choice((rng.randint(8_200, 9_000), rng.randint(65_600, 90_000))) * 10**self.decimals
        self.width = rng.choice((20, 200, 2_000))
        self.size_decimals = rng.choice((0, 1, 3, 3, 5, 8))

    def price(self, units: int) -> str:
        return f"{max(units, 1) / 10**self.decimals:.{self.decimals}f}"

    def levels(self, rng: random.Random, sign: int, count: int) -> str:
        """Changed levels of a side, a third of them removed."""
        found = []
        for _ in range(count):
            away = int(rng.expovariate(4 / self.width))
            size = 0.0 if rng.random() < 0.35 else rng.randint(1, 10**6) / 10**self.size_decimals
            price = self.price(self.middle + sign * (away + 1))
            if self.is_fine and rng.random() < 0.05:
                whole, _, rest = price.partition(".")
                price = f"{whole}.{rest:0<{15 - len(whole)}}{rng.randint(0, 3)}"
            found.append(f'["{price}","{size:.{self.size_decimals}f}"]')
        return ",".join(found)


def session(rng: random.Random, count: int) -> Tape:
    """So many frames of a market of two instruments, most of them such as compiled code takes."""
    tape = Tape(rng.choice(VENUES))
    markets = {symbol: _Market(rng) for symbol in tape.last}
    weights = [rng.random() + 0.05 for _ in range(4)]
    #: How often something is out of the ordinary: some sessions are calm, and compiled code has long runs.
    odd = rng.choice((0.0, 0.002, 0.02, 0.2))
    deep = rng.choice((2, 10, 40))
    for symbol, market in markets.items():
        tape.diff(symbol, market.levels(rng, -1, 2), market.levels(rng, 1, 2))
        _snapshot(tape, symbol, market, rng)
    while len(tape.frames) < count:
        symbol = rng.choice(list(tape.last))
        market = markets[symbol]
        if rng.random() < 0.003 + odd / 4:
            _snapshot(tape, symbol, market, rng)
        if rng.random() < odd:
            if rng.random() < 0.6:
                STEPS[rng.choice(_STEPS)](tape, symbol)
            else:
                name, data = rng.choice(_OTHERS)
                tape.stream(f"{symbol.lower()}@{name}", data)
            continue
        market.middle = max(market.middle + rng.randint(-3, 3), 100)
        match rng.choices(range(4), weights)[0]:
            case 0:
                bids, asks = (rng.randint(0, deep) for _ in range(2))
                tape.diff(symbol, market.levels(rng, -1, bids), market.levels(rng, 1, asks))
            case 1:
                tape.quote(symbol, market.price(market.middle - 1), market.price(market.middle + 1))
            case 2:
                tape.trades(symbol)
            case _:
                tape.aggregate(symbol)
    return tape


def _snapshot(tape: Tape, symbol: str, market: _Market, rng: random.Random) -> None:
    """A whole book as REST answers it, or as captures have it in a stream of its own."""
    depth = rng.choice((3, 20, 300, 1_000))
    sides = []
    for sign in (-1, 1):
        away = sorted(rng.sample(range(1, 2 + max(depth, market.width)), depth))
        prices = [market.price(market.middle + sign * step) for step in away if market.middle + sign * step > 0]
        sides.append(",".join(f'["{price}","{rng.randint(1, 999)}"]' for price in prices))
    body = f'{{"lastUpdateId":{tape.last[symbol]},"bids":[{sides[0]}],"asks":[{sides[1]}]}}'
    if rng.random() < 0.5:
        tape.stream(f"{symbol.lower()}@depthSnapshot", body)
    else:
        context = msgspec.json.encode({"tag": f"depth:{symbol}", "status": 200}).decode()
        tape.add(body.encode(), REST_IN, -1, context)


class Captures:
    """Real frames, where there are captures: stretches of them that begin with a snapshot or in the middle."""

    def __init__(self, folder: Path) -> None:
        self._payloads: dict[str, list[tuple[int, bytes]]] = {}
        for venue, names in CAPTURES.items():
            paths = [folder / "binance" / name for name in names]
            if all(path.is_file() for path in paths):
                self._payloads[venue] = [
                    (line.ts_recv or 0, line.payload) for path in paths for line in CaptureFile(path, "collector")
                ]

        #: Of Hyperliquid, by file.
        self.books = hyperliquid_capture(folder)

    def book_stretch(self, rng: random.Random, count: int) -> list[Frame]:
        """Consecutive frames of Hyperliquid."""
        rows = rng.choice(self.books)
        begin = rng.randrange(max(len(rows) - count, 1))
        return [
            Frame(number, ts_recv, ts_recv, "hyperliquid", 0, 0, WS_IN, payload)
            for number, (ts_recv, payload) in enumerate(rows[begin : begin + count])
        ]

    @property
    def venues(self) -> Sequence[str]:
        """Markets of which there are frames."""
        return list(self._payloads)

    def stretch(self, rng: random.Random, count: int) -> tuple[str, list[Frame]]:
        """A market, and consecutive frames of it; the one snapshot there is goes first, where it may be joined."""
        venue = rng.choice(self.venues)
        rows = self._payloads[venue]
        first = next(index for index, (_, payload) in enumerate(rows) if payload.startswith(b'{"lastUpdateId"'))
        begin = max(first - rng.randint(0, 50), 0) if rng.random() < 0.7 else rng.randrange(max(len(rows) - count, 1))
        return venue, [
            Frame(number, ts_recv, ts_recv, venue, 0, 0, WS_IN, payload)
            for number, (ts_recv, payload) in enumerate(rows[begin : begin + count])
        ]
