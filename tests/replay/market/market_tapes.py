"""Small markets by hand: events and requests in words, and the executions that come of them, in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from replay.market.core import MatchingCore, PairFacts, make_request
from replay.market.layout import EVENT, EventCode, ReportCode, RequestCode, Role, StateCode, TifCode
from replay.market.rules import Rules

#: Two levels of bids, three of asks.
BOOK = [("bid", 99, 10), ("bid", 98, 20), ("ask", 101, 4), ("ask", 102, 6), ("ask", 105, 50)]
_SIDES = {"bid": 0, "buy": 0, "ask": 1, "sell": 1}

Step = tuple[Any, ...]


def event(time: int, step: Step) -> np.void:
    """
    An event from words.

    `("bid", tick, lots[, count])`, `("sync bid", ...)`, `("sell", tick, lots)` for a trade whose taker sold,
    `("horizon bid", tick or None)`, `("clear bid", tick)`, `("stale", 0)`, `("resume", 0)`.
    """
    words, tick, lots, count = (*step, 0, -1)[:4] if len(step) == 2 else (*step, -1)[:4]
    kind, _, side = words.rpartition(" ")
    row = np.zeros(1, EVENT)[0]
    row["time"] = row["frame"] = time
    row["recv"] = time + 7
    row["side"] = _SIDES.get(side, 0)
    row["count"] = count
    row["lots"] = lots
    row["tick"] = 0 if tick is None else tick
    match kind:
        case "sync":
            row["code"] = EventCode.SYNC_LEVEL
        case "clear":
            row["code"] = EventCode.CLEAR
        case "horizon":
            row["code"], row["lots"] = EventCode.HORIZON, int(tick is not None)
        case _ if side in ("stale", "resume"):
            row["code"] = EventCode[side.upper()]
        case _:
            row["code"] = EventCode.TRADE if side in ("buy", "sell") else EventCode.LEVEL
    result: np.void = row
    return result


def events(steps: list[Step], first: int = 0) -> npt.NDArray[np.void]:
    """Events one ns apart."""
    rows = np.zeros(len(steps), EVENT)
    for place, step in enumerate(steps):
        rows[place] = event(first + place, step)
    return rows


class Venue:
    """A core that is told what happens in words, and says what came of it as `(order, what, tick, lots)`."""

    def __init__(
        self, rules: Rules | None = None, *, compiled: bool = False, book: list[Step] = BOOK, **facts: int
    ) -> None:
        self.core = MatchingCore([PairFacts(**facts)], rules or Rules(), compiled=compiled)
        self._time = 0
        self._number = 0
        self.market(*book)

    def market(self, *steps: Step) -> list[Step]:
        """Market events; what came of them."""
        rows = events(list(steps), self._time)
        self._time += len(steps)
        self.core.run(rows)
        return self.heard()

    def place(
        self, order: int, side: str, tick: int | None, lots: int, tif: TifCode = TifCode.GTC, *, reduce: bool = False
    ) -> list[Step]:
        """A new order, at market where `tick` is None; what came of it."""
        return self.ask(
            RequestCode.NEW,
            id=order,
            side=_SIDES[side],
            tick=tick or 0,
            lots=lots,
            tif=int(tif),
            market=int(tick is None),
            reduce=int(reduce),
        )

    def amend(self, order: int, tick: int, lots: int) -> list[Step]:
        """An order at another price or of another size; what came of it."""
        return self.ask(RequestCode.AMEND, id=order, tick=tick, lots=lots)

    def cancel(self, order: int) -> list[Step]:
        """An order taken back; what came of it."""
        return self.ask(RequestCode.CANCEL, id=order)

    def ask(self, code: RequestCode, **fields: int) -> list[Step]:
        """A request; what came of it."""
        self._number += 1
        self._time += 1
        self.core.arrive(make_request(time=self._time, number=self._number, code=int(code), **fields))
        return self.heard()

    def heard(self) -> list[Step]:
        """What was reported since the last call."""
        told: list[Step] = []
        for row in self.core.take():
            code = ReportCode(int(row["code"]))
            if code is ReportCode.EXECUTED:
                told.append((int(row["id"]), Role(int(row["role"])).name.lower(), int(row["tick"]), int(row["lots"])))
            elif code is ReportCode.ENDED:
                told.append((int(row["id"]), StateCode(int(row["state"])).name.lower(), int(row["left"])))
            elif code is ReportCode.DONE:
                told.append((int(row["id"]), "done", int(row["lots"])))
            else:
                told.append((int(row["id"]), code.name.lower()))
        return told
