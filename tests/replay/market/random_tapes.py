"""Random small markets with own orders in them, where sizes are small, so that equal ones are frequent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from replay.market.core import MatchingCore, PairFacts, make_request
from replay.market.layout import REPORT, RequestCode, TifCode
from replay.market.rules import (
    AmendLeft,
    AmendPlace,
    CrossedBook,
    EqualTrade,
    PostOnlyCross,
    QueueAfterSnapshot,
    QueueFront,
    Rules,
    SelfTrade,
    TakerRest,
    ThroughTrade,
)
from tests.replay.market.market_tapes import events

Step = tuple[Any, ...]

_ticks = st.integers(97, 103)
_lots = st.integers(1, 4)
_ids = st.integers(1, 6)
_levels = st.tuples(
    st.sampled_from(["bid", "ask", "bid", "ask", "sync bid", "sync ask"]), _ticks, st.integers(0, 5), st.integers(-1, 4)
)
_trades = st.tuples(st.sampled_from(["buy", "sell"]), _ticks, _lots)
_sights = st.tuples(st.sampled_from(["horizon bid", "horizon ask"]), st.none() | _ticks)
_turns = st.tuples(st.sampled_from(["stale", "resume", "resume"]), st.just(0))
_clears = st.tuples(st.sampled_from(["clear bid", "clear ask"]), _ticks)
_news = st.tuples(
    st.just("new"),
    _ids,
    st.integers(0, 1),
    st.none() | _ticks,
    _lots,
    st.sampled_from([TifCode.GTC, *TifCode]),
    st.sampled_from([0, 0, 0, 1]),
)
_amends = st.tuples(st.just("amend"), _ids, _ticks, _lots)
_cancels = st.tuples(st.just("cancel"), _ids)
_all_cancels = st.tuples(st.just("cancel all"), st.sampled_from([-1, 0]))
_OPENING: list[Step] = [("bid", 99, 3), ("bid", 98, 2), ("ask", 101, 3), ("ask", 102, 2)]
#: Steps of a tape, of the market and of the owner in turns.
tapes = st.lists(
    _levels | _trades | _news | _trades | _amends | _cancels | _sights | _clears | _news | _all_cancels | _turns,
    max_size=40,
).map(lambda steps: [*_OPENING, *steps])
#: Every value of every rule.
any_rules = st.builds(
    Rules,
    queue_front=st.sampled_from(list(QueueFront)),
    queue_power=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    unseen=st.booleans(),
    equal_trade=st.sampled_from(list(EqualTrade)),
    share_trade=st.booleans(),
    through_trade=st.sampled_from(list(ThroughTrade)),
    crossed_book=st.sampled_from(list(CrossedBook)),
    taken_liquidity=st.booleans(),
    taker_rest=st.sampled_from(list(TakerRest)),
    market_reach=st.none() | st.integers(1, 4),
    short_buys=st.booleans(),
    queue_after_snapshot=st.sampled_from(list(QueueAfterSnapshot)),
    self_trade=st.sampled_from(list(SelfTrade)),
    amend_place=st.sampled_from(list(AmendPlace)),
    amend_left=st.sampled_from(list(AmendLeft)),
    post_only_cross=st.sampled_from(list(PostOnlyCross)),
    whole_fills=st.booleans(),
)


@dataclass
class Played:
    """What came of a tape: the core, all reports, and how many there were after each step."""

    core: MatchingCore
    reports: npt.NDArray[np.void]
    counts: list[int] = field(default_factory=list)


def play(steps: Sequence[Step], rules: Rules, *, compiled: bool = False, **room: int) -> Played:
    """Play a tape step by step; the time of a step, and the frame of its event or number of its request, is its place."""
    core = MatchingCore([PairFacts()], rules, compiled=compiled, **room)
    parts, counts, total = [np.zeros(0, REPORT)], [], 0
    for place, step in enumerate(steps):
        request = _request(step, place)
        if request is None:
            core.run(events([step], place))
        else:
            core.arrive(request)
        parts.append(core.take())
        total += len(parts[-1])
        counts.append(total)
    return Played(core, np.concatenate(parts), counts)


def _request(step: Step, place: int) -> np.void | None:
    match step:
        case ("new", order, side, tick, lots, tif, reduce):
            return make_request(
                time=place,
                number=place,
                code=RequestCode.NEW,
                id=order,
                side=side,
                tick=tick or 0,
                lots=lots,
                tif=tif,
                market=int(tick is None),
                reduce=reduce,
            )
        case ("amend", order, tick, lots):
            return make_request(
                time=place, number=place, code=RequestCode.AMEND, id=order, tick=tick, lots=lots, known_left=lots
            )
        case ("cancel", order):
            return make_request(time=place, number=place, code=RequestCode.CANCEL, id=order)
        case ("cancel all", pair):
            return make_request(time=place, number=place, code=RequestCode.CANCEL_ALL, pair=pair)
        case _:
            return None
