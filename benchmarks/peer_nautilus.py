"""
NautilusTrader at the market maker of `backtest`; run by its own interpreter, so it imports nothing of tickdeck.

Book deltas and trades (quotes too, where the capture has them) are objects in memory before the clock starts. What it
cannot be given: the way back of an answer (its latency is that of requests alone), and a queue ahead of an order.
"""

from __future__ import annotations

import gc
import gzip
import importlib
import time
from typing import Any, Final

from benchmarks.grid import EVERY_MS, GRID, LATENCY_MS, LOT, TICK, wanted

__all__ = ["nautilus_backtest"]

_NS_PER_MS: Final = 1_000_000


def nautilus_backtest(path: str, repeats: int) -> dict[str, Any]:
    """
    The grid on a USD-M capture of BTCUSDT.

    `count` is the frames with market data and `convert_seconds` what making objects of them took; `seconds` and
    `cpu_seconds` are of each run, `orders`, `fills`, `cancels` and `rejects` of the last one.
    """
    began = time.perf_counter()
    feeds, count = _feeds(path)
    result: dict[str, Any] = {"count": count, "convert_seconds": time.perf_counter() - began}
    seconds, cpu_seconds = [], []
    gc.collect()
    gc.freeze()  # The objects of the tape stay: their collector need not look through them again and again.
    for number in range(repeats + 1):  # the first run warms up
        runner, maker = _prepared(feeds)
        gc.collect()
        began, cpu_began = time.perf_counter(), time.process_time()
        runner.run()
        if number:
            seconds.append(time.perf_counter() - began)
            cpu_seconds.append(time.process_time() - cpu_began)
        result.update(maker.told, orders=runner.cache.orders_total_count())
        runner.dispose()
    if not result["orders"] or not result["fills"]:
        raise SystemExit(f"it did not trade: {result['orders']} orders, {result['fills']} fills")
    return {**result, "seconds": seconds, "cpu_seconds": cpu_seconds}


def _model(name: str) -> Any:
    return importlib.import_module(f"nautilus_trader.model.{name}")


def _instrument_id() -> Any:
    return _model("identifiers").InstrumentId.from_str("BTCUSDT-PERP.BINANCE")


def _feeds(path: str) -> tuple[list[list[Any]], int]:
    """Its objects of each kind in order of receive time, and how many frames had market data."""
    decode = importlib.import_module("msgspec").json.decode
    data, enums, objects = _model("data"), _model("enums"), _model("objects")
    price, quantity = objects.Price.from_str, objects.Quantity.from_str
    add, update, delete = enums.BookAction.ADD, enums.BookAction.UPDATE, enums.BookAction.DELETE
    buyer, seller = enums.AggressorSide.BUYER, enums.AggressorSide.SELLER
    trade_id, instrument_id = _model("identifiers").TradeId, _instrument_id()
    zero = quantity("0.000")

    def cut(text: str) -> Any:
        return price(text[:-1])  # The venue writes "58710.20"; its tick has one digit.

    def deltas(bids: list[Any], asks: list[Any], ts_event: int, ts_recv: int, *, whole: bool) -> Any:
        sides = ((enums.OrderSide.BUY, bids), (enums.OrderSide.SELL, asks))
        levels = [(side, *level) for side, column in sides for level in column]
        made = [data.OrderBookDelta.clear(instrument_id, 0, ts_event, ts_recv)] if whole else []
        for number, (side, at, size) in enumerate(levels, 1):
            there = quantity(size)
            action = add if whole else delete if there == zero else update
            flags = enums.RecordFlag.F_LAST if number == len(levels) else 0
            order = data.BookOrder(side, cut(at), there, 0)
            made.append(data.OrderBookDelta(instrument_id, action, order, flags, 0, ts_event, ts_recv))
        return data.OrderBookDeltas(instrument_id, made)

    books: list[Any] = []
    trades: list[Any] = []
    quotes: list[Any] = []
    early: list[Any] = []
    last_id = None
    count = 0
    with gzip.open(path) as file:
        for line in file:
            stamp, _, frame = line.partition(b" ")
            ts_recv, message = int(stamp), decode(frame)
            message = message.get("data", message)
            ts_event, kind = message.get("E", 0) * _NS_PER_MS, message.get("e", "snapshot")
            count += 1
            if kind == "trade":
                side = seller if message["m"] else buyer
                facts = (cut(message["p"]), quantity(message["q"]), side, trade_id(str(message["t"])))
                trades.append(data.TradeTick(instrument_id, *facts, ts_event, ts_recv))
            elif kind == "bookTicker":
                tops = (cut(message["b"]), cut(message["a"]), quantity(message["B"]), quantity(message["A"]))
                quotes.append(data.QuoteTick(instrument_id, *tops, ts_event, ts_recv))
            elif kind == "snapshot":
                last_id = message["lastUpdateId"]
                books.append(deltas(message["bids"], message["asks"], ts_event, ts_recv, whole=True))
                # Diffs that came before it and go beyond it are known from now on.
                later = [diff for diff in early if diff["u"] >= last_id]
                books += [deltas(diff["b"], diff["a"], ts_event, ts_recv, whole=False) for diff in later]
            elif kind != "depthUpdate":
                count -= 1
            elif last_id is None:
                early.append(message)
            elif message["u"] >= last_id and (message["b"] or message["a"]):
                books.append(deltas(message["b"], message["a"], ts_event, ts_recv, whole=False))
    return [feed for feed in (books, trades, quotes) if feed], count


def _prepared(feeds: list[list[Any]]) -> tuple[Any, Any]:
    """An engine with venue, instrument, data and strategy, ready to run; and the strategy."""
    engine = importlib.import_module("nautilus_trader.backtest.engine")
    models = importlib.import_module("nautilus_trader.backtest.models")
    config = importlib.import_module("nautilus_trader.config")
    currencies, enums = _model("currencies"), _model("enums")
    instruments, objects = _model("instruments"), _model("objects")
    instrument_id = _instrument_id()
    runner = engine.BacktestEngine(
        engine.BacktestEngineConfig(
            logging=config.LoggingConfig(log_level="ERROR", bypass_logging=True),
            # Its default drops requests beyond 100 a second, which the grid sends at times.
            risk_engine=config.RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    runner.add_venue(
        instrument_id.venue,
        enums.OmsType.NETTING,
        enums.AccountType.MARGIN,
        [objects.Money(1_000_000, currencies.USDT)],
        book_type=enums.BookType.L2_MBP,
        trade_execution=True,
        latency_model=models.LatencyModel(base_latency_nanos=LATENCY_MS["entry"] * _NS_PER_MS),
    )
    runner.add_instrument(
        instruments.CryptoPerpetual(
            *(instrument_id, instrument_id.symbol, currencies.BTC, currencies.USDT, currencies.USDT, False, 1, 3),
            *(objects.Price.from_str(TICK), objects.Quantity.from_str(LOT)),
            ts_event=0,
            ts_init=0,
        )
    )
    for feed in feeds:
        runner.add_data(feed)
    maker = _maker(instrument_id)
    runner.add_strategy(maker)
    return runner, maker


def _maker(instrument_id: Any) -> Any:
    """The strategy: its base is known only when it runs."""
    trading = importlib.import_module("nautilus_trader.trading.strategy")
    config = importlib.import_module("nautilus_trader.config")
    enums, objects = _model("enums"), _model("objects")
    base: Any = trading.Strategy
    rules: dict[str, Any] = {name: GRID[name] for name in ("count", "half_spread", "interval", "position_max")}
    size = objects.Quantity(GRID["size"], 3)
    tick = float(TICK)

    class Maker(base):  # type: ignore[misc]  # its base is known only when it runs
        """As `benchmarks.grid_maker.GridMaker`."""

        def on_start(self) -> None:
            self.told = {"fills": 0, "cancels": 0, "rejects": 0}
            self.subscribe_order_book_deltas(instrument_id, book_type=enums.BookType.L2_MBP)
            every = importlib.import_module("datetime").timedelta(milliseconds=EVERY_MS)
            self.clock.set_timer("look", every, callback=self.on_look)

        def on_look(self, _: Any) -> None:
            book = self.cache.order_book(instrument_id)
            bid, ask = book.best_bid_price(), book.best_ask_price()
            if bid is None or ask is None:
                return
            held = float(self.portfolio.net_position(instrument_id))
            ticks = wanted(round(float(bid) / tick), round(float(ask) / tick), held, **rules)
            there = set()
            alive = self.cache.orders_open(instrument_id=instrument_id)
            for order in alive + self.cache.orders_inflight(instrument_id=instrument_id):
                at = int(order.tags[0])
                if at in there:
                    continue  # A cancel that is on its way is open and in flight at once.
                there.add(at)
                if ticks.get(at) is not order.is_buy:
                    self.cancel_order(order)
            for at, is_buy in ticks.items():
                if at not in there:
                    order = self.order_factory.limit(
                        instrument_id,
                        enums.OrderSide.BUY if is_buy else enums.OrderSide.SELL,
                        size,
                        objects.Price(at * tick, 1),
                        post_only=True,
                        tags=[str(at)],
                    )
                    self.submit_order(order)

        def on_order_filled(self, _: Any) -> None:
            self.told["fills"] += 1

        def on_order_canceled(self, _: Any) -> None:
            self.told["cancels"] += 1

        def on_order_rejected(self, _: Any) -> None:
            self.told["rejects"] += 1

    return Maker(config.StrategyConfig(log_events=False, log_commands=False))
