"""Paper sessions on embedded venues: real sockets on loopback, faults, and no waiting for a time to pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from replay.embedded import EmbeddedVenue
from replay.paper.trader import PaperTrader
from replay.strategy.loading import load_strategy
from replay.strategy.plan import RunPlan, RunSettings
from replay.strategy.session import Phase, TradingSession
from replay.strategy.strategy import Strategy
from tests.deadlines import HANG_S
from toolkit.clock import SystemClock
from toolkit.keys import PairKey
from toolkit.messages import Message
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

CHURNER = Path(__file__).parents[1] / "strategy" / "churner.py"
#: A pair of each venue that the embedded one can be.
PAIRS: Mapping[str, str] = {
    "hyperliquid": "BTC-USD",
    "dydx_v4": "BTC-USD",
    "binance-usdm": "BTC-USDT",
    "binance-spot": "BTC-USDT",
    "binance-coinm": "BTC-USD",
}


@dataclass
class Paper:
    """A session at work."""

    recorder: Recorder
    trader: PaperTrader
    plan: RunPlan
    venues: list[EmbeddedVenue]
    lines: list[str]
    _changed: asyncio.Event

    @property
    def session(self) -> TradingSession:
        """The trading session, which has begun."""
        assert self.trader.session is not None
        return self.trader.session

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until it holds after some message."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def until_rows(self, more: int) -> None:
        """Until the decision log has so many more rows, or the strategy was ended."""
        have = 0 if self.trader.session is None else self.session.log.count
        await self.until(
            lambda: (
                self.trader.session is not None
                and (self.session.log.count >= have + more or self.session.phase is Phase.FAILED)
            )
        )


@contextlib.asynccontextmanager
async def on_paper(
    folder: Path,
    *names: str,
    strategy: type[Strategy] | Path = CHURNER,
    settings: RunSettings | None = None,
    venues: list[EmbeddedVenue] | None = None,
) -> AsyncIterator[Paper]:
    """A paper session on embedded venues of these names; at the end of the block it is stopped and sealed."""
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(HANG_S):
        made = venues or [
            await stack.enter_async_context(EmbeddedVenue(clock=clock, venue=name, seed=7, keep_sent=True))
            for name in names
        ]
        requests = tuple(
            VenueRequest(
                spec=find_venue(name),
                options=ProtocolOptions(pairs=(PAIRS[name],)),
                ws_url=venue.ws_url,
                rest_url=venue.rest_url,
            )
            for name, venue in zip(names, made, strict=True)
        )
        plan = RunPlan(
            load_strategy(strategy),
            sorted(PairKey(name, PAIRS[name]) for name in names),
            settings or RunSettings(latency="entry=20ms,response=15ms", seed=3),
        )
        lines: list[str] = []
        recorder = Recorder(
            options=RecorderOptions(folder=folder, venues=requests, disk_free_min=0, backoff_seed=1),
            clock=clock,
            log=lines.append,
        )
        trader = PaperTrader(plan, recorder, clock, lines.append)
        changed = asyncio.Event()

        def note(_: Message) -> None:
            changed.set()

        recorder.dispatcher.add_callback(note)
        run = asyncio.get_running_loop().create_task(recorder.run())
        run.add_done_callback(lambda _: changed.set())
        paper = Paper(recorder, trader, plan, made, lines, changed)
        try:
            yield paper
        finally:
            recorder.stop()
            await run
            trader.finish()


def run(main: Any) -> Any:
    """Run a coroutine to its end."""
    return asyncio.run(main)
