"""What tests of Binance's compiled code share: sessions made by hand, real captures, and both ways through them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import msgspec
import pytest

from recordings.importing.capture_files import CaptureFile
from tests.recordings.batch_tapes import Outcome, by_batch, one_by_one
from tests.toolkit.venues.binance_harness import MS, exchange_info, listed
from toolkit.frames import CONTROL, DAMAGED, REST_IN, REST_OUT, WS_IN, Frame, control_payload
from toolkit.protocol import ProtocolOptions

__all__ = ["CAPTURES", "REPLACEMENTS", "STEPS", "Tape", "both", "capture", "renumbered"]

CAPTURES = {
    "binance-usdm": ["usdm_btcusdt_20240808.gz"],
    "binance-coinm": ["coinm_btcusd_perp_20240808.gz", "coinm_btcusd_perp_20240809.gz"],
    "binance-spot": ["spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"],
}


def both(
    venue: str,
    frames: Sequence[Frame],
    cuts: Sequence[int],
    options: ProtocolOptions | None = None,
    *,
    in_files: bool = False,
) -> tuple[Outcome, int]:
    """The one outcome of both ways, and how many frames compiled code took."""
    with tempfile.TemporaryDirectory() as folder:
        expected = one_by_one(Path(folder, "plain"), [venue], frames, options, in_files=in_files)
        found, taken = by_batch(Path(folder, "batch"), [venue], frames, cuts, options, in_files=in_files)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == theirs
    return found, taken


def capture(folder: Path, venue: str, count: int | None = None) -> list[Frame]:
    """A list of its own of the frames of a venue's captures, or of the first ones."""
    return list(_capture(folder, venue, count))


@cache
def _capture(folder: Path, venue: str, count: int | None) -> list[Frame]:
    found: list[Frame] = []
    for number, name in enumerate(CAPTURES[venue]):
        path = folder / "binance" / name
        if not path.is_file():
            pytest.skip(f"no capture {path}")
        for line in CaptureFile(path, "collector"):
            assert line.ts_recv is not None
            found.append(Frame(len(found), line.ts_recv, line.ts_recv, venue, number, 0, WS_IN, line.payload))
            if count is not None and len(found) == count:
                return found
    return found


def renumbered(frames: Sequence[Frame]) -> list[Frame]:
    return [msgspec.structs.replace(frame, capture_seq=number) for number, frame in enumerate(frames)]


# -- a session made here ---------------------------------------------------------------------------------------------


class Tape:
    """A futures or spot session of some instruments whose diffs, quotes and trades follow each other."""

    def __init__(self, venue: str, symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT")) -> None:
        self.venue = venue
        self.is_spot = venue == "binance-spot"
        self.frames: list[Frame] = []
        self.now = MS
        self.last = {symbol: 1000 + 4000 * number for number, symbol in enumerate(symbols)}
        self.trade = dict.fromkeys(symbols, 0)
        self.number = dict.fromkeys(symbols, 0)

    def add(self, payload: bytes, kind: str = WS_IN, conn_id: int = 0, context: str | None = None) -> None:
        ts = self.now * 1_000_000
        self.frames.append(Frame(len(self.frames), ts, ts + 7, self.venue, conn_id, 0, kind, payload, context))

    def stream(self, name: str, data: str) -> None:
        self.now += 3
        self.add(b'{"stream":"%s","data":%s}' % (name.encode(), data.encode()))

    def snapshot(self, symbol: str, conn_id: int, ahead: int = 0) -> None:
        body = f'{{"lastUpdateId":{self.last[symbol] + ahead},"bids":[["100.10","1"],["99.5","2"]],"asks":[["100.20","3"]]}}'
        context = msgspec.json.encode({"tag": f"depth:{symbol}", "status": 200}).decode()
        self.add(body.encode(), REST_IN, -1, context)

    def diff(self, symbol: str, bids: str = '["100.00","1.5"]', asks: str = '["100.30","0.5"]', skip: int = 0) -> None:
        before = self.last[symbol]
        first = before + 1 + skip
        last = first + 4
        self.last[symbol] = last
        middle = f'"U":{first},"u":{last}' + ("" if self.is_spot else f',"pu":{before + skip}')
        time = f'"E":{self.now}' + ("" if self.is_spot else f',"T":{self.now - 1}')
        data = f'{{"e":"depthUpdate",{time},"s":"{symbol}",{middle},"b":[{bids}],"a":[{asks}]}}'
        self.stream(f"{symbol.lower()}@depth@100ms", data)

    def quote(self, symbol: str, bid: str = "100.1", ask: str = "100.2", sizes: tuple[str, str] = ("1", "2")) -> None:
        time = "" if self.is_spot else f',"T":{self.now},"E":{self.now}'
        data = (
            f'{{"e":"bookTicker","u":{self.last[symbol]},"s":"{symbol}","b":"{bid}","B":"{sizes[0]}",'
            f'"a":"{ask}","A":"{sizes[1]}"{time}}}'
        )
        self.stream(f"{symbol.lower()}@bookTicker", data)

    def trades(self, symbol: str, back: int = 0, more: str = "", skip: int = 0) -> None:
        self.trade[symbol] += 1 + skip
        number = self.trade[symbol] - back
        data = f'{{"e":"trade","E":{self.now},"T":{self.now},"s":"{symbol}","t":{number},"p":"100.2","q":"0.1","m":true{more}}}'
        self.stream(f"{symbol.lower()}@trade", data)

    def swapped(self, symbol: str, count: int = 2) -> None:
        """So many trades of consecutive numbers, the last one first."""
        last = self.trade[symbol] + count
        for number in (last, *range(last - count + 1, last)):
            self.trade[symbol] = number - 1
            self.trades(symbol)
        self.trade[symbol] = last

    def aggregates_swapped(self, symbol: str) -> None:
        """Two aggregates, the second one first."""
        first, number = self.trade[symbol] + 1, self.number[symbol]
        self.trade[symbol] = first + 2
        self.number[symbol] = number + 1
        self.aggregate(symbol)
        self.trade[symbol] = first
        self.number[symbol] = number
        self.aggregate(symbol)
        self.trade[symbol], self.number[symbol] = first + 3, number + 2

    def aggregate(self, symbol: str, ahead: int = 0, skip: int = 0, back: int = 0) -> None:
        self.number[symbol] += 1 + skip
        first = max(self.trade[symbol] + ahead, 0)
        data = (
            f'{{"e":"aggTrade","E":{self.now},"a":{max(self.number[symbol] - back, 0)},"s":"{symbol}","p":"100.2",'
            f'"q":"0.1","f":{first},"l":{first + 1},"T":{self.now},"m":false}}'
        )
        self.stream(f"{symbol.lower()}@aggTrade", data)


#: What happens in a session, by a short name.
STEPS: dict[str, Callable[[Tape, str], None]] = {
    "diff": lambda tape, symbol: tape.diff(symbol),
    "best removed": lambda tape, symbol: tape.diff(symbol, '["100.10","0.000"],["100.05","4"]', '["100.20","0"]'),
    "finer price": lambda tape, symbol: tape.diff(symbol, '["99.123","7"]', '["100.4567","1"]'),
    "very fine price": lambda tape, symbol: tape.diff(symbol, '["0.000000001","7"]', '["123456.789","1"]'),
    "crossed": lambda tape, symbol: tape.diff(symbol, '["100.50","7"]', '["100.40","1"]'),
    "emptied": lambda tape, symbol: tape.diff(
        symbol, '["100.10","0"],["99.5","0"],["100.00","0"],["100.05","0"]', '["100.20","0"],["100.30","0"]'
    ),
    "many levels": lambda tape, symbol: tape.diff(
        symbol,
        ",".join(f'["{90 + number / 16:.4f}","{number}"]' for number in range(160)),
        ",".join(f'["{101 + number * 37}","{number % 5}"]' for number in range(300)),
    ),
    "one side": lambda tape, symbol: tape.diff(symbol, asks=""),
    "no level": lambda tape, symbol: tape.diff(symbol, "", ""),
    "gap": lambda tape, symbol: tape.diff(symbol, skip=9),
    "snapshot": lambda tape, symbol: tape.snapshot(symbol, 0),
    "snapshot asked": lambda tape, symbol: tape.add(
        b"", REST_OUT, -1, msgspec.json.encode({"tag": f"depth:{symbol}"}).decode()
    ),
    "quote": lambda tape, symbol: tape.quote(symbol),
    "quote beyond the snapshot": lambda tape, symbol: tape.quote(symbol, "90", "120"),
    "empty quote": lambda tape, symbol: tape.quote(symbol, "0.00", "100.2"),
    "trade": lambda tape, symbol: tape.trades(symbol),
    "trade again": lambda tape, symbol: tape.trades(symbol, back=3),
    "trades missing": lambda tape, symbol: tape.trades(symbol, skip=4),
    "trade late": lambda tape, symbol: tape.trades(symbol, skip=2, back=2),
    "trades swapped": lambda tape, symbol: tape.swapped(symbol),
    "three trades swapped": lambda tape, symbol: tape.swapped(symbol, 3),
    "aggregates swapped": lambda tape, symbol: tape.aggregates_swapped(symbol),
    "quote of no size": lambda tape, symbol: tape.quote(symbol, sizes=("0.000", "2")),
    "ask of no size": lambda tape, symbol: tape.quote(symbol, sizes=("1", "0")),
    "trades of nothing": lambda tape, symbol: tape.trades(symbol, more=',"X":"NA","p":"0","q":"0"'),
    "trade of another": lambda tape, symbol: tape.trades(symbol, more=',"s":"LTCUSDT"'),
    "trade beyond the snapshot": lambda tape, symbol: tape.trades(symbol, more=',"p":"90"'),
    "trades anew": lambda tape, symbol: tape.trade.__setitem__(symbol, 0),
    "aggregate ahead": lambda tape, symbol: tape.aggregate(symbol, ahead=1),
    "aggregate far ahead": lambda tape, symbol: tape.aggregate(symbol, ahead=5),
    "aggregate behind": lambda tape, symbol: tape.aggregate(symbol, ahead=-4),
    "aggregates missing": lambda tape, symbol: tape.aggregate(symbol, ahead=1, skip=3),
    "aggregate again": lambda tape, symbol: tape.aggregate(symbol, back=2),
    "order beyond the snapshot": lambda tape, symbol: tape.diff(symbol, '["120","1"]', ""),
    "no order beyond the snapshot": lambda tape, symbol: tape.diff(symbol, '["120","0"]', '["90","0"]'),
    "snapshot ahead": lambda tape, symbol: tape.snapshot(symbol, 0, ahead=7),
    "snapshot within": lambda tape, symbol: tape.snapshot(symbol, 0, ahead=-2),
    "liquidation trade": lambda tape, symbol: tape.trades(symbol, more=',"X":"INSURANCE_FUND"'),
    "market trade": lambda tape, symbol: tape.trades(symbol, more=',"X":"MARKET"'),
    "aggregate": lambda tape, symbol: tape.aggregate(symbol),
    "mark price": lambda tape, symbol: tape.stream(
        f"{symbol.lower()}@markPrice@1s", f'{{"e":"markPriceUpdate","E":{tape.now},"s":"{symbol}","p":"100","T":0}}'
    ),
    "long decimal": lambda tape, symbol: tape.diff(
        symbol, '["100.0000000000000001","1"]', '["100.30","0.123456789012345678"]'
    ),
    "digits at the limit": lambda tape, symbol: tape.diff(symbol, '["99.12345678901","12.3456789012345"]', ""),
    "other kind": lambda tape, symbol: tape.add(b"", CONTROL + "!"),
    "lost": lambda tape, symbol: tape.add(control_payload("disconnected", cause="reset"), CONTROL),
    "silent": lambda tape, symbol: tape.add(
        control_payload("stale", symbol=symbol, stream="full", cause="silence"), CONTROL
    ),
    "session end": lambda tape, symbol: tape.add(control_payload("session_end", cause="stop"), CONTROL),
    "listed": lambda tape, symbol: tape.add(
        exchange_info(listed("BTCUSDT", "BTC", "USDT"), listed("ETHUSDT", "ETH2", "USDT")),
        REST_IN,
        -1,
        msgspec.json.encode({"tag": "exchangeInfo", "status": 200}).decode(),
    ),
    "quotes of all": lambda tape, symbol: tape.stream(
        "!bookTicker",
        f'{{"e":"bookTicker","u":{tape.last[symbol]},"s":"{symbol}","b":"100.0","B":"5","a":"100.4","A":"6","T":{tape.now}}}',
    ),
    "another spelling": lambda tape, symbol: tape.stream(
        f"{symbol}@bookTicker",
        f'{{"e":"bookTicker","u":{tape.last[symbol]},"s":"{symbol}","b":"100.0","B":"7","a":"100.4","A":"8","T":{tape.now}}}',
    ),
    "partial book": lambda tape, symbol: tape.stream(
        f"{symbol.lower()}@depth5@100ms",
        f'{{"e":"depthUpdate","E":{tape.now},"T":{tape.now},"s":"{symbol}","U":1,"u":2,"pu":0,'
        '"b":[["100.00","1.5"]],"a":[["100.30","0.5"]],"lastUpdateId":7,"bids":[],"asks":[]}',
    ),
    "snapshot in the stream": lambda tape, symbol: tape.stream(
        f"{symbol.lower()}@depthSnapshot",
        f'{{"lastUpdateId":{tape.last[symbol]},"bids":[["100.10","1"],["99.5","2"]],"asks":[["100.20","3"]]}}',
    ),
    "unnamed snapshot": lambda tape, symbol: tape.add(
        f'{{"lastUpdateId":{tape.last[symbol]},"bids":[["100.10","1"]],"asks":[["100.20","3"]]}}'.encode()
    ),
    "open interest": lambda tape, symbol: tape.add(
        f'{{"openInterest":"12.5","symbol":"{symbol}","time":{tape.now}}}'.encode(),
        REST_IN,
        -1,
        msgspec.json.encode({"tag": f"openInterest:{symbol}", "status": 200}).decode(),
    ),
    "damaged": lambda tape, symbol: tape.add(b"\xff{", DAMAGED),
    "not utf-8": lambda tape, symbol: tape.add(b'{"stream":"btcusdt@trade","data":{"\xff":1}}'),
    "later": lambda tape, symbol: setattr(tape, "now", tape.now + 61_000),
    "much later": lambda tape, symbol: setattr(tape, "now", tape.now + 899_000),
}


#: Changes that keep a frame well-formed and change what it means, or nearly do.
REPLACEMENTS = [
    (b'"E":', b'"E":0,"E":'),
    (b'"u":', b'"u":-'),
    (b'"u":', b'"v":1,"u":'),
    (b'"u":', b'"u":1e3,"w":'),
    (b'"b":[', b'"b":[["100","1","2"],'),
    (b'"b":[', b'"b":[["1e3","1"],'),
    (b'"b":[', b'"b":[["0","1"],'),
    (b'"b":[', b'"b":[["-1","1"],'),
    (b'"b":[', b'"b":[["nan","1"],'),
    (b'"b":[', b'"b":[[100,1],'),
    (b'"b":[', b'"b":[["007","1"],'),
    (b'"b":[', b'"x":{"y":[1]},"b":['),
    (b'"b":[', b'"x":"1234567890.1234567","b":['),
    (b'"m":true', b'"m":null'),
    (b'"m":true', b'"m":"true"'),
    (b'"T":', b'"T":"1","Z":'),
    (b'"T":17', b'"T":99'),
    (b'"p":"', b'"p":"0","r":"'),
    (b'"X":"MARKET"', b'"X":"ADL"'),
    (b'"X":"MARKET"', b'"X":null'),
    (b'"X":"MARKET"', b'"X":"\\u0041"'),
    (b'{"stream":"', b'{ "stream":"'),
    (b"}}", b"}} "),
    (b"}}", b'},"more":1}'),
    (b"@depth", b"@Depth"),
    (b'"s":"BTC', b'"s":"\xc3\xa9BTC'),
    (b'"s":"', b'"s":null,"q2":"'),
    (b'"s":"', b'"s":"X'),
    (b'"s":"', b'"s":"","q2":"'),
    (b'"s":"BTC', b'"s":"btc'),
    (b'"e":"', b'"e":"x'),
    (b'"e":"trade"', b'"e":"aggTrade"'),
    (b'"e":"depthUpdate"', b'"e":"bookTicker"'),
    (b'"t":', b'"t":1.0,"w":'),
    (b'"u":', b'"u":1.0,"w":'),
    (b'"T":', b'"T":1723161256000.0,"w":'),
    (b'"m":true', b'"m":"1"'),
    (b'"m":true', b'"m":1'),
    (b'"E":', b'"unused":"\xff","E":'),
]
