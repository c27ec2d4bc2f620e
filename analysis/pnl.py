"""What a recording's accounts gained and lost: realised and unrealised profit, fees and funding, per pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from analysis.orders import new_fills
from analysis.source import RecordingLike, open_recording, scan
from toolkit.errors import ConfigError, SymbolError
from toolkit.messages import Side

__all__ = ["PNL_SCHEMA", "PNL_SERIES_SCHEMA", "pnl_report", "pnl_series"]

#: Columns of `pnl_report`, in their order.
PNL_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "account": pl.String(),
        "symbol": pl.String(),
        "trading_pair": pl.String(),
        "fill_count": pl.Int64(),
        "bought": pl.Float64(),
        "sold": pl.Float64(),
        "turnover": pl.Float64(),
        "realized": pl.Float64(),
        "unrealized_start": pl.Float64(),
        "unrealized_end": pl.Float64(),
        "fees": pl.Float64(),
        "funding": pl.Float64(),
        "net": pl.Float64(),
        "position_end": pl.Float64(),
        "liquidation_fills": pl.Int64(),
    }
)

#: Columns of `pnl_series`, in their order.
PNL_SERIES_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "account": pl.String(),
        "symbol": pl.String(),
        "trading_pair": pl.String(),
        "ts_recv": pl.Datetime("ns"),
        "realized": pl.Float64(),
        "unrealized": pl.Float64(),
        "fees": pl.Float64(),
        "funding": pl.Float64(),
        "net": pl.Float64(),
    }
)

_PAIR: Final = ("venue", "account", "symbol")
_DECIMALS: Final = 12


def pnl_report(recording: RecordingLike, *, pairs: Sequence[str] = ()) -> pl.DataFrame:
    """
    Sum up each account's profit per pair, over the time that the account was watched.

    Args:
        recording: An open recording, or its folder.
        pairs: Only these pairs, or venue's symbols.

    Returns:
        The columns of `PNL_SCHEMA`, by account and symbol. Money in the currency of settlement: `realized` without
        fees, as the venue counts it against its entry prices; `fees` positive: paid (those paid in the base token at
        the price of the fill); `funding` positive: received; `unrealized_start` of positions that were there when the
        account was first watched. `net` is what the account gained: realized - fees + funding + the change of the
        unrealised profit. Sizes in base currency, `turnover` in quote currency. What happened before is left out.

    Raises:
        ConfigError: No account was recorded.
        SymbolError: A pair that no fill, funding or position is of.
        NotARecording, FormatTooNew, RecordingDamaged: The folder cannot be used.
    """
    series = pnl_series(recording, pairs=pairs)
    opened = open_recording(recording)
    fills = new_fills(scan(opened, "fills")).collect()
    is_buy = pl.col("side") == Side.BUY
    traded = fills.group_by(_PAIR).agg(
        pl.len().cast(pl.Int64).alias("fill_count"),
        pl.col("size").filter(is_buy).sum().round(_DECIMALS).alias("bought"),
        pl.col("size").filter(~is_buy).sum().round(_DECIMALS).alias("sold"),
        (pl.col("price") * pl.col("size")).sum().round_sig_figs(15).alias("turnover"),
        (pl.col("cause") == "liquidation").sum().cast(pl.Int64).alias("liquidation_fills"),
    )
    positions = scan(opened, "positions").sort("capture_seq", "sub_seq").collect()
    held = positions.group_by(_PAIR).agg(pl.col("size").last().alias("position_end"))
    start = _start_positions(positions, scan(opened, "balances").collect())
    last = series.group_by(_PAIR, maintain_order=True).agg(
        pl.col("trading_pair", "realized", "fees", "funding", "net").last(),
        pl.col("unrealized").last().alias("unrealized_end"),
    )
    counts = ("fill_count", "bought", "sold", "turnover", "liquidation_fills", "position_end", "unrealized_start")
    return (
        last.join(traded, on=_PAIR, how="left")
        .join(held, on=_PAIR, how="left")
        .join(start, on=_PAIR, how="left")
        .with_columns(pl.col(counts).fill_null(0))
        .sort("venue", "account", "symbol")
        .select(pl.col(name).cast(dtype) for name, dtype in PNL_SCHEMA.items())
    )


def pnl_series(recording: RecordingLike, *, pairs: Sequence[str] = ()) -> pl.DataFrame:
    """
    The course of each account's profit per pair: a row for each fill, funding payment and statement of a position.

    Returns:
        The columns of `PNL_SERIES_SCHEMA` in the order of capture, running totals as `pnl_report` explains them;
        `unrealized` is the venue's last statement, less what fills have realised of it since.

    Raises as `pnl_report` does.
    """
    opened = open_recording(recording)
    fills = new_fills(scan(opened, "fills")).collect()
    payments = scan(opened, "funding_payments").filter(~pl.col("is_history")).collect()
    positions = scan(opened, "positions").collect()
    key = (*_PAIR, "trading_pair", "ts_recv", "capture_seq", "sub_seq")
    base = pl.col("trading_pair").str.split("-").list.first()
    fee = pl.when(pl.col("fee_asset") == base).then(pl.col("fee") * pl.col("price")).otherwise(pl.col("fee"))
    rows = pl.concat(
        [
            fills.select(*key, pl.col("realized_pnl").fill_null(0.0).alias("realized"), fee.alias("fees")),
            payments.select(*key, pl.col("amount").alias("funding")),
            positions.select(*key, pl.col("unrealized_pnl").fill_null(0.0).alias("unrealized")),
        ],
        how="diagonal",
    ).sort("capture_seq", "sub_seq")
    if rows.is_empty():
        raise ConfigError(f"{opened.path} holds no fills and no positions: record with an account's address")
    if pairs:
        there = sorted(set(rows["trading_pair"]))
        for pair in pairs:
            if pair not in there and pair not in rows["symbol"]:
                raise SymbolError(f"nothing was gained or lost in {pair}; there are {', '.join(there)}")
        rows = rows.filter(pl.col("trading_pair").is_in(pairs) | pl.col("symbol").is_in(pairs))
    start = _start_positions(positions, scan(opened, "balances").collect())
    flow = ("realized", "fees", "funding")
    return (
        rows.join(start, on=_PAIR, how="left", maintain_order="left")
        .with_columns(
            *(pl.col(name).fill_null(0.0).cum_sum().round(_DECIMALS).over(_PAIR) for name in flow),
            pl.col("unrealized_start").fill_null(0.0),
            pl.col("unrealized").is_not_null().alias("is_statement"),
        )
        .with_columns(
            pl.col("unrealized").forward_fill().over(_PAIR),
            # What was realised since the venue's last statement is still in that statement.
            pl.when("is_statement")
            .then("realized")
            .forward_fill()
            .over(_PAIR)
            .fill_null(pl.col("realized"))
            .alias("realized_then"),
        )
        # Until the venue states the position, its profit is what it was at the start.
        .with_columns(
            pl.col("unrealized").fill_null(pl.col("unrealized_start")) - (pl.col("realized") - pl.col("realized_then"))
        )
        .with_columns(
            (
                pl.col("realized")
                - pl.col("fees")
                + pl.col("funding")
                + pl.col("unrealized")
                - pl.col("unrealized_start")
            )
            .round(_DECIMALS)
            .alias("net")
        )
        .select(pl.col(name).cast(dtype) for name, dtype in PNL_SERIES_SCHEMA.items())
    )


def _start_positions(positions: pl.DataFrame, balances: pl.DataFrame) -> pl.DataFrame:
    """Unrealised profit of the positions in the first statement of each account."""
    first = (
        balances.filter(pl.col("wallet").str.starts_with("perp"))
        .group_by("venue", "account")
        .agg(pl.col("capture_seq").min())
    )
    return positions.join(first, on=["venue", "account", "capture_seq"], how="semi").select(
        *_PAIR, pl.col("unrealized_pnl").fill_null(0.0).alias("unrealized_start")
    )
