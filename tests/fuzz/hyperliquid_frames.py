"""Sessions of Hyperliquid at random: books in two forms, quotes and trades, on one connection or on one for each role."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from recordings.importing.capture_files import CaptureFile
from toolkit.frames import CONTROL, REST_IN, REST_OUT, WS_IN, WS_OUT, Frame, control_payload

__all__ = ["TEXTS", "VENUE", "Session", "hyperliquid_capture", "hyperliquid_session"]

VENUE: Final = "hyperliquid"
MS: Final = 1_000_000
_START_MS: Final = 1_785_000_000_000
_CAPTURES: Final = (
    ("archive_20240101_12_l2Book_BTC.lz4", "archive"),
    ("outcome_markets_2026/ws_l2book.jsonl", "jsonl"),
    ("outcome_markets_2026/ws_bbo.jsonl", "jsonl"),
    ("outcome_markets_2026/ws_trades.jsonl", "jsonl"),
)
#: Changes of text that keep a frame well-formed and change what it means, or nearly do.
TEXTS: Final = (
    (b'"n":', b'"n":-'),
    (b'"n":', b'"n":2147483647'),
    (b'"n":1', b'"n":"1"'),
    (b'"px":"', b'"px":"0'),
    (b'"px":"', b'"px":"-'),
    (b'"px":"', b'"sz":"'),
    (b'"sz":"', b'"sz":"0","sz":"'),
    (b'"sz":"', b'"n":1,"sz":"'),
    (b'"px":"', b'"px": "'),
    (b'"time":', b'"time":1'),
    (b'"time":1785', b'"time":1784'),
    (b'"time":1785', b'"time":1785.'),
    (b'"coin":"', b'"coin":"B'),
    (b'"coin":"BTC"', b'"coin":"\\u0042TC"'),
    (b'"coin":"BTC"', b'"coin":"ETH"'),
    (b'"coin":"BTC"', b'"coin":"1234567890123456"'),
    (b'"data":{', b'"data":{"coin":"ETH",'),
    (b'"levels":[[', b'"levels":[[],['),
    (b'"levels":', b'"fast":true,"levels":'),
    (b'"levels":', b'"fast":false,"levels":'),
    (b'"levels":', b'"spread":null,"levels":'),
    (b'"levels":', b'"spread":"0.5","levels":'),
    (b'"levels":', b'"more":[],"levels":'),
    (b"},{", b"},null,{"),
    (b'"bbo":[', b'"bbo":[null,'),
    (b'"bbo":[{', b'"bbo":[{"x":1,'),
    (b'"side":"B"', b'"side":"A"'),
    (b'"side":"A"', b'"side":"C"'),
    (b'"tid":', b'"tid":0'),
    (b'"tid":', b'"tid":99999999999999999'),
    (b'"hash":"0x', b'"hash":"1234567890123456'),
    (b'"users":["0x', b'"users":["'),
    (b'"channel":"l2Book"', b'"channel":"bbo"'),
    (b'"channel":"bbo"', b'"channel":"pong","channel":"bbo"'),
    (b'{"channel"', b' {"channel"'),
    (b"}}", b"}}}"),
    (b'"', b'"\xff'),
    (b"{", b"\xef\xbb\xbf{"),
)


class _Coin:
    """One instrument: where its price is, how fine prices and sizes are."""

    def __init__(self, rng: random.Random, name: str) -> None:
        self.name = name
        self.decimals = rng.choice((0, 1, 2, 5))
        self.middle = rng.randint(300, 60_000) * rng.choice((1, 10))
        self.tids: list[tuple[int, int]] = []

    def level(self, rng: random.Random, units: int, keys: Sequence[str]) -> str:
        values = {
            "px": f'"{max(units, 1) / 10**self.decimals:.{max(self.decimals, 1)}f}"',
            "sz": f'"{rng.randint(1, 10**5) / 1000}"',
            "n": str(rng.choice((1, 2, rng.randint(0, 300)))),
        }
        return "{" + ",".join(f'"{key}":{values[key]}' for key in keys) + "}"

    def side(self, rng: random.Random, sign: int, count: int, keys: Sequence[str]) -> str:
        units, found = self.middle + sign, []
        for _ in range(count):
            found.append(self.level(rng, units, keys))
            units += sign * rng.choice((1, 1, 1, 2, 7))
        return "[" + ",".join(found) + "]"


class Session:
    """Frames of a session, with clocks that go on."""

    def __init__(self, rng: random.Random, *, is_live: bool) -> None:
        self.rng = rng
        self.frames: list[Frame] = []
        self.now_ms = _START_MS
        #: What a monotonic clock is ahead; an import has none of its own.
        self.is_live = is_live
        #: As captures of different collectors have it.
        self.keys = rng.choice((("px", "sz", "n"), ("n", "px", "sz")))
        self.coins = [_Coin(rng, name) for name in ("BTC", rng.choice(("#12", "xyz:SP500", "@107")), "kPEPE")]
        self.lags: tuple[int, ...] = rng.choice(((0, 0), (0, 600), (0, 3_000), (0, 40_000)))

    def add(self, payload: bytes, kind: str = WS_IN, conn_id: int = 0, context: str | None = None) -> None:
        ns = self.now_ms * MS + self.rng.randrange(MS)
        mono = ns - _START_MS * MS if self.is_live else ns
        self.frames.append(Frame(len(self.frames), ns, mono, VENUE, conn_id, 0, kind, payload, context))

    def send(self, channel: str, data: Any, conn_id: int = 0) -> None:
        text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
        self.add(f'{{"channel":"{channel}","data":{text}}}'.encode(), conn_id=conn_id)

    def _time(self) -> int:
        """The venue's, which may be behind that of another form, and is in steps of a block."""
        return (self.now_ms - self.rng.choice(self.lags) - 300) // 70 * 70

    def book(self, coin: _Coin, *, is_fast: bool) -> None:
        rng, most = self.rng, 5 if is_fast else 20
        count = most if rng.random() < 0.9 else rng.randint(0, most + 1)
        asks = most if rng.random() < 0.9 else rng.randint(0, most + 1)
        flag = ',"fast":true' if is_fast and not (self.is_live and rng.random() < 0.5) else ""
        sides = f"[{coin.side(rng, -1, count, self.keys)},{coin.side(rng, 1, asks, self.keys)}]"
        data = f'{{"coin":"{coin.name}","time":{self._time()},"levels":{sides}{flag}}}'
        self.send("l2Book", data, 1 if self.is_live and not is_fast else 0)

    def quote(self, coin: _Coin) -> None:
        rng = self.rng
        sides = [coin.level(rng, coin.middle + sign * rng.choice((1, 1, 1, 0, 3)), self.keys) for sign in (-1, 1)]
        for place in (0, 1):
            if rng.random() < 0.03:
                sides[place] = "null"
        self.send("bbo", f'{{"coin":"{coin.name}","time":{self._time()},"bbo":[{",".join(sides)}]}}')

    def trades(self, coin: _Coin) -> None:
        rng, found = self.rng, []
        for _ in range(rng.choice((1, 1, 1, 2, 9))):
            if coin.tids and rng.random() < 0.02:
                time, tid = rng.choice(coin.tids[-80:])
            else:
                time, tid = self._time(), rng.choice((rng.randint(1, 10**15), rng.randint(1, 5)))
            coin.tids.append((time, tid))
            price = max(coin.middle + rng.randint(-1, 1), 1) / 10**coin.decimals
            trade = {
                "coin": coin.name,
                "side": rng.choice("AB"),
                "px": f"{price:.{max(coin.decimals, 1)}f}",
                "sz": str(rng.randint(1, 10**5) / 1000),
                "time": time,
                "hash": f"0x{rng.randrange(16**64):064x}",
                "tid": tid,
                "users": [f"0x{rng.randrange(16**40):040x}" for _ in range(2)],
            }
            if self.keys[0] == "n":
                trade = dict(sorted(trade.items()))
            found.append(trade)
        self.send("trades", found)

    def context(self, coin: _Coin) -> None:
        self.send(
            "activeAssetCtx", {"coin": coin.name, "ctx": {"markPx": "1.5", "funding": "0.0001", "oraclePx": "1.4"}}
        )

    # -- what is out of the ordinary ----------------------------------------------------------------------------

    def pong(self, _: _Coin) -> None:
        self.add(b'{"method":"ping"}', WS_OUT)
        self.add(b'{"channel":"pong"}')

    def acknowledged(self, coin: _Coin) -> None:
        words = {"type": self.rng.choice(("trades", "bbo", "l2Book")), "coin": coin.name}
        self.send("subscriptionResponse", {"method": "subscribe", "subscription": words})

    def subscribed(self, coin: _Coin) -> None:
        words = {"method": "subscribe", "subscription": {"type": "trades", "coin": coin.name}}
        self.add(json.dumps(words, separators=(",", ":")).encode(), WS_OUT)

    def reconnected(self, _: _Coin) -> None:
        conn_id = self.rng.choice((0, 1))
        role = "depth" if conn_id else "main"
        self.add(control_payload("disconnected", cause="x"), CONTROL, conn_id)
        self.now_ms += self.rng.choice((10, 4_000, 70_000))
        self.add(control_payload("connected", role=role), CONTROL, conn_id)

    def stale(self, coin: _Coin) -> None:
        stream = self.rng.choice(("full", "fast", "bbo", "trades"))
        self.add(control_payload("stale", symbol=coin.name, stream=stream, cause="silence"), CONTROL)

    def asked(self, coin: _Coin) -> None:
        """A book that was asked for."""
        sides = f"[{coin.side(self.rng, -1, 20, self.keys)},{coin.side(self.rng, 1, 20, self.keys)}]"
        body = f'{{"coin":"{coin.name}","time":{self._time()},"levels":{sides}}}'
        context = json.dumps({"tag": f"l2Book:{coin.name}", "status": 200})
        self.add(body.encode(), REST_IN, -1, context)

    def rates(self, coin: _Coin) -> None:
        context = json.dumps({"tag": f"fundingHistory:{coin.name}", "status": 200})
        self.add(b"{}", REST_OUT, -1, context)
        row = {"coin": coin.name, "fundingRate": "0.0001", "premium": "0.1", "time": self.now_ms}
        self.add(json.dumps([row]).encode(), REST_IN, -1, context)

    def ended(self, _: _Coin) -> None:
        self.add(control_payload("session_end"), CONTROL, -1)

    def coarse(self, coin: _Coin) -> None:
        """A book with prices that are rounded, which says no more than that."""
        sides = f"[{coin.side(self.rng, -1, 20, self.keys)},{coin.side(self.rng, 1, 20, self.keys)}]"
        self.send("l2Book", f'{{"coin":"{coin.name}","time":{self._time()},"levels":{sides},"spread":"1.0"}}')

    def jumped(self, _: _Coin) -> None:
        """A clock that was set, or silence."""
        self.now_ms += self.rng.choice((-5_000, 2_500, 31_000, 100_000))


_ODD: Final[tuple[Callable[[Session, _Coin], None], ...]] = (
    Session.pong,
    Session.acknowledged,
    Session.subscribed,
    Session.reconnected,
    Session.stale,
    Session.asked,
    Session.rates,
    Session.ended,
    Session.coarse,
    Session.jumped,
)


def hyperliquid_session(rng: random.Random, count: int) -> list[Frame]:
    """So many frames, most of them such as compiled code takes."""
    session = Session(rng, is_live=rng.random() < 0.4)
    if session.is_live:
        session.add(control_payload("connected", role="main"), CONTROL, 0)
        session.add(control_payload("connected", role="depth"), CONTROL, 1)
    weights = [rng.random() + 0.02 for _ in range(4)] + [0.05]
    for which in rng.choice(((), (), (0,), (1, 2), (0, 1, 3))):
        weights[which] = 0.0
    odd = rng.choice((0.0, 0.002, 0.02, 0.2))
    pace = rng.choice((1, 20, 200, 2_000))
    while len(session.frames) < count:
        session.now_ms += rng.randint(0, pace)
        coin = rng.choice(session.coins)
        coin.middle = max(coin.middle + rng.randint(-2, 2), 50)
        if rng.random() < odd:
            rng.choice(_ODD)(session, coin)
            continue
        match rng.choices(range(5), weights)[0]:
            case 0:
                session.book(coin, is_fast=False)
            case 1:
                session.book(coin, is_fast=True)
            case 2:
                session.quote(coin)
            case 3:
                session.trades(coin)
            case _:
                session.context(coin)
    return session.frames


def hyperliquid_capture(folder: Path) -> list[list[tuple[int, bytes]]]:
    """Real frames, by file, where there are captures."""
    found = []
    for name, line_format in _CAPTURES:
        path = folder / "hyperliquid" / name
        if path.is_file():
            found.append([(line.ts_recv or 0, line.payload) for line in CaptureFile(path, line_format)])
    return found
