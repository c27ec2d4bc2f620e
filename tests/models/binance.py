"""
A small exact Binance market: spot, USD-M or COIN-M.

Two instruments, each with a book of some levels, trades, and on futures marks and funding rates. What the venue sends
of it is what its sheet says: diffs compare the ends of their interval, a snapshot is of one instant and has a limited
number of levels, quotes come on every change, trades and aggregates are numbered without a hole.

Prices are whole numbers of tenths; sizes are small whole numbers, so that levels come back to sizes they had.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.models.machine import SECOND, Line, Model
from toolkit.books.orderbook import BookSide
from toolkit.errors import SymbolError
from toolkit.messages import BookDiff, BookSnapshot, EventKind, FundingInfo, FundingKind, StreamEvent, Trade
from toolkit.protocol import ProtocolOptions, RestCall, VenueProtocol
from toolkit.venue import find_venue

__all__ = ["BinanceMarket"]

_WINDOW_NS: Final = SECOND // 10
#: Levels of a snapshot, of the many more that there are.
_LIMIT: Final = 7
_DEPTH: Final = 14
#: Time between two settlements; the venue's is hours, and nothing depends on it.
_FUNDING_NS: Final = 60 * SECOND
#: What happens still, now and then, of a market that grows quiet.
_LAST_NS: Final = 8 * SECOND
_VENUES: Final = ("binance-spot", "binance-usdm", "binance-coinm")

Levels = dict[int, int]


def _text(ticks: int) -> str:
    return f"{ticks / 10:.1f}"


@dataclass
class _Told:
    """What the reference knows of a symbol's trades under one numbering."""

    ids: set[int] = field(default_factory=set)
    newest: dict[str, int] = field(default_factory=dict)
    newest_ms: int = 0


class _Instrument:
    """One instrument: its book, what changed since the last diff, and its trades."""

    def __init__(self, symbol: str, pair: str, base: str, quote: str, mid: int, rng: Random) -> None:
        self.symbol, self.pair, self.base, self.quote = symbol, pair, base, quote
        self.mid = mid
        self.sides: tuple[Levels, Levels] = ({}, {})
        for step in range(1, _DEPTH + 1):
            self.sides[0][mid - step] = rng.randint(1, 3)
            self.sides[1][mid + step] = rng.randint(1, 3)
        self.last_id = rng.randrange(10**6, 10**7)
        self.sent_id = self.last_id
        self.first_id = 0
        #: Sizes at the beginning of the interval, of what changed in it.
        self.before: tuple[Levels, Levels] = ({}, {})
        self.sent_ns = 0
        self.trade_id = rng.randrange(10**6)
        self.number = rng.randrange(10**6)
        self.run: list[dict[str, Any]] = []
        self.numbering = 0
        self.newest_trade_ms = 0
        self.tick = "0.10"
        self.changed_ns = 1 << 62
        self.status = "TRADING"
        self.rates: list[tuple[int, str]] = []
        self.next_rate = "0.00010000"
        self.interest = 1
        #: Of each snapshot by its id: levels that had another size at both ends of the interval.
        self.passing: dict[int, set[tuple[int, int]]] = {}
        #: The last snapshot that was asked for, and until when it is the answer to the next request too.
        self.cached: dict[str, Any] | None = None
        self.cached_until_ns = 0


class BinanceMarket(Model):
    """See above."""

    settle_ns = 45 * SECOND
    settle_step_ns = SECOND
    actions: ClassVar[dict[str, int]] = {
        "move": 10, "renumber": 2, "change_terms": 3, "go_on": 1, "damage": 3, "fail_polls": 4,
    }  # fmt: skip

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._rng = rng
        self.venue = rng.choice(_VENUES)
        self.is_spot = self.venue == "binance-spot"
        names = (
            [("BTCUSD_PERP", "BTC-USD", "BTC", "USD"), ("ETHUSD_PERP", "ETH-USD", "ETH", "USD")]
            if self.venue == "binance-coinm"
            else [("BTCUSDT", "BTC-USDT", "BTC", "USDT"), ("ETHUSDT", "ETH-USDT", "ETH", "USDT")]
        )
        self.instruments = {name[0]: _Instrument(*name, 1000 + 500 * n, rng) for n, name in enumerate(names)}
        channels = ["full"]
        channels += [name for name in ("bbo", "trades", "agg_trades") if rng.random() < 0.7]
        if not self.is_spot:
            channels += [name for name in ("funding", "open_interest", "liquidations") if rng.random() < 0.8]
        self.channels = tuple(channels)
        self.hours = 8
        #: Lists hold an entry that nobody understands.
        self.is_odd = rng.random() < 0.5
        self._quiet_from: int | None = None
        self._marked_ns = 0
        self._settled_until = 0
        #: What the client was given, as a reference that knows no more than that would understand it.
        self.told: dict[tuple[str, int], _Told] = {}
        self.expected: list[tuple[str, str, bool]] = []
        self.missing = 0
        self.is_ambiguous = False
        self.mark: dict[str, tuple[float, float | None]] = {}
        self.coming: dict[str, int] = {}
        self.terms: dict[str, tuple[str, str]] = {}
        self.interest: dict[str, float] = {}
        #: By tag, the latest request that was answered.
        self._newest: dict[str, int] = {}
        self.hours_told = 8
        #: The period that was known when a mark came last.
        self.hours_marked: dict[str, int] = {}
        self._damaged: set[bytes] = set()

    def make_protocol(self) -> VenueProtocol:
        options = ProtocolOptions(pairs=tuple(i.pair for i in self.instruments.values()), channels=self.channels)
        return find_venue(self.venue).make_protocol(options)

    @property
    def now_ms(self) -> int:
        return self.now_ns // 1_000_000

    # -- connections -------------------------------------------------------------------------------------------

    def opened(self, line: Line) -> None:
        line.state["streams"] = []

    def receive(self, line: Line, text: bytes) -> None:
        asked = msgspec.json.decode(text)
        line.state["streams"] += [name for name in asked["params"] if name not in line.state["streams"]]
        line.send({"result": None, "id": asked["id"]})

    def lost(self, line: Line, payload: bytes) -> bool:
        # The numbers of diffs and trades tell; of everything else TCP loses nothing without breaking.
        return not any(word in payload[:64] for word in (b"@depth", b"@trade", b"@aggTrade"))

    def _send(self, instrument: _Instrument, words: str, data: dict[str, Any]) -> None:
        name = f"{instrument.symbol.lower()}@{words}"
        for line in self.machine.lines.values():
            if line.is_open and name in line.state.get("streams", ()):
                line.send({"stream": name, "data": data})

    # -- the market --------------------------------------------------------------------------------------------

    def passed(self) -> None:
        quiet = self._quiet_from is not None and self.machine.true_ns >= self._quiet_from
        for instrument in self.instruments.values():
            if quiet and self.machine.true_ns < (self._quiet_from or 0) + _LAST_NS:
                # A last diff and trade now and then, so that what is missing before them shows; the rest stands still.
                price = instrument.mid - 3 * _DEPTH
                self._set(instrument, 0, price, 1 + instrument.sides[0].get(price, 0) % 3)
                self._trade(instrument)
            if not quiet:
                for _ in range(3):
                    self._change(instrument)
                if self._rng.random() < 0.4:
                    self._trade(instrument)
            if quiet or self.machine.true_ns - instrument.sent_ns >= _WINDOW_NS:
                self._flush(instrument)
            if not quiet:
                self._change(instrument)
        self._settle_rates()
        if not self.is_spot and self.machine.true_ns - self._marked_ns >= SECOND:
            self._marked_ns = self.machine.true_ns
            for instrument in self.instruments.values():
                self._say_mark(instrument)

    def _set(self, instrument: _Instrument, side: int, price: int, size: int) -> None:
        levels = instrument.sides[side]
        if levels.get(price, 0) == size:
            return
        best = self._best(instrument)
        instrument.before[side].setdefault(price, levels.get(price, 0))
        instrument.last_id += 1 if self.is_spot else self._rng.randint(1, 4)
        instrument.first_id = instrument.first_id or instrument.last_id
        if size:
            levels[price] = size
        else:
            del levels[price]
        if self._best(instrument) != best:
            self._quote(instrument)

    def _change(self, instrument: _Instrument) -> None:
        """A level changes; often one that has changed in this interval already, and back to where it was."""
        rng = self._rng
        side = rng.randrange(2)
        if instrument.before[side] and rng.random() < 0.4:
            price, size = rng.choice(sorted(instrument.before[side].items()))
            if (price < instrument.mid) == (not side) and price != instrument.mid:
                self._set(instrument, side, price, size)
            return
        away = rng.choice([1, 1, 1, 2, 3, rng.randint(1, _DEPTH + 4)])
        price = instrument.mid + (away if side else -away)
        self._set(instrument, side, price, rng.randint(0 if len(instrument.sides[side]) > 4 else 1, 3))

    def move(self, rng: Random) -> None:
        """The price moves, by a little or by more than a snapshot covers."""
        instrument = rng.choice(list(self.instruments.values()))
        by = rng.choice([-1, 1]) * rng.choice([1, 2, 4, 9, 9, 25])
        instrument.mid += by
        side = 1 if by > 0 else 0
        for price in sorted(instrument.sides[side], reverse=not side):
            if (price <= instrument.mid) if side else (price >= instrument.mid):
                self._trade(instrument, price)
                self._set(instrument, side, price, 0)
        for away in range(1, rng.choice([0, 4]) + 1):
            self._set(instrument, 0, instrument.mid - away, rng.randint(1, 3))
            self._set(instrument, 1, instrument.mid + away, rng.randint(1, 3))

    def _best(self, instrument: _Instrument) -> tuple[Any, ...]:
        bids, asks = instrument.sides
        bid, ask = max(bids, default=0), min(asks, default=0)
        return bid, bids.get(bid), ask, asks.get(ask)

    def _times(self) -> dict[str, int]:
        return {"E": self.now_ms} if self.is_spot else {"E": self.now_ms, "T": self.now_ms}

    def _quote(self, instrument: _Instrument) -> None:
        bid, bid_size, ask, ask_size = self._best(instrument)
        data: dict[str, Any] = {"u": instrument.last_id, "s": instrument.symbol}
        data |= {"b": _text(bid), "B": str(bid_size or 0), "a": _text(ask), "A": str(ask_size or 0)}
        if not self.is_spot:
            data |= {"e": "bookTicker"} | self._times()
        self._send(instrument, "bookTicker", data)

    def _flush(self, instrument: _Instrument) -> None:
        """The interval ends: a diff of what is not what it was, and the aggregate of its trades."""
        self._aggregate(instrument)
        instrument.sent_ns = self.machine.true_ns
        changed = [
            [
                [_text(price), str(levels.get(price, 0))]
                for price, size in before.items()
                if levels.get(price, 0) != size
            ]
            for levels, before in zip(instrument.sides, instrument.before, strict=True)
        ]
        if not any(changed):
            return  # the ids go into the next one
        first = instrument.sent_id + 1 if self.is_spot else instrument.first_id
        data = {"e": "depthUpdate", "s": instrument.symbol, "U": first, "u": instrument.last_id} | self._times()
        if not self.is_spot:
            data["pu"] = instrument.sent_id
        self._send(instrument, "depth@100ms", data | {"b": changed[0], "a": changed[1]})
        instrument.sent_id, instrument.first_id = instrument.last_id, 0
        instrument.before = ({}, {})

    def _trade(self, instrument: _Instrument, price: int | None = None) -> None:
        rng = self._rng
        bid, _, ask, _ = self._best(instrument)
        is_sell = rng.random() < 0.5
        price = price or (bid if is_sell else ask)
        if not price:
            return
        instrument.trade_id += 1
        instrument.newest_trade_ms = max(instrument.newest_trade_ms, self.now_ms)
        data = {"e": "trade", "E": self.now_ms, "T": self.now_ms, "s": instrument.symbol, "t": instrument.trade_id}
        data |= {"p": _text(price), "q": str(rng.randint(1, 3)), "m": is_sell}
        if not self.is_spot:
            data["X"] = "MARKET"
        run = instrument.run
        if run and (run[-1]["p"], run[-1]["m"]) != (data["p"], is_sell):
            self._aggregate(instrument)
        instrument.run.append(data)
        self._send(instrument, "trade", data)

    def _aggregate(self, instrument: _Instrument) -> None:
        run, instrument.run = instrument.run, []
        if not run:
            return
        instrument.number += 1
        data = {"e": "aggTrade", "E": self.now_ms, "s": instrument.symbol, "a": instrument.number}
        data |= {"p": run[0]["p"], "q": str(sum(int(one["q"]) for one in run)), "f": run[0]["t"], "l": run[-1]["t"]}
        self._send(instrument, "aggTrade", data | {"T": run[-1]["T"], "m": run[0]["m"]})

    # -- funding -----------------------------------------------------------------------------------------------

    def _next_ms(self) -> int:
        return (self.machine.true_ns // _FUNDING_NS + 1) * _FUNDING_NS // 1_000_000

    def _settle_rates(self) -> None:
        """Rates are charged by the true time: the venue's clock, where it is off, is set by others."""
        at = self.machine.true_ns // _FUNDING_NS * _FUNDING_NS // 1_000_000
        if self._settled_until and at > self._settled_until:
            for instrument in self.instruments.values():
                for time in range(self._settled_until + 60_000, at + 1, 60_000):
                    instrument.rates.append((time + self._rng.randrange(5), instrument.next_rate))
                    instrument.next_rate = f"{self._rng.randint(-50, 50) / 100_000:.8f}"
        self._settled_until = max(self._settled_until, at)

    def _say_mark(self, instrument: _Instrument) -> None:
        data = {"e": "markPriceUpdate", "E": self.now_ms, "s": instrument.symbol, "p": _text(instrument.mid)}
        data |= {"i": _text(instrument.mid + 1), "r": instrument.next_rate, "T": self._next_ms()}
        self._send(instrument, "markPrice@1s", data)

    # -- what else happens -------------------------------------------------------------------------------------

    def renumber(self, rng: Random) -> None:
        """The venue starts again: its connections break and it counts again, which its times tell."""
        instrument = rng.choice(list(self.instruments.values()))
        if self.now_ms < instrument.newest_trade_ms + 6000:
            return
        if rng.random() < 0.5:
            self.machine.make_answers()
        for line in self.machine.lines.values():
            if line.is_open:
                self.machine.break_of(line)
        instrument.run = []
        instrument.numbering += 1
        instrument.trade_id = rng.randrange(instrument.trade_id // 2 + 1)
        instrument.number = rng.randrange(instrument.number // 2 + 1)
        near = instrument.last_id - 3
        instrument.last_id = instrument.sent_id = rng.choice([rng.randrange(1000), near])
        instrument.first_id, instrument.before = 0, ({}, {})
        # A snapshot of spot has no time: one of before whose number the new count comes to meets the diffs like a new one.
        is_alike = self.is_spot and instrument.last_id == near
        if rng.random() < 0.3 and not is_alike:
            instrument.cached_until_ns = self.machine.true_ns + 3 * SECOND

    def change_terms(self, rng: Random) -> None:
        """A tick, a status, the funding period."""
        instrument = rng.choice(list(self.instruments.values()))
        instrument.tick = rng.choice(["0.10", "0.05", "0.01"])
        instrument.status = rng.choice(["TRADING", "TRADING", "HALT", "gone"])
        instrument.changed_ns = self.machine.true_ns
        self.hours = rng.choice([8, 4, 1])

    def go_on(self, rng: Random) -> None:
        """More than an hour passes."""
        for _ in range(35):
            self.machine.pass_ns(120 * SECOND)
            self.machine.deliver(rng)

    def fail_polls(self, rng: Random) -> None:
        """Nothing that is asked for is answered for some minutes, while the connections live."""
        for _ in range(rng.randint(1, 8)):
            self.machine.pass_ns(30 * SECOND)
            self.machine.deliver(rng)
            for _ in range(6):
                self.machine.fail_rest(rng)

    def damage(self, rng: Random) -> None:
        """A frame arrives that is none: it is an error, and its numbers tell that it is missing."""
        for line in self.machine.lines.values():
            for place, payload in enumerate(line.in_flight):
                if not self.lost(line, payload) and rng.random() < 0.3:
                    old, new = rng.choice(
                        [(b'"s":"', b'"s":"X'), (b'"e":"', b'"e":"x'), (b'"E":', b'"E":0.5,"Z":'), (b"}", b"\xff}")]
                    )
                    line.in_flight[place] = payload.replace(old, new, 1)
                    self._damaged.add(line.in_flight[place])
                    return

    def garbled(self, payload: bytes, rng: Random) -> bytes:
        if payload in self._damaged:
            return payload
        more = rng.choice([b'"zz":{"y":[1,null]},', b'"X1":"NEW",', b'"RPI":true,', b'"n":1.5,'])
        found = payload.replace(b'"s":', more + b'"s":', 1)
        return found.replace(b'"X":"MARKET"', b'"X":"RPI"') if rng.random() < 0.3 else found

    def garbled_answer(self, tag: str, body: bytes, rng: Random) -> bytes:
        what = tag.partition(":")[0]
        if what == "exchangeInfo":
            odd = rng.choice([b'{"symbol":7},', b"null,", b'{"symbol":"NEW","baseAsset":[]},'])
            return body.replace(b'"symbols":[', b'"symbols":[' + odd, 1)
        if what in ("fundingInfo", "fundingRate"):
            return body.replace(b"[", b'[{"symbol":1},', 1) if body != b"[]" else b"[null]"
        return body.replace(b"{", b'{"new":{"field":[1]},', 1)

    # -- REST --------------------------------------------------------------------------------------------------

    def answer(self, call: RestCall) -> tuple[int, bytes]:
        url = urlsplit(call.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        return 200, msgspec.json.encode(self._answer(url.path.rpartition("/")[2], query))

    def _answer(self, what: str, query: dict[str, str]) -> Any:
        odd: list[Any] = [{"symbol": 7, "fundingRate": {}}] if self.is_odd else []
        if what == "exchangeInfo":
            rows = [self._row(one) for one in self.instruments.values() if one.status != "gone"]
            return {"symbols": [*odd, *rows, _OTHER]}
        if what == "fundingInfo":
            return odd + [{"symbol": symbol, "fundingIntervalHours": self.hours} for symbol in self.instruments]
        instrument = self.instruments[query["symbol"]]
        if what == "openInterest":
            instrument.interest += 1
            return {"symbol": instrument.symbol, "openInterest": str(instrument.interest), "time": self.now_ms}
        if what == "fundingRate":
            since, limit = int(query["startTime"]), int(query["limit"])
            rates = [(time, rate) for time, rate in instrument.rates if time >= since][:limit]
            return odd + [
                {"symbol": instrument.symbol, "fundingRate": rate, "fundingTime": time, "markPrice": "100"}
                for time, rate in rates
            ]
        assert what == "depth", what
        if instrument.cached is not None and self.machine.true_ns < instrument.cached_until_ns:
            return instrument.cached
        bids = sorted(instrument.sides[0].items(), reverse=True)[:_LIMIT]
        asks = sorted(instrument.sides[1].items())[:_LIMIT]
        instrument.passing[instrument.last_id] = {
            (side, price)
            for side, before in enumerate(instrument.before)
            for price, size in before.items()
            if instrument.sides[side].get(price, 0) != size
        }
        found: dict[str, Any] = {"lastUpdateId": instrument.last_id} | ({} if self.is_spot else self._times())
        for name, levels in (("bids", bids), ("asks", asks)):
            found[name] = [[_text(price), str(size)] for price, size in levels]
        instrument.cached = found
        return found

    def _row(self, instrument: _Instrument) -> dict[str, Any]:
        filters = [{"filterType": "PRICE_FILTER", "tickSize": instrument.tick}]
        row = {"symbol": instrument.symbol, "baseAsset": instrument.base, "quoteAsset": instrument.quote}
        name = "contractStatus" if self.venue == "binance-coinm" else "status"
        return row | {name: instrument.status, "filters": filters}

    # -- what the client was given -----------------------------------------------------------------------------

    def delivered(self, line: Line, payload: bytes) -> None:
        if payload in self._damaged:
            return
        frame = msgspec.json.decode(payload)
        words = frame.get("stream", "").partition("@")[2]
        data = frame.get("data")
        if words == "trade":
            self._was_given(data, "trade", data["t"], data["t"], data["t"], str(data["t"]))
        elif words == "aggTrade":
            self._was_given(data, "aggTrade", data["a"], data["f"], data["l"], f"a{data['a']}")
        elif words.startswith("markPrice"):
            self.mark[data["s"]] = float(data["p"]), float(data["r"])
            self.hours_marked[data["s"]] = self.hours_told
            self.coming.setdefault(data["s"], data["T"])

    def _was_given(self, data: dict[str, Any], stream: str, number: int, first: int, last: int, name: str) -> None:
        symbol = data["s"]
        numbering = self.instruments[symbol].numbering
        told = self.told.setdefault((symbol, numbering), _Told())
        # The clock was set back by more than tells a late trade from one of new numbers.
        self.is_ambiguous |= bool(told.ids) and last <= max(told.ids) and data["T"] >= told.newest_ms + 5000
        told.newest_ms = max(told.newest_ms, data["T"])
        before = self.told.get((symbol, numbering - 1))
        # The clock was set back after the numbers began again: nothing tells these trades from old ones.
        self.is_ambiguous |= before is not None and data["T"] < before.newest_ms + 5000
        newest = told.newest.get(stream)
        if newest is not None and number > newest + 1:
            self.missing += number - newest - 1
        told.newest[stream] = number if newest is None else max(newest, number)
        wanted = set(range(first, last + 1))
        is_new = not wanted & told.ids
        if is_new:
            told.ids |= wanted
        self.expected.append((symbol, name, not is_new))

    def answered(self, call: RestCall, status: int, body: bytes) -> None:
        what, _, symbol = call.tag.partition(":")
        number = self.machine.answered_number
        if status != 200 or number < self._newest.get(call.tag, -1):
            return  # the answer to a later request came before
        self._newest[call.tag] = number
        if what == "exchangeInfo":
            rows = [row for row in msgspec.json.decode(body)["symbols"] if isinstance(row, dict)]
            listed = {row.get("symbol"): row for row in rows}
            for name in self.instruments:
                row = listed.get(name)
                if row is None:
                    self.terms[name] = self.terms[name][0], "gone"
                else:
                    self.terms[name] = row["filters"][0]["tickSize"], row.get("status") or row["contractStatus"]
        elif what == "fundingInfo":
            rows = [row for row in msgspec.json.decode(body) if isinstance(row, dict)]
            self.hours_told = next(row["fundingIntervalHours"] for row in rows if row["symbol"] in self.instruments)
        elif what == "openInterest":
            self.interest[symbol] = float(msgspec.json.decode(body)["openInterest"])

    # -- comparing ---------------------------------------------------------------------------------------------

    def settling(self) -> None:
        self._quiet_from = self.machine.true_ns + self._rng.choice([0, 0, 1, 4, 25]) * SECOND

    def differences(self) -> list[str]:
        self._quiet_from = None
        found = self._trade_differences()
        for instrument in self.instruments.values():
            found += self._book_differences(instrument)
            found += self._funding_differences(instrument)
            found += self._term_differences(instrument)
        return found

    def _trade_differences(self) -> list[str]:
        if self.is_ambiguous:
            return []
        said = [(m.symbol, m.trade_id, m.is_duplicate) for m in self.machine.messages if isinstance(m, Trade)]
        if said != self.expected:
            at = next((n for n, both in enumerate(zip(said, self.expected, strict=False)) if both[0] != both[1]), -1)
            return [f"trade {at}: {said[at : at + 1]}, the reference has {self.expected[at : at + 1]}"]
        missing = sum(_missing(m.detail) for m in self.machine.messages if isinstance(m, StreamEvent))
        return [] if missing == self.missing else [f"{missing} trades are said to be missing, {self.missing} are"]

    def _book_differences(self, instrument: _Instrument) -> list[str]:
        try:
            book = self.machine.books.book(instrument.pair)
        except SymbolError:
            return []
        if book.is_stale:
            stream = self.machine.protocol.streams.get(instrument.symbol, "full")
            return [] if stream is None or not stream.is_live else [f"{instrument.pair}: a stale book, a live stream"]
        told = [m for m in self.machine.messages if isinstance(m, BookDiff | BookSnapshot) and m.form != "rest"]
        told = [m for m in told if m.symbol == instrument.symbol]
        at = max(n for n, m in enumerate(told) if isinstance(m, BookSnapshot))
        base = told[at]
        after = next((m for m in told[at + 1 :] if isinstance(m, BookDiff)), None)
        unknown = self._unknowable(instrument, told[:at], base, after)
        found = []
        for side, mine in enumerate((book.bids, book.asks)):
            have = _levels(mine)
            best, truest = (max, min)[side](have, default=0), (max, min)[side](instrument.sides[side], default=0)
            if "bbo" in self.channels and best != truest and not {(side, best), (side, truest)} & unknown:
                found.append(f"{instrument.pair}: {('bid', 'ask')[side]} of {_text(best)}, the best is {_text(truest)}")
            prices = (base.bid_prices, base.ask_prices)[side]
            edge = round(prices[-1] * 10) if prices else (0, 1 << 40)[side]
            if "bbo" in self.channels and truest and ((truest < edge) if not side else (truest > edge)):
                found.append(f"{instrument.pair}: {_text(truest)} is beyond {_text(edge)}, to which the snapshot goes")
            for price in sorted(set(have) | set(instrument.sides[side])):
                is_covered = price >= edge if not side else price <= edge
                truth = instrument.sides[side].get(price, 0)
                if have.get(price, 0) == truth or (side, price) in unknown or not (is_covered or price in have):
                    continue
                found.append(f"{instrument.pair} {['bid', 'ask'][side]} {_text(price)}: {have.get(price)}, is {truth}")
        return found

    def _unknowable(
        self,
        instrument: _Instrument,
        before: list[BookDiff | BookSnapshot],
        base: BookDiff | BookSnapshot,
        after: BookDiff | None,
    ) -> set[tuple[int, int]]:
        """
        Levels of a snapshot that were passing, and that no diff of the chain before it named: nothing tells of them.

        Each size that is no longer so at the end of the interval is a level that changes once more in it, or goes back.
        """
        passing = set(instrument.passing.get(base.last_update_id or 0, ()))
        named: set[tuple[int, int]] = set()
        next_one = after
        cuts = (EventKind.DISCONNECTED, EventKind.SESSION_END)
        events = [m for m in self.machine.messages if isinstance(m, StreamEvent) and m.kind in cuts]
        since = max((m.capture_seq for m in events if m.capture_seq < base.capture_seq), default=-1)
        for message in reversed(before):
            if message.capture_seq < since:
                break
            if not isinstance(message, BookDiff) or message.form != "unjoined":
                break
            first = next_one.first_update_id if self.is_spot and next_one else None
            prev = next_one.prev_update_id if next_one else None
            last = message.last_update_id or 0
            if next_one is not None and not (first == last + 1 if self.is_spot else prev == last):
                break
            next_one = message
            if last <= (base.last_update_id or 0):
                named |= {(0, round(price * 10)) for price in message.bid_prices}
                named |= {(1, round(price * 10)) for price in message.ask_prices}
        return passing - named

    def _funding_differences(self, instrument: _Instrument) -> list[str]:
        symbol, found = instrument.symbol, []
        info = self.machine.books.funding_info(instrument.pair)
        if symbol in self.mark and (info is None or (info.mark_price, info.funding_rate) != self.mark[symbol]):
            found.append(f"{symbol}: {info and (info.mark_price, info.funding_rate)}, marked {self.mark[symbol]}")
        if symbol in self.interest and (info is None or info.open_interest != self.interest[symbol]):
            found.append(f"{symbol}: open interest {info and info.open_interest}, is {self.interest[symbol]}")
        if symbol in self.mark and info is not None and info.funding_interval_s != self.hours_marked[symbol] * 3600:
            found.append(f"{symbol}: a period of {info.funding_interval_s} s, is {self.hours_marked[symbol]} h")
        said = [
            (m.ts_event, m.funding_rate)
            for m in self.machine.messages
            if isinstance(m, FundingInfo) and m.kind is FundingKind.SETTLED and m.symbol == symbol
        ]
        if symbol not in self.coming:
            return found if not said else [*found, f"{symbol}: rates that nobody was told are owed"]
        rates = [(time * 1_000_000, float(rate)) for time, rate in instrument.rates if time >= self.coming[symbol]]
        if said != rates[: len(said)]:
            found.append(f"{symbol}: settled rates {said[-3:]}, are {rates[-3:]}")
        stream = self.machine.protocol.streams.get(symbol, "settled")
        is_stale = stream is not None and not stream.is_live
        late = [time for time, _ in rates[len(said) :] if time < self.machine.true_ns - 2 * _FUNDING_NS]
        if late and not is_stale:
            found.append(f"{symbol}: {len(late)} settled rates are missing and nothing says so")
        return found

    def _term_differences(self, instrument: _Instrument) -> list[str]:
        row = self.machine.books.instrument(instrument.pair)
        tick, status = self.terms[instrument.symbol]
        if row is None or (row.price_tick, row.is_active) != (float(tick), status == "TRADING"):
            return [f"{instrument.symbol}: terms {row and (row.price_tick, row.is_active)}, are {tick}, {status}"]
        is_old = (tick, status) != (instrument.tick, instrument.status) and status != "gone"
        stream = self.machine.protocol.streams.get("", "instruments")
        if (
            is_old
            and self.machine.true_ns - instrument.changed_ns > 3700 * SECOND
            and (stream is None or stream.is_live)
        ):
            return [f"{instrument.symbol}: terms of an hour ago, and nothing says so"]
        return []


_OTHER: Final = {"symbol": "LTCXYZ", "baseAsset": "LTC", "quoteAsset": "XYZ", "status": "TRADING"}


def _levels(side: BookSide) -> Levels:
    prices, sizes, _ = side.columns()
    return {round(price * 10): round(size) for price, size in zip(prices, sizes, strict=True)}


def _missing(detail: str) -> int:
    """How many trades an event says are missing."""
    head, _, _ = detail.partition(" numbers are missing before ")
    if head.isdecimal():
        return int(head)
    _, _, tail = detail.rpartition(": ")
    count = tail.removesuffix(" missing")
    return int(count) if detail.startswith("expected number ") and count.isdecimal() else 0
