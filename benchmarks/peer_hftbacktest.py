"""
hftbacktest at compiled runs, bare and with the grid of `backtest`; run by its own interpreter, so it imports nothing of ours.

Its events are in memory before the clock starts. They happen when they were received, as in a run on the receive clock: so
both trade on the same market at the same times, and fills can be compared one by one. Its order book is the hash map, and
the window of prices ("dense") that ignores what is outside.
"""

from __future__ import annotations

import gzip
import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from benchmarks.grid import EVERY_MS, GRID, LATENCY_MS, LOT, TICK

__all__ = ["hftbacktest_turns"]

_NS_PER_MS: Final = 1_000_000
_NEVER_NS: Final = 10**18
#: How far the window of the dense book goes beyond the prices that are traded, in dollars.
_WINDOW: Final = 1_000.0
_FILLS_MAX: Final = 1_000_000


def hftbacktest_turns(path: str) -> dict[str, Callable[[], dict[str, Any]]]:
    """
    The jobs on a USD-M capture without quotes, each run once so that it is compiled.

    A run gives `seconds`, `count` of its rows, and of the grid `fills`: time, price in ticks, and side 1 or -1.
    """
    hbt = importlib.import_module("hftbacktest")
    events, prices = _events(hbt, path)
    first = int(events["local_ts"][0])
    snapshot = int(events["local_ts"][(events["ev"] & 0xFF) == hbt.DEPTH_SNAPSHOT_EVENT][0])
    numba, numpy = importlib.import_module("numba"), importlib.import_module("numpy")
    watches, trade = _watches(numba), _grid(numba, hbt)
    every = EVERY_MS * _NS_PER_MS
    words = (
        GRID["count"],
        GRID["half_spread"],
        GRID["interval"],
        GRID["size"],
        round(GRID["position_max"] / float(LOT)),
    )

    def asset() -> Any:
        return (
            hbt.BacktestAsset()
            .data([events])
            .linear_asset(1.0)
            .constant_order_latency(LATENCY_MS["entry"] * _NS_PER_MS, LATENCY_MS["response"] * _NS_PER_MS)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0, 0)
            .tick_size(float(TICK))
            .lot_size(float(LOT))
            .last_trades_capacity(0)
        )

    def hashed() -> Any:
        return hbt.HashMapMarketDepthBacktest([asset()])

    def dense() -> Any:
        window = asset().roi_lb(prices[0] - _WINDOW).roi_ub(prices[1] + _WINDOW)
        return hbt.ROIVectorMarketDepthBacktest([window])

    def watch_run(make: Callable[[], Any], watch: Any) -> dict[str, Any]:
        runner = make()
        began = time.process_time()
        watch(runner, -first % every, every)
        seconds = time.process_time() - began
        runner.close()
        return {"seconds": seconds, "count": len(events)}

    def grid_run(make: Callable[[], Any]) -> dict[str, Any]:
        runner = make()
        told = numpy.zeros((_FILLS_MAX, 3), numpy.int64)
        began = time.process_time()
        fills = trade(runner, -first % every, every, snapshot, *words, float(TICK), float(LOT), told)
        seconds = time.process_time() - began
        runner.close()
        return {"seconds": seconds, "count": len(events), "fills": told[:fills].tolist()}

    jobs: dict[str, Callable[[], dict[str, Any]]] = {}
    for name, make in (("hash", hashed), ("dense", dense)):
        for kind, watch in watches.items():
            jobs[f"{kind} {name}"] = partial(watch_run, make, watch)
        jobs[f"grid {name}"] = partial(grid_run, make)
    for job in jobs.values():
        job()
    return jobs


def _events(hbt: Any, path: str) -> tuple[Any, tuple[float, float]]:
    """Its events in the order in which they were received, at that time; and between which prices there were trades."""
    module: Any = importlib.import_module("hftbacktest.data.utils.binancefutures")
    # It would move our clock to the venue's, and have rows twice where the two orders differ.
    module.correct_local_timestamp = lambda rows, _: rows
    module.correct_event_order = lambda rows, *_: rows
    module.validate_event_order = lambda _: None
    events = module.convert(path, buffer_size=_rows_of(path))
    events["exch_ts"] = events["local_ts"]
    events["ev"] |= hbt.EXCH_EVENT | hbt.LOCAL_EVENT
    traded = events["px"][(events["ev"] & 0xFF) == hbt.TRADE_EVENT]
    return events, (float(traded.min()), float(traded.max()))


def _rows_of(path: str) -> int:
    """No level takes less than twelve characters."""
    with gzip.open(path) as file:
        return 1_000_000 + sum(map(len, file)) // 12


def _watches(numba: Any) -> dict[str, Any]:
    """Both best prices read at each message, and each time."""

    @numba.njit  # type: ignore[untyped-decorator]
    def messages(runner: Any, to_first: int, every: int) -> float:
        spread = 0.0
        while runner.wait_next_feed(False, _NEVER_NS) == 2:
            depth = runner.depth(0)
            spread += depth.best_ask - depth.best_bid
        return spread

    @numba.njit  # type: ignore[untyped-decorator]
    def times(runner: Any, to_first: int, every: int) -> float:
        spread, wait = 0.0, to_first
        while runner.elapse(wait) == 0:
            wait = every
            depth = runner.depth(0)
            spread += depth.best_ask - depth.best_bid
        return spread

    return {"messages": messages, "times": times}


def _grid(numba: Any, hbt: Any) -> Any:
    """`benchmarks.grid.wanted`, as its documents write such a strategy."""
    buy, filled, post_only, limit = hbt.BUY, hbt.FILLED, hbt.GTX, hbt.LIMIT

    @numba.njit  # type: ignore[untyped-decorator]
    def trade(
        runner: Any,
        to_first: int,
        every: int,
        begins: int,
        count: int,
        half_spread: int,
        interval: int,
        size: float,
        most: int,
        tick: float,
        lot: float,
        told: Any,
    ) -> int:
        fills = 0
        wait = to_first
        while runner.elapse(wait) == 0:
            wait = every
            orders = runner.orders(0)
            values = orders.values()
            while values.has_next():
                order = values.get()
                if order.status == filled:
                    told[fills, 0] = order.exch_timestamp
                    told[fills, 1] = order.exec_price_tick
                    told[fills, 2] = order.side
                    fills += 1
            runner.clear_inactive_orders(0)
            if runner.current_timestamp < begins:
                continue
            depth = runner.depth(0)
            middle = depth.best_bid_tick + depth.best_ask_tick
            held = round(runner.position(0) / lot)
            below = (middle - 2 * half_spread) // (2 * interval) * interval
            above = -((-(middle + 2 * half_spread)) // (2 * interval)) * interval
            reach = (count - 1) * interval
            values = orders.values()
            while values.has_next():
                order = values.get()
                if not order.cancellable:
                    continue
                away = below - order.price_tick if order.side == buy else order.price_tick - above
                is_wanted = held < most if order.side == buy else held > -most
                if not is_wanted or away < 0 or away > reach or away % interval:
                    runner.cancel(0, order.order_id, False)
            for place in range(count):
                at = below - place * interval
                if held < most and at not in orders:
                    runner.submit_buy_order(0, at, at * tick, size, post_only, limit, False)
                at = above + place * interval
                if held > -most and at not in orders:
                    runner.submit_sell_order(0, at, at * tick, size, post_only, limit, False)
        return fills

    return trade
