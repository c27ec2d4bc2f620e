"""A compiled run whose pair is counted in finer steps from now on: all that it has of prices and sizes follows."""

from __future__ import annotations

import numpy as np

from replay.fast.book_units import rescale_pair
from replay.fast.engine_layout import Engine
from replay.market.layout import FAR, NONE
from replay.market.rescaling import rescale

__all__ = ["rescale_engine"]


def rescale_engine(engine: Engine, place: int, ticks: int, lots: int) -> Engine:
    """
    The same run in finer steps of a pair.

    Args:
        engine: The arrays; they are changed, but for those that are replaced.
        place: Place of the pair.
        ticks: How many new ticks an old one is.
        lots: How many new lots an old one is.
    """
    with np.errstate(all="ignore"):
        engine = engine._replace(core=rescale(engine.core, place, ticks, lots))
    hands = engine.hands
    orders, posts, answers = hands.orders, hands.posts, engine.answers
    own = orders["pair"] == place
    numbers = orders["number"][own & (orders["number"] > 0)]
    for name, factor in (("tick", ticks), ("size", lots), ("left", lots), ("filled", lots)):
        orders[name][own] *= factor
    for rows, names in (
        (posts, (("tick", ticks), ("lots", lots), ("known_left", lots))),
        (answers, (("tick", ticks), ("lots", lots), ("left", lots), ("filled", lots), ("size", lots))),
    ):
        mine = np.isin(rows["order"], numbers)
        for name, factor in names:
            rows[name][mine] *= factor
    mine = np.isin(answers["order"], numbers)
    for name, least, factor in (("bid", NONE, ticks), ("ask", NONE, ticks), ("ahead", 0, lots)):
        values = answers[name]
        values[mine & (values > least) & (values < FAR)] *= factor
    for name, factor in (("bid", ticks), ("ask", ticks), ("bid_size", lots), ("ask_size", lots)):
        engine.quotes[name][place] *= factor
        engine.market[name][place] *= factor
    engine.quotes["last_price"][place] *= ticks
    engine.quotes["last_size"][place] *= lots
    engine.me["position"][place] *= lots
    for name in ("horizon_bids", "horizon_asks"):
        if engine.feeds[name][place] > 0:
            engine.feeds[name][place] *= ticks
    return engine._replace(hands=hands._replace(books=rescale_pair(hands.books, place, ticks, lots)))
