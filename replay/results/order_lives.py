"""How orders fared: how long requests and answers took, how long until a fill, and what the venue refused."""

from __future__ import annotations

import re
from typing import Final

import msgspec
import polars as pl

from replay.market.layout import Reason
from replay.results.result_frames import Tables, order_frame
from toolkit.account_messages import OrderState

__all__ = ["Lives", "Spread", "lives_of"]

_KEY: Final = ("venue", "trading_pair", "order_id")
#: A value that a text quotes; a number that it begins with is a code.
_NUMBER: Final = re.compile(r"(?<=[\s@=:])\d+(?:\.\d+)?")
#: Of the row of an answer in the decision log, see `replay.strategy.log_rows.ANSWER_FIELDS`.
_ORDER, _REASON = 1, 11
_REFUSED: Final = '["refused"'
#: Most reasons that are distinguished; the rest is one.
_REASONS_MAX: Final = 20


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """
    How lengths of time are spread, ns: each is the smallest that at least that share did not exceed.

    Attributes:
        count: Number of orders that it is of.
        p50: Half.
        p90: Nine in ten.
        p99: Ninety-nine in a hundred.
    """

    count: int
    p50: int
    p90: int
    p99: int


class Lives(msgspec.Struct, frozen=True, kw_only=True):
    """
    How the orders of a run fared.

    Attributes:
        entry: Time from sending an order until the venue took it in, or refused it.
        response: Time from what the venue said first of an order until that was received.
        to_fill: Time from the venue taking an order in to its first fill, of orders that were filled while they rested.
        filled_share: Size filled over the size of all orders that the venue took in, by pair (venue and name).
        rejections: Why orders were refused, and how often, the most frequent first; numbers in the texts are `…`.
        cancels: Orders that ended as cancelled.
        late: Requests to amend or cancel an order that was filled before they arrived; None where nothing tells.
    """

    entry: Spread | None
    response: Spread | None
    to_fill: Spread | None
    filled_share: dict[tuple[str, str], float]
    rejections: list[tuple[str, int]]
    cancels: int
    late: int | None


def lives_of(table: Tables, late: int | None = None) -> Lives:
    """
    How orders fared, out of the tables of a result.

    Args:
        table: Tables of the result.
        late: Requests that came too late, as the run counted them; None: it did not, and they are those of its log.
    """
    updates, fills = table("orders"), table("fills")
    at = {name: pl.col(name).cast(pl.Int64) for name in ("ts_recv", "ts_event", "ts_created")}
    answered = updates.filter(pl.col("ts_event").is_not_null())
    # What was sent is taken down before the venue has said anything.
    sent = updates.filter(pl.col("ts_event").is_null()).group_by(_KEY).agg(at["ts_recv"].first().alias("sent"))
    first = answered.group_by(_KEY).agg(
        at["ts_event"].first().alias("came"), at["ts_recv"].first().alias("heard"), at["ts_created"].first().alias("in")
    )
    ways = first.join(sent, on=_KEY)
    makers = fills.filter("is_maker").group_by(_KEY).agg(at["ts_event"].first().alias("filled"))
    waited = makers.join(first, on=_KEY).filter(pl.col("in").is_not_null())
    orders = order_frame(table)
    return Lives(
        entry=_spread(ways["came"] - ways["sent"]),
        response=_spread(ways["heard"] - ways["came"]),
        to_fill=_spread(waited["filled"] - waited["in"]),
        filled_share=_filled(orders),
        rejections=_rejections(orders),
        cancels=orders.filter(state=OrderState.CANCELLED.value).height,
        late=_late(table("decisions"), orders) if late is None else late,
    )


def _spread(lengths: pl.Series) -> Spread | None:
    if not lengths.len():
        return None
    ordered = lengths.sort()
    found = [int(ordered[max(0, -(-ordered.len() * percent // 100) - 1)]) for percent in (50, 90, 99)]
    return Spread(count=ordered.len(), p50=found[0], p90=found[1], p99=found[2])


def _filled(orders: pl.DataFrame) -> dict[tuple[str, str], float]:
    taken = orders.filter(pl.col("ts_created").is_not_null() | (pl.col("filled") > 0))
    shares = taken.group_by("venue", "trading_pair", maintain_order=True).agg(
        (pl.col("filled").sum() / pl.col("size").sum()).round_sig_figs(12).alias("share")
    )
    return {(venue, pair): share for venue, pair, share in shares.iter_rows()}


def _rejections(orders: pl.DataFrame) -> list[tuple[str, int]]:
    refused = orders.filter(pl.col("state").is_in([OrderState.REJECTED.value, OrderState.FAILED.value]))
    counts: dict[str, int] = {}
    for status, count in refused.group_by("status", maintain_order=True).len().iter_rows():
        reason = _NUMBER.sub("…", status or "without a reason")
        counts[reason] = counts.get(reason, 0) + count
    found = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    others = sum(count for _, count in found[_REASONS_MAX:])
    return [*found[:_REASONS_MAX], ("other reasons", others)] if others else found


def _late(decisions: pl.DataFrame, orders: pl.DataFrame) -> int | None:
    if decisions.is_empty():
        return None
    texts = decisions.filter(pl.col("kind") == "response", pl.col("text").str.starts_with(_REFUSED))["text"]
    rows = [msgspec.json.decode(text) for text in texts]
    about = [str(row[_ORDER]) for row in rows if row[_REASON] == Reason.UNKNOWN_ORDER]
    filled = set(orders.filter(state=OrderState.FILLED.value)["order_id"])
    return sum(order in filled for order in about)
