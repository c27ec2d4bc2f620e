"""The rows of a result as Polars frames, out of a run that was just made or out of a folder: the same rows both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl
import pyarrow as pa

from recordings.format.messages_to_rows import rows_of_messages
from recordings.format.schema import ALL_TABLES, RESULT_TABLES, TABLE_OF
from recordings.queries.lazy_tables import polars_schema, scan_table
from recordings.recording import Recording
from replay.results.result_writing import result_batches
from replay.results.run_record import RunRecord
from replay.results.run_recorder import UNCERTAIN
from toolkit.account_messages import TERMINAL_ORDER_STATES
from toolkit.gc_tuning import rare_collections
from toolkit.messages import Message, Side

__all__ = [
    "EQUITY_COLUMNS",
    "FILL_COLUMNS",
    "ORDER_COLUMNS",
    "POSITION_COLUMNS",
    "Tables",
    "tables_of",
    "tables_on_disk",
]

#: Gives a table of a result, in the order of (`capture_seq`, `sub_seq`).
Tables = Callable[[str], pl.DataFrame]

ORDER_COLUMNS: Final = (
    "venue",
    "trading_pair",
    "order_id",
    "client_order_id",
    "side",
    "order_type",
    "time_in_force",
    "price",
    "size",
    "filled",
    "average_price",
    "fill_count",
    "fee",
    "fee_asset",
    "state",
    "status",
    "ts_created",
    "ts_ended",
    "ts_recv",
)
FILL_COLUMNS: Final = (
    "ts_recv",
    "ts_event",
    "venue",
    "trading_pair",
    "side",
    "price",
    "size",
    "fee",
    "fee_asset",
    "is_maker",
    "realized_pnl",
    "position",
    "order_id",
    "client_order_id",
    "is_uncertain",
)
EQUITY_COLUMNS: Final = (
    "ts_recv",
    "wallet",
    "asset",
    "equity",
    "drawdown",
    "cash",
    "balance",
    "fees",
    "funding",
    "transfers",
    "is_doubtful",
)
POSITION_COLUMNS: Final = (
    "ts_recv",
    "venue",
    "trading_pair",
    "size",
    "entry_price",
    "unrealized_pnl",
    "position_value",
)
_PLACE: Final = ("capture_seq", "sub_seq")
_PAIR: Final = ("venue", "trading_pair")
#: Digits after the point to which sums of decimals are cleaned of what float64 adds.
_DECIMALS: Final = 12


def tables_of(record: RunRecord) -> Tables:
    """Those of a run."""

    def rows_of(name: str) -> list[pa.RecordBatch]:
        if name in RESULT_TABLES:
            return list(result_batches(record, name))
        messages: list[Message]
        if name == "top":
            messages = list(record.tops)
        else:
            kind = next(kind for kind, table in TABLE_OF.items() if table == name)
            messages = [each for each in record.messages if type(each) is kind]
        return [rows_of_messages(name, messages)] if messages else []

    def table(name: str) -> pl.DataFrame:
        with rare_collections():
            batches = rows_of(name)
        if not batches:
            return pl.DataFrame(schema=polars_schema(name))
        frame = pl.from_arrow(pa.Table.from_batches(batches).unify_dictionaries().cast(ALL_TABLES[name]))
        assert isinstance(frame, pl.DataFrame)
        return frame.cast(polars_schema(name)).sort(_PLACE)

    return table


def tables_on_disk(recording: Recording) -> Tables:
    """Those of a folder."""
    return lambda name: scan_table(recording, name).sort(_PLACE).collect()


def order_frame(table: Tables) -> pl.DataFrame:
    """A row for each order, in the order they first appeared; the columns are `ORDER_COLUMNS`."""
    updates, fills = table("orders"), table("fills")
    ended = pl.col("state").is_in(sorted(TERMINAL_ORDER_STATES))
    key = (*_PAIR, "order_id")
    lives = updates.group_by(key, maintain_order=True).agg(
        pl.col("client_order_id", "side", "order_type", "time_in_force", "price", "size", "state", "status").last(),
        pl.col("ts_created").drop_nulls().first(),
        pl.col("ts_event").filter(ended).first().alias("ts_ended"),
        pl.col("ts_recv").first(),
    )
    filled = fills.group_by(key).agg(
        pl.col("size").sum().round(_DECIMALS).alias("filled"),
        ((pl.col("price") * pl.col("size")).sum() / pl.col("size").sum()).round_sig_figs(15).alias("average_price"),
        pl.len().cast(pl.Int64).alias("fill_count"),
        pl.col("fee").sum().round(_DECIMALS),
        pl.col("fee_asset").filter(pl.col("fee") != 0).unique().sort().str.join("+"),
    )
    return (
        lives.join(filled, on=key, how="left", maintain_order="left")
        .with_columns(
            pl.col("filled", "fee").fill_null(0.0), pl.col("fill_count").fill_null(0), pl.col("fee_asset").fill_null("")
        )
        .select(ORDER_COLUMNS)
    )


def fill_frame(table: Tables) -> pl.DataFrame:
    """A row for each execution; `position` is what is held after it, signed. The columns are `FILL_COLUMNS`."""
    # What was bought of a spot pair may have paid the fee itself; contracts have other words for their directions.
    base = pl.col("trading_pair").str.split("-").list.first()
    kept_back = pl.when((pl.col("direction") == "Buy") & (pl.col("fee_asset") == base)).then("fee").otherwise(0.0)
    signed = pl.when(pl.col("side") == Side.BUY).then(pl.col("size") - kept_back).otherwise(-pl.col("size"))
    return (
        table("fills")
        .with_columns(
            signed.cum_sum().over(_PAIR).round(_DECIMALS).alias("position"),
            (pl.col("cause") == UNCERTAIN).fill_null(False).alias("is_uncertain"),
        )
        # No -0.0, which would be shown.
        .with_columns(pl.when(pl.col("position") == 0).then(0.0).otherwise("position").alias("position"))
        .select(FILL_COLUMNS)
    )


def equity_frame(table: Tables) -> pl.DataFrame:
    """Points of equity; `drawdown` is what it is below its highest value before. The columns are `EQUITY_COLUMNS`."""
    worth = pl.col("equity") - pl.col("transfers")
    return (
        table("equity")
        .with_columns((worth.cum_max().over("wallet") - worth).round(_DECIMALS).alias("drawdown"))
        .select(EQUITY_COLUMNS)
    )


def position_frame(table: Tables) -> pl.DataFrame:
    """
    The position in each pair, a row whenever it changed and one at the end; the columns are `POSITION_COLUMNS`.

    Of spot pairs what was bought less what was sold, without an entry price.
    """
    stated = table("positions")
    fills = table("fills").filter(pl.col("position_before").is_null())
    signed = pl.when(pl.col("side") == Side.BUY).then("size").otherwise(-pl.col("size"))
    held = fills.with_columns(signed.cum_sum().over(_PAIR).round(_DECIMALS).alias("size"))
    return pl.concat([stated, held], how="diagonal").sort(_PLACE).select(POSITION_COLUMNS)
