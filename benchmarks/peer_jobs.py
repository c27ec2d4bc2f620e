"""
The jobs of other systems, run by the interpreter of their own environment; it imports nothing of tickdeck.

`python -m benchmarks.peer_jobs JOB FILE REPEATS` prints one line of JSON: how many, and the seconds of each run.
FILE has lines `<receive time, ns> <frame>`, gzip.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Final

from benchmarks.peer_nautilus import nautilus_backtest

__all__ = ["JOBS", "main"]

_BUFFER_ROWS_PER_FRAME: Final = 120


def _timed(run: Callable[[], int], repeats: int) -> dict[str, Any]:
    seconds = []
    count = run()  # to warm up: several of these compile on first use
    for _ in range(repeats):
        began = time.perf_counter()
        count = run()
        seconds.append(time.perf_counter() - began)
    return {"count": count, "seconds": seconds}


def _frame_count(path: str) -> int:
    with gzip.open(path) as file:
        return sum(1 for _ in file)


def _hftbacktest_events(path: str) -> Any:
    hyperliquid = importlib.import_module("hftbacktest.data.utils.hyperliquid")
    return hyperliquid.convert(path, 0.1, 1e-5, buffer_size=_frame_count(path) * _BUFFER_ROWS_PER_FRAME)


def hftbacktest_convert(path: str, repeats: int) -> dict[str, Any]:
    """Frames to its events, in memory."""
    frames = _frame_count(path)

    def run() -> int:
        _hftbacktest_events(path)
        return frames

    return _timed(run, repeats)


def hftbacktest_futures(path: str, repeats: int) -> dict[str, Any]:
    """Binance futures frames to its events, in memory."""
    convert = importlib.import_module("hftbacktest.data.utils.binancefutures").convert
    frames = _frame_count(path)

    def run() -> int:
        convert(path, buffer_size=frames * _BUFFER_ROWS_PER_FRAME)
        return frames

    return _timed(run, repeats)


def hftbacktest_replay(path: str, repeats: int) -> dict[str, Any]:
    """Step from plain Python through every feed event, and read the best bid and ask."""
    hbt = importlib.import_module("hftbacktest")
    events = _hftbacktest_events(path)

    def run() -> int:
        asset = (
            hbt.BacktestAsset()
            .data([events])
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0, 0)
            .tick_size(0.1)
            .lot_size(1e-5)
        )
        backtest = hbt.HashMapMarketDepthBacktest([asset])
        steps, spread_sum = 0, 0.0
        while backtest.wait_next_feed(False, 10**18) == 2:
            depth = backtest.depth(0)
            spread_sum += depth.best_ask - depth.best_bid
            steps += 1
        backtest.close()
        return steps

    return _timed(run, repeats)


def _nautilus_deltas(path: str) -> list[Any]:
    decode = importlib.import_module("msgspec").json.decode
    data = importlib.import_module("nautilus_trader.model.data")
    enums = importlib.import_module("nautilus_trader.model.enums")
    objects = importlib.import_module("nautilus_trader.model.objects")
    instrument_id = _nautilus_id()
    delta, order = data.OrderBookDelta, data.BookOrder
    price, quantity = objects.Price.from_str, objects.Quantity.from_str
    add, sides, last = enums.BookAction.ADD, (enums.OrderSide.BUY, enums.OrderSide.SELL), enums.RecordFlag.F_LAST
    result = []
    with gzip.open(path) as file:
        for line in file:
            stamp, _, frame = line.partition(b" ")
            ts_recv, book = int(stamp), decode(frame)["data"]
            ts_event = book["time"] * 1_000_000
            levels = [(side, level) for side, column in zip(sides, book["levels"], strict=True) for level in column]
            deltas = [delta.clear(instrument_id, 0, ts_event, ts_recv)]
            for number, (side, level) in enumerate(levels, 1):
                entry = order(side, price(level["px"]), quantity(level["sz"]), 0)
                flags = last if number == len(levels) else 0
                deltas.append(delta(instrument_id, add, entry, flags, 0, ts_event, ts_recv))
            result.append(data.OrderBookDeltas(instrument_id, deltas))
    return result


def _nautilus_id() -> Any:
    identifiers = importlib.import_module("nautilus_trader.model.identifiers")
    return identifiers.InstrumentId(identifiers.Symbol("BTC"), identifiers.Venue("HYPERLIQUID"))


def nautilus_convert(path: str, repeats: int) -> dict[str, Any]:
    """Frames to its delta objects, in memory."""
    return _timed(lambda: len(_nautilus_deltas(path)), repeats)


def nautilus_replay(path: str, repeats: int) -> dict[str, Any]:
    """A backtest whose strategy reads the best bid and ask on every book update."""
    engine = importlib.import_module("nautilus_trader.backtest.engine")
    config = importlib.import_module("nautilus_trader.config")
    currencies = importlib.import_module("nautilus_trader.model.currencies")
    enums = importlib.import_module("nautilus_trader.model.enums")
    instruments = importlib.import_module("nautilus_trader.model.instruments")
    objects = importlib.import_module("nautilus_trader.model.objects")
    strategy: Any = importlib.import_module("nautilus_trader.trading.strategy").Strategy
    deltas = _nautilus_deltas(path)
    instrument_id = _nautilus_id()

    class Reader(strategy):  # type: ignore[misc]  # its base is known only when it runs
        """Counts, and reads the top of the book."""

        count = 0
        spread_sum = 0.0

        def on_start(self) -> None:
            self.subscribe_order_book_deltas(instrument_id, book_type=enums.BookType.L2_MBP)

        def on_order_book_deltas(self, _: Any) -> None:
            book = self.cache.order_book(instrument_id)
            self.count += 1
            self.spread_sum += float(book.best_ask_price()) - float(book.best_bid_price())

    def prepare() -> tuple[Any, Reader]:
        runner = engine.BacktestEngine(
            engine.BacktestEngineConfig(logging=config.LoggingConfig(log_level="ERROR", bypass_logging=True))
        )
        runner.add_venue(
            instrument_id.venue,
            enums.OmsType.NETTING,
            enums.AccountType.MARGIN,
            [objects.Money(1_000_000, currencies.USDC)],
            book_type=enums.BookType.L2_MBP,
        )
        runner.add_instrument(
            instruments.CryptoPerpetual(
                *(instrument_id, instrument_id.symbol, currencies.BTC, currencies.USDC, currencies.USDC, False, 1, 5),
                *(objects.Price.from_str("0.1"), objects.Quantity.from_str("0.00001")),
                ts_event=0,
                ts_init=0,
            )
        )
        runner.add_data(deltas)
        reader = Reader()
        runner.add_strategy(reader)
        return runner, reader

    seconds, count = [], 0
    for number in range(repeats + 1):
        runner, reader = prepare()
        began = time.perf_counter()
        runner.run()
        if number:
            seconds.append(time.perf_counter() - began)
        count = reader.count
        runner.dispose()
    return {"count": count, "seconds": seconds}


def cryptofeed_convert(path: str, repeats: int) -> dict[str, Any]:
    """Binance futures frames (quotes and depth; it takes no plain trades) through its handler, in memory."""
    exchanges = importlib.import_module("cryptofeed.exchanges")
    defines = importlib.import_module("cryptofeed.defines")
    symbols = importlib.import_module("cryptofeed.symbols")
    symbols.Symbols.set(
        "BINANCE_FUTURES",
        {"BTC-USDT-PERP": "BTCUSDT"},
        {"instrument_type": {"BTC-USDT-PERP": "perpetual"}, "tick_size": {}},
    )
    snapshot, messages = "", []
    with gzip.open(path, "rt") as file:
        for line in file:
            stamp, _, frame = line.rstrip("\n").partition(" ")
            if frame.startswith('{"lastUpdateId"'):
                snapshot = frame
            elif '"e":"bookTicker"' in frame or '"e":"depthUpdate"' in frame:
                messages.append((int(stamp) / 1e9, frame))
    # Depth that came before the snapshot was asked for is older than it: the handler leaves it out.
    counts = {"books": 0, "quotes": 0}

    async def on_book(book: Any, _: float) -> None:
        counts["books"] += 1

    async def on_quote(quote: Any, _: float) -> None:
        counts["quotes"] += 1

    class Answers:
        """Stands for the REST connection: there is one answer."""

        async def read(self, _: str) -> str:
            return snapshot

    def run() -> int:
        feed = exchanges.BinanceFutures(
            symbols=["BTC-USDT-PERP"],
            channels=[defines.TICKER, defines.L2_BOOK],
            callbacks={defines.L2_BOOK: on_book, defines.TICKER: on_quote},
        )
        feed.http_conn = Answers()

        async def play() -> None:
            for stamp, frame in messages:
                await feed.message_handler(frame, None, stamp)

        asyncio.run(play())
        return len(messages)

    result = _timed(run, repeats)
    if not counts["books"] or not counts["quotes"]:
        raise SystemExit(f"nothing came out: {counts}")
    return result


JOBS: Final[dict[str, tuple[str, Callable[[str, int], dict[str, Any]]]]] = {
    "hftbacktest-convert": ("hftbacktest", hftbacktest_convert),
    "hftbacktest-futures-convert": ("hftbacktest", hftbacktest_futures),
    "hftbacktest-replay": ("hftbacktest", hftbacktest_replay),
    "nautilus-convert": ("nautilus_trader", nautilus_convert),
    "nautilus-replay": ("nautilus_trader", nautilus_replay),
    "nautilus-backtest": ("nautilus_trader", nautilus_backtest),
    "cryptofeed-convert": ("cryptofeed", cryptofeed_convert),
}


def main(argv: Sequence[str]) -> int:
    """Run one job; what the systems themselves print goes to stderr."""
    package, job = JOBS[argv[0]]
    results = os.dup(1)
    os.dup2(2, 1)
    result = job(argv[1], int(argv[2]))
    result["version"] = version(package)
    os.write(results, json.dumps(result).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
