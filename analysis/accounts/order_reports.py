"""The orders of a recording's accounts: their lives, what was filled, and what that cost against the mid price."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from analysis.instrument_choice import choose
from analysis.mid_prices import mid_before
from analysis.table_source import RecordingLike, rows_of, sealed_part
from recordings.recording import Recording
from toolkit.account_messages import TERMINAL_ORDER_STATES, OrderState
from toolkit.errors import ConfigError
from toolkit.keys import PairName
from toolkit.messages import Side

__all__ = ["ORDERS_SCHEMA", "new_fills", "order_report"]

#: Columns of `order_report`, in their order.
ORDERS_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "account": pl.String(),
        "symbol": pl.String(),
        "trading_pair": pl.String(),
        "order_id": pl.String(),
        "generation": pl.Int32(),
        "client_order_id": pl.String(),
        "side": pl.String(),
        "order_type": pl.String(),
        "time_in_force": pl.String(),
        "state": pl.String(),
        "status": pl.String(),
        "price": pl.Float64(),
        "size": pl.Float64(),
        "filled": pl.Float64(),
        "fill_count": pl.Int64(),
        "average_price": pl.Float64(),
        "fee": pl.Float64(),
        "fee_asset": pl.String(),
        "realized_pnl": pl.Float64(),
        "ts_created": pl.Datetime("ns"),
        "ts_first_fill": pl.Datetime("ns"),
        "ts_last_fill": pl.Datetime("ns"),
        "ts_ended": pl.Datetime("ns"),
        "life_s": pl.Float64(),
        "mid_decision": pl.Float64(),
        "slippage_decision_bps": pl.Float64(),
        "slippage_fill_bps": pl.Float64(),
        "is_history": pl.Boolean(),
    }
)

_ORDER: Final = ("venue", "account", "symbol", "order_id", "generation")
_TERMINAL: Final = sorted(TERMINAL_ORDER_STATES)
#: Digits after the point to which sums of decimals are cleaned of what float64 adds.
_DECIMALS: Final = 12


def order_report(
    recording: RecordingLike,
    *,
    pairs: Collection[PairName] | PairName = (),
    venues: Collection[str] | str = (),
    with_history: bool = False,
) -> pl.DataFrame:
    """
    Describe every order, one row each, in the order they first appeared.

    Args:
        recording: An open recording, or its folder.
        pairs: Only these pairs, by name or key (`PairKey`), or venue's symbols.
        venues: Only of these.
        with_history: Also orders that had ended before their account was watched.

    Returns:
        The columns of `ORDERS_SCHEMA`. Sizes in base, prices in quote currency. `state` is what `InFlightOrder` would
        say after the last message. `fee` (positive: paid) is null where an order paid in several assets; `fee_asset`
        names them; `realized_pnl` is null where the venue does not say it of each fill. Times are the venue's.
        `generation` counts the orders that had the id before. Slippage in basis points, above 0 where the order did worse:
        against `mid_decision`, the last mid price of the book before the venue took the order in, and at the fills,
        against the last mid price before each, weighted by size. Null where no book of the pair was known at that time
        (`analysis.mid_prices`).

    Raises:
        ConfigError: No account was recorded, or nothing of a venue.
        SymbolError: A pair, or a venue, that no order is of.
        NotARecording, FormatTooNew, RecordingDamaged: The folder cannot be used.
    """
    opened = sealed_part(recording)
    # An id that a venue gives again is another order: `generation` counts those before it.
    first = pl.col("generation").fill_null(0)
    updates = rows_of(opened, "orders").sort("capture_seq", "sub_seq").with_columns(first).collect()
    fills = rows_of(opened, "fills").sort("capture_seq", "sub_seq").with_columns(first).collect()
    if updates.is_empty() and fills.is_empty():
        raise ConfigError(f"{opened.path} holds no orders: record with an account's address to have them")
    lives = _lives(updates)
    known = fills.select(*_ORDER, "trading_pair", "side", "client_order_id", "capture_seq")
    bare = known.unique(_ORDER, keep="first", maintain_order=True).join(lives, on=_ORDER, how="anti")
    lives = pl.concat([lives, bare], how="diagonal").sort("capture_seq", maintain_order=True)
    found = lives.join(_filled(fills), on=_ORDER, how="left").with_columns(
        # What was not filled realised nothing; what was filled, an unknown amount if the venue does not say.
        pl.when(pl.col("fill_count").is_null()).then(0.0).otherwise("realized_pnl").alias("realized_pnl"),
        pl.col("filled").fill_null(0.0),
        pl.col("fill_count").fill_null(0),
    )
    found = choose(found, opened, pairs, venues, error="no order of {}; there are orders of").with_columns(
        _state().alias("state")
    )
    if not with_history:
        is_live = (~pl.col("is_history")).fill_null(False) | (~pl.col("is_history_fills")).fill_null(False)
        found = found.filter(is_live | ~pl.col("state").is_in(_TERMINAL))
    top, messages = rows_of(opened, "top"), _book_messages(opened)
    found = mid_before(found, "ts_created", top=top, messages=messages).rename({"mid_before": "mid_decision"})
    timed = mid_before(fills, "ts_event", top=top, messages=messages)
    at_fill = timed.group_by(_ORDER).agg(_slippage_of_fills().alias("slippage_fill_bps"))
    sign = pl.when(pl.col("side") == Side.BUY).then(1.0).otherwise(-1.0)
    return (
        found.join(at_fill, on=_ORDER, how="left")
        .with_columns(
            (sign * (pl.col("average_price") / pl.col("mid_decision") - 1.0) * 1e4).alias("slippage_decision_bps"),
            ((pl.col("ts_ended") - pl.col("ts_created")).dt.total_nanoseconds() / 1e9).alias("life_s"),
            pl.col("is_history").fill_null(pl.col("is_history_fills")),
        )
        .sort("capture_seq", maintain_order=True)
        .select(pl.col(name).cast(dtype) for name, dtype in ORDERS_SCHEMA.items())
    )


def new_fills(fills: pl.LazyFrame) -> pl.LazyFrame:
    """Fills since their account was watched."""
    return fills.filter(~pl.col("is_history"))


def _book_messages(recording: Recording) -> pl.LazyFrame:
    """When anything was said of a book, though its best prices may have stayed."""
    columns = ("venue", "symbol", "ts_event", "capture_seq")
    books = rows_of(recording, "book").filter("is_first", "fused").select(columns)
    return pl.concat([books, rows_of(recording, "bbo").filter("fused").select(columns)])


def _lives(updates: pl.DataFrame) -> pl.DataFrame:
    ended = pl.col("state").is_in(_TERMINAL)
    # An order that has ended stays ended, whatever comes late; but fills outrun an end that is none (`toolkit/accounts/orders.py`).
    first_end, is_filled = pl.col("state").filter(ended).first(), pl.col("state") == OrderState.FILLED.value
    was_filled = is_filled.any() & first_end.is_in([OrderState.CANCELLED, OrderState.EXPIRED])

    def at_end(name: str) -> pl.Expr:
        column = pl.col(name)
        return pl.when(was_filled).then(column.filter(is_filled).first()).otherwise(column.filter(ended).first())

    return updates.group_by(_ORDER, maintain_order=True).agg(
        pl.col("trading_pair").last(),
        pl.col("client_order_id").drop_nulls().last(),
        pl.col("side").last(),
        pl.col("order_type").filter(pl.col("order_type") != "").last().fill_null(""),
        pl.col("time_in_force").filter(pl.col("time_in_force") != "").last().fill_null(""),
        at_end("state").alias("ended_state"),
        (pl.col("state") == OrderState.PENDING_CANCEL.value).any().alias("is_cancelling"),
        pl.coalesce(
            at_end("status"),
            pl.col("status").filter(pl.col("ts_event").is_not_null()).last(),
            "status",
        )
        .last()
        .alias("status"),
        pl.col("price").drop_nulls().last(),
        pl.col("size").drop_nulls().last(),
        pl.col("ts_created").drop_nulls().last(),
        at_end("ts_event").alias("ts_ended"),
        pl.col("is_history").all(),
        pl.col("capture_seq").first(),
    )


def _filled(fills: pl.DataFrame) -> pl.DataFrame:
    return fills.group_by(_ORDER, maintain_order=True).agg(
        pl.col("size").sum().round(_DECIMALS).alias("filled"),
        pl.len().cast(pl.Int64).alias("fill_count"),
        ((pl.col("price") * pl.col("size")).sum() / pl.col("size").sum()).round_sig_figs(15).alias("average_price"),
        pl.when(pl.col("fee_asset").n_unique() == 1).then(pl.col("fee").sum().round(_DECIMALS)).alias("fee"),
        pl.col("fee_asset").unique().sort().str.join("+").alias("fee_asset"),
        pl.when(pl.col("realized_pnl").is_not_null().all()).then(pl.col("realized_pnl").sum().round(_DECIMALS)),
        pl.col("ts_event").min().alias("ts_first_fill"),
        pl.col("ts_event").max().alias("ts_last_fill"),
        pl.col("is_history").all().alias("is_history_fills"),
    )


def _state() -> pl.Expr:
    """The same as `InFlightOrder` comes to."""
    ended, filled = pl.col("ended_state"), pl.col("filled") > 0
    refused = ended.is_in([OrderState.REJECTED, OrderState.FAILED])
    return (
        pl.when(refused & filled)
        .then(pl.lit(OrderState.CANCELLED.value))
        .when(ended.is_not_null())
        .then(ended)
        # A size of 0 is that of the whole position, whatever that is.
        .when((pl.col("size") > 0) & (pl.col("filled") >= pl.col("size")))
        .then(pl.lit(OrderState.FILLED.value))
        .when("is_cancelling")
        .then(pl.lit(OrderState.PENDING_CANCEL.value))
        .when(filled)
        .then(pl.lit(OrderState.PARTIALLY_FILLED.value))
        .otherwise(pl.lit(OrderState.OPEN.value))
    )


def _slippage_of_fills() -> pl.Expr:
    sign = pl.when(pl.col("side") == Side.BUY).then(1.0).otherwise(-1.0)
    slippage = sign * (pl.col("price") / pl.col("mid_before") - 1.0) * 1e4
    size = pl.col("size").filter(pl.col("mid_before").is_not_null())
    return (slippage * pl.col("size")).sum() / pl.when(size.sum() > 0).then(size.sum())
