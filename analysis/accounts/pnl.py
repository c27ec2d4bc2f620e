"""What a recording's accounts gained and lost, per pair: cash flows of the fills, and the position at the mark price."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from analysis.accounts.average_cost import realized_by_average_cost
from analysis.accounts.mark_prices import marks
from analysis.accounts.order_reports import new_fills
from analysis.accounts.spot_holdings import held_at_start
from analysis.instrument_choice import choose
from analysis.table_source import RecordingLike, rows_of, sealed_part
from recordings.recording import Recording
from toolkit.account_messages import AccountEventKind
from toolkit.errors import ConfigError
from toolkit.keys import PairName
from toolkit.messages import InstrumentKind, Side

__all__ = ["PNL_CHECK_SCHEMA", "PNL_SCHEMA", "PNL_SERIES_SCHEMA", "pnl_check", "pnl_report", "pnl_series"]

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
        "venue_difference": pl.Float64(),
        "currency": pl.String(),
        "held_start": pl.Float64(),
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
        "position": pl.Float64(),
        "mark_price": pl.Float64(),
        "realized": pl.Float64(),
        "unrealized": pl.Float64(),
        "fees": pl.Float64(),
        "funding": pl.Float64(),
        "net": pl.Float64(),
        "currency": pl.String(),
    }
)

#: Columns of `pnl_check`, in their order.
PNL_CHECK_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "account": pl.String(),
        "ts_first": pl.Datetime("ns"),
        "ts_last": pl.Datetime("ns"),
        "value_first": pl.Float64(),
        "value_last": pl.Float64(),
        "moved": pl.Float64(),
        "gained": pl.Float64(),
        "net": pl.Float64(),
        "difference": pl.Float64(),
    }
)

_PAIR: Final = ("venue", "account", "symbol")
#: Digits after the point to which sums of decimals are cleaned of what float64 adds: of sizes, and of money.
_DECIMALS: Final = 12
_MONEY_DECIMALS: Final = 9


def pnl_report(
    recording: RecordingLike, *, pairs: Collection[PairName] | PairName = (), venues: Collection[str] | str = ()
) -> pl.DataFrame:
    """
    Sum up each account's profit per pair, over the time that the account was watched.

    Args:
        recording: An open recording, or its folder.
        pairs: Only these pairs, by name or key (`PairKey`), or venue's symbols.
        venues: Only of these.

    Returns:
        The columns of `PNL_SCHEMA`, by account and symbol. Sizes in base currency, `turnover` in quote currency, money
        in the currency of settlement:

        - `net`: what the account gained: `realized` - `fees` + `funding` + `unrealized_end` - `unrealized_start`. It is
          made of the cash that fills moved and the position at the newest mark price, whatever the venue says of profit.
        - `realized`: without fees; as the venue says it of each fill, else by the average entry price.
        - `unrealized_start`: of a position that was there when the account was first watched; `unrealized_end`.
        - `fees`: positive: paid; those in another asset at its price in the recording. `funding`: positive: received.
        - `position_end`: signed, after the last fill. Of a spot pair what was bought and sold since the start.
        - `venue_difference`: unrealised profit of the venue's last statement less the one that follows from here at
          the same mark price, by which what the venue says was checked; null where it does not say both that and
          what its fills realised. `pnl_check` compares with the value of the whole account.
        - `currency`: of settlement, in which all money of the row is; null where nothing in the recording says it.
        - `held_start`: of a spot pair, what the account held of its base when it was first watched, which is in no other
          column: it belongs to no pair, may be deposited and withdrawn, and what it gained or lost by its price is not
          in `net`. Null for other pairs, and where the venue did not state it before the first fill of that asset.

        Null is what cannot be known: money that depends on a price or a position that was not stated, and everything
        from where fills no longer explain the position that the venue states.

    Raises:
        ConfigError: No account was recorded, or nothing of a venue.
        SymbolError: A pair, or a venue, that no fill, funding or position is of.
        NotARecording, FormatTooNew, RecordingDamaged: The folder cannot be used.
    """
    opened = sealed_part(recording)
    course = _course(opened, pairs, venues)
    fills = new_fills(rows_of(opened, "fills")).collect()
    is_buy = pl.col("side") == Side.BUY
    traded = fills.group_by(_PAIR).agg(
        pl.len().cast(pl.Int64).alias("fill_count"),
        pl.col("size").filter(is_buy).sum().round(_DECIMALS).alias("bought"),
        pl.col("size").filter(~is_buy).sum().round(_DECIMALS).alias("sold"),
        (pl.col("price") * pl.col("size")).sum().round_sig_figs(15).alias("turnover"),
        (pl.col("cause") == "liquidation").sum().cast(pl.Int64).alias("liquidation_fills"),
    )
    stated = pl.col("venue_difference").drop_nulls()
    spot = course.filter("is_spot").select(*_PAIR, "base").unique()
    # Of whatever pair: a holding is the account's.
    happened = _happenings(opened)
    spot_fills = (
        happened.filter(pl.col("kind") == _FILL)
        .join(_instruments(opened, happened), on=("venue", "symbol"))
        .filter("is_spot")
    )
    held = held_at_start(spot, spot_fills, rows_of(opened, "balances").collect())
    last = course.group_by(_PAIR, maintain_order=True).agg(
        pl.col("trading_pair", "realized", "fees", "funding", "net", "unrealized_start", "currency").last(),
        pl.col("unrealized").last().alias("unrealized_end"),
        pl.col("position").last().alias("position_end"),
        stated.last(),
    )
    counts = ("fill_count", "bought", "sold", "turnover", "liquidation_fills")
    return (
        last.join(traded, on=_PAIR, how="left")
        .join(held, on=_PAIR, how="left")
        .with_columns(pl.col(counts).fill_null(0))
        .sort(_PAIR)
        .select(_unsigned_zero(name, dtype) for name, dtype in PNL_SCHEMA.items())
    )


def pnl_series(
    recording: RecordingLike, *, pairs: Collection[PairName] | PairName = (), venues: Collection[str] | str = ()
) -> pl.DataFrame:
    """
    The course of each account's profit per pair: a row for each fill, funding payment and statement of a position.

    Returns:
        The columns of `PNL_SERIES_SCHEMA` in the order of capture, running totals as `pnl_report` explains them.
        `position` is the signed size, `mark_price` the newest one at that row (quote currency). Where a mark price came
        after the last of these rows, one more row values the position at the newest.

    Raises as `pnl_report` does.
    """
    course = _course(sealed_part(recording), pairs, venues)
    return course.select(_unsigned_zero(name, dtype) for name, dtype in PNL_SERIES_SCHEMA.items())


def _unsigned_zero(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as it is returned: a profit of nothing has no sign."""
    column = pl.col(name).cast(dtype)
    return pl.when(column == 0).then(0.0).otherwise(column).alias(name) if dtype == pl.Float64 else column


#: What a row of the course is.
_FILL, _PAYMENT, _STATEMENT, _CLOSING = 0, 1, 2, 3
#: Wallets whose value is that of an account's positions and what secures them: one, or one for each dex (`perp:xyz`).
_MARGIN_WALLET: Final = "^perp(:|$)"
_MOVES: Final = (AccountEventKind.DEPOSIT.value, AccountEventKind.WITHDRAWAL.value, AccountEventKind.TRANSFER.value)


def pnl_check(recording: RecordingLike) -> pl.DataFrame:
    """
    Compare what accounts gained with what the venue says that they are worth.

    Returns:
        The columns of `PNL_CHECK_SCHEMA`, a row for each account whose margin wallets the venue valued twice: `ts_first`,
        `ts_last` (Datetime ns, UTC) of the first and last statement, `value_first`, `value_last` then (of several wallets
        the sum, whatever each is in; one that was not seen yet is empty), `moved`: deposits less withdrawals between
        them, `gained`: what the value changed by beside those, `net` of `pnl_report` over that time without
        spot pairs (null where it is not known), and `difference` (`gained` - `net`). Float64, currency of settlement.
        What a venue lists later than it values the account (dYdX: funding, and fills missed while it was not connected)
        is in `gained` alone.

    Raises as `pnl_report` does.
    """
    opened = sealed_part(recording)
    key = ("venue", "account")
    course = _course(opened, (), ()).filter(~pl.col("is_spot"))
    values = (
        rows_of(opened, "balances")
        .filter(pl.col("wallet").str.contains(_MARGIN_WALLET))
        .sort("capture_seq", "sub_seq")
        .collect()
    )
    bounds = (
        values.group_by(key, maintain_order=True)
        .agg(
            pl.col("ts_recv").first().alias("ts_first"),
            pl.col("ts_recv").last().alias("ts_last"),
            pl.col("capture_seq").first().alias("first_seq"),
            pl.col("capture_seq").last().alias("last_seq"),
        )
        .filter(pl.col("last_seq") > pl.col("first_seq"))
    )
    events = rows_of(opened, "account_events").filter(~pl.col("is_history"), pl.col("kind").is_in(_MOVES)).collect()
    seq = pl.col("capture_seq")
    moved = (
        events.join(bounds, on=key)
        .filter(seq > pl.col("first_seq"), seq <= pl.col("last_seq"))
        .group_by(key)
        .agg(pl.col("amount").sum().alias("moved"))
    )

    def sum_at(bound: str, rows: pl.DataFrame, parts: str, column: str, name: str) -> pl.DataFrame:
        then = rows.join(bounds, on=key, maintain_order="left").filter(seq <= pl.col(bound))
        last = then.group_by(*key, parts, maintain_order=True).agg(pl.col(column).last())
        known = pl.when(pl.col(column).is_not_null().all()).then(pl.col(column).sum())
        return last.group_by(key, maintain_order=True).agg(known.alias(name))

    found = bounds.join(moved, on=key, how="left", maintain_order="left")
    for sums in (
        sum_at("first_seq", values, "wallet", "total", "value_first"),
        sum_at("last_seq", values, "wallet", "total", "value_last"),
        sum_at("first_seq", course, "symbol", "net", "net_first"),
        sum_at("last_seq", course, "symbol", "net", "net"),
    ):
        found = found.join(sums, on=key, how="left", maintain_order="left")
    gained = pl.col("value_last") - pl.col("value_first") - pl.col("moved")
    return (
        found.with_columns(pl.col("moved").fill_null(0.0))
        .with_columns(
            gained.round(_MONEY_DECIMALS).alias("gained"),
            (pl.col("net") - pl.col("net_first").fill_null(0.0)).round(_MONEY_DECIMALS),
        )
        .with_columns((pl.col("gained") - pl.col("net")).round(_MONEY_DECIMALS).alias("difference"))
        .sort(key)
        .select(_unsigned_zero(name, dtype) for name, dtype in PNL_CHECK_SCHEMA.items())
    )


def _course(
    recording: Recording, pairs: Collection[PairName] | PairName, venues: Collection[str] | str
) -> pl.DataFrame:
    """Every row of the series, with what the report needs beside it."""
    # 1. What happened to the accounts, and what each instrument was worth.
    rows = choose(
        _happenings(recording), recording, pairs, venues, error="nothing was gained or lost in {}; there are"
    ).sort("capture_seq", "sub_seq")
    instruments = _instruments(recording, rows)
    prices = marks(recording, rows.select("venue", "symbol").unique())
    rows = _marked(_with_closing(rows, prices), prices).join(
        instruments, on=("venue", "symbol"), how="left", maintain_order="left"
    )
    # Where nothing says what a pair settles in, it is what its fees are paid in, unless that is the base, or what secures it.
    paid_in = pl.col("fee_asset").filter((pl.col("fee_asset") != "") & (pl.col("fee_asset") != pl.col("base")))
    rows = rows.join(_margin(recording), on=("venue", "account"), how="left", maintain_order="left").with_columns(
        # Markets of another dex may have another collateral.
        pl.when(~pl.col("is_spot") & ~pl.col("symbol").str.contains(":", literal=True)).then("margin").alias("margin")
    )
    rows = rows.with_columns(pl.coalesce("settle", paid_in.first().over(_PAIR), "margin").alias("currency"))
    # 2. The position at the start, and what fills made of it. A fee in the base currency of a spot pair is taken from it.
    rows = _with_start(rows, rows_of(recording, "balances").collect())
    is_from_base = pl.col("is_spot") & (pl.col("fee_asset") == pl.col("base"))
    base_fee = pl.when(is_from_base).then(pl.col("fee")).otherwise(0.0)
    rows = rows.with_columns(
        (pl.col("signed").fill_null(0.0) - base_fee).alias("change"),
        (-pl.col("signed") * pl.col("price")).fill_null(0.0).alias("cash"),
        (base_fee * pl.col("price")).fill_null(0.0).alias("fee_from_base"),
    ).with_columns((pl.col("size_start") + pl.col("change").cum_sum().over(_PAIR)).round(_DECIMALS).alias("position"))
    rows = rows.with_columns(
        pl.when(pl.col("position") == 0).then(0.0).otherwise("position").alias("position")
    )  # no -0.0
    # 3. Money, as running totals. What is not known once is not known from there on.
    rows = rows.with_columns(_fee_paid(recording, rows, prices), _realized(rows)).with_columns(
        _total("amount", _PAYMENT).alias("funding"),
        _total("fee_paid", _FILL).alias("fees"),
        _total("realized_now", _FILL).alias("realized"),
        _total("cash", _FILL).alias("cash"),
        _total("fee_from_base", _FILL).alias("fee_from_base"),
    )
    rows = rows.with_columns(_unexplained(rows) | rows["is_inverse"])
    value = pl.when(pl.col("position") == 0).then(0.0).otherwise(pl.col("position") * pl.col("mark_price"))
    gained = pl.col("cash") + value - pl.col("value_start") + pl.col("fee_from_base")
    return (
        rows.with_columns(
            pl.when(~pl.col("is_unexplained")).then(gained).alias("gained"),
            pl.when(~pl.col("is_unexplained")).then("realized").alias("realized"),
        )
        .with_columns(
            (pl.col("gained") - pl.col("fees") + pl.col("funding")).round(_MONEY_DECIMALS).alias("net"),
            (pl.col("gained") - pl.col("realized") + pl.col("unrealized_start"))
            .round(_MONEY_DECIMALS)
            .alias("unrealized"),
        )
        .with_columns(
            # Where the statement speaks of this very position, and not of it before or after the fills of its frame, and
            # where the venue says what fills realised: others account for the entry price in ways of their own.
            pl.when((pl.col("stated") == pl.col("position")) & pl.col("realized_pnl").is_not_null().any().over(_PAIR))
            .then((pl.col("unrealized_pnl") - pl.col("unrealized")).round(_MONEY_DECIMALS))
            .alias("venue_difference")
        )
        # A price alone is a row only where it changes what an open position is worth.
        .filter((pl.col("kind") != _CLOSING) | (pl.col("position") != 0))
    )


def _happenings(recording: Recording) -> pl.DataFrame:
    """Fills, payments and statements of positions, in the order of capture."""
    fills = new_fills(rows_of(recording, "fills")).collect()
    payments = rows_of(recording, "funding_payments").filter(~pl.col("is_history")).collect()
    statements = rows_of(recording, "positions").collect()
    key = (*_PAIR, "trading_pair", "ts_event", "ts_recv", "capture_seq", "sub_seq")
    signed = pl.when(pl.col("side") == Side.BUY).then(pl.col("size")).otherwise(-pl.col("size")).alias("signed")
    of_fill = ("price", signed, "fee", "fee_asset", "realized_pnl", "position_before")
    of_statement = (pl.col("size").alias("stated"), "entry_price", "unrealized_pnl", "position_value")
    rows = pl.concat(
        [
            fills.select(*key, *of_fill, kind=pl.lit(_FILL)),
            payments.select(*key, "amount", kind=pl.lit(_PAYMENT)),
            statements.select(*key, *of_statement, kind=pl.lit(_STATEMENT)),
        ],
        how="diagonal",
    )
    if rows.is_empty():
        raise ConfigError(f"{recording.path} holds no fills and no positions: record with an account's address")
    return rows


def _instruments(recording: Recording, rows: pl.DataFrame) -> pl.DataFrame:
    """`is_spot`, `base` and `settle` of each instrument: as the venue last said, else by what its name says."""
    stated = (
        rows_of(recording, "instruments")
        .sort("capture_seq", "sub_seq")
        .group_by("venue", "symbol", maintain_order=True)
        .agg(pl.col("kind", "base", "quote", "settle", "contract_value").last())
        .collect()
    )
    word = pl.col("trading_pair").str.split("-").list
    named = rows.group_by("venue", "symbol").agg(
        word.first().last().alias("named_base"),
        # Of perpetuals the venue knows positions.
        ((pl.col("kind") != _FILL) | pl.col("position_before").is_not_null()).any().not_().alias("has_no_position"),
    )
    holdings = (InstrumentKind.SPOT.value, InstrumentKind.OUTCOME.value)
    is_spot = pl.col("kind").is_in(holdings).fill_null(pl.col("has_no_position"))
    settle = pl.when(is_spot).then("quote").otherwise("settle")

    def known(text: pl.Expr) -> pl.Expr:
        return pl.when(text != "").then(text)

    return named.join(stated, on=("venue", "symbol"), how="left").select(
        "venue",
        "symbol",
        is_spot.alias("is_spot"),
        known(pl.col("base")).fill_null(pl.col("named_base")).alias("base"),
        known(settle).alias("settle"),
        # Contracts of fixed value gain with the inverse of the price, which is not worked out here.
        pl.col("contract_value").is_not_null().alias("is_inverse"),
    )


def _margin(recording: Recording) -> pl.DataFrame:
    """The asset that secures each account's positions, as `margin`, where there is one alone."""
    wallets = rows_of(recording, "balances").filter(pl.col("wallet") == "perp").group_by("venue", "account")
    assets = wallets.agg(pl.col("asset").unique().alias("assets")).collect()
    return assets.filter(pl.col("assets").list.len() == 1).select(
        "venue", "account", pl.col("assets").list.first().alias("margin")
    )


def _with_closing(rows: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Add a row for each account and pair whose newest price is newer than what was last received of it."""
    newest = prices.group_by("venue", "symbol", maintain_order=True).agg(pl.col("ts_recv", "capture_seq").last())
    last = rows.group_by(_PAIR, maintain_order=True).agg(
        pl.col("trading_pair").last(), pl.col("capture_seq").last().alias("heard")
    )
    closing = (
        last.join(newest, on=("venue", "symbol"), maintain_order="left")
        .filter(pl.col("capture_seq") > pl.col("heard"))
        .select(*_PAIR, "trading_pair", "ts_recv", "capture_seq", pl.lit(0, pl.Int32).alias("sub_seq"), kind=_CLOSING)
    )
    return pl.concat([rows, closing], how="diagonal").sort("capture_seq", "sub_seq", maintain_order=True)


def _marked(rows: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Add `mark_price`: the newest at each row, of those that the venue streams and those that its statements rest on."""
    by_value = pl.col("position_value") / pl.col("stated").abs()
    by_profit = pl.col("entry_price") + pl.col("unrealized_pnl") / pl.col("stated")
    stated = pl.when(pl.col("stated") != 0).then(pl.coalesce(by_value, by_profit))
    streamed = prices.select("venue", "symbol", "capture_seq", "mark", pl.col("capture_seq").alias("mark_seq"))
    rows = rows.join_asof(streamed, on="capture_seq", by=["venue", "symbol"], check_sortedness=False)
    return (
        rows.with_columns(stated.alias("stated_mark"))
        .with_columns(
            pl.col("stated_mark").forward_fill().over(_PAIR),
            pl.when(pl.col("stated_mark").is_not_null())
            .then("capture_seq")
            .forward_fill()
            .over(_PAIR)
            .alias("stated_seq"),
        )
        .with_columns(
            pl.when(pl.col("mark").is_null() | (pl.col("stated_seq") >= pl.col("mark_seq")))
            .then("stated_mark")
            .otherwise("mark")
            .alias("mark_price")
        )
    )


def _with_start(rows: pl.DataFrame, balances: pl.DataFrame) -> pl.DataFrame:
    """Add what there was when the account was first watched: size, entry price, value and unrealised profit."""
    watched = balances.group_by("venue", "account").agg(pl.col("capture_seq").min().alias("watched_seq"))
    rows = rows.join(watched, on=["venue", "account"], how="left", maintain_order="left")
    # A position of the first statement was there before; one that came later began with a fill, or at nothing.
    is_first = (pl.col("kind") == _STATEMENT) & (pl.col("capture_seq") <= pl.col("watched_seq"))
    before = pl.col("position_before").filter(pl.col("kind") == _FILL)
    by_time = pl.col("ts_event").filter(pl.col("kind") == _FILL)

    def first(name: str) -> pl.Expr:
        return pl.col(name).filter(is_first).first()

    start = rows.group_by(_PAIR, maintain_order=True).agg(
        pl.when(pl.col("is_spot").first())
        .then(0.0)
        .otherwise(
            pl.coalesce(
                first("stated"),
                before.sort_by(by_time, maintain_order=True).first(),
                pl.when(pl.col("watched_seq").first().is_not_null()).then(0.0),
                pl.col("stated").drop_nulls().first(),
            )
        )
        .alias("size_start"),
        pl.coalesce(first("entry_price"), pl.col("entry_price").drop_nulls().first()).alias("entry_start"),
        pl.coalesce(first("mark_price"), pl.col("mark_price").first()).alias("mark_start"),
        first("unrealized_pnl").alias("stated_start"),
    )
    size, is_flat = pl.col("size_start"), pl.col("size_start") == 0
    by_entry = size * (pl.col("mark_start") - pl.col("entry_start"))
    start = start.select(
        *_PAIR,
        "size_start",
        pl.when(~is_flat).then("entry_start").alias("entry_start"),
        pl.when(is_flat).then(0.0).otherwise(size * pl.col("mark_start")).alias("value_start"),
        pl.when(is_flat).then(0.0).otherwise(pl.coalesce("stated_start", by_entry)).alias("unrealized_start"),
    )
    return rows.join(start, on=_PAIR, how="left", maintain_order="left")


def _fee_paid(recording: Recording, rows: pl.DataFrame, prices: pl.DataFrame) -> pl.Series:
    """What each fill cost in the currency of settlement; null where the asset it was paid in has no price."""
    asset, settle = pl.col("fee_asset"), pl.col("settle")
    # Where nothing says what a pair settles in, it is what its fees are paid in, unless that is the base.
    is_settle = (asset == settle).fill_null(asset != pl.col("base")) | (asset == "")
    named = rows.with_columns(pl.concat_str(asset, pl.lit("-"), settle).alias("fee_pair"))
    symbols = rows_of(recording, "top").select("venue", "symbol", "trading_pair").unique().collect()
    wanted = named.filter(is_settle.not_()).select("venue", pl.col("fee_pair").alias("trading_pair")).unique()
    others = symbols.join(wanted, on=["venue", "trading_pair"], how="semi").join(
        prices, on=["venue", "symbol"], how="anti"
    )
    every = pl.concat([prices, marks(recording, others)]) if others.height else prices
    of_asset = every.select(
        "venue", pl.col("trading_pair").alias("fee_pair"), "capture_seq", pl.col("mark").alias("worth")
    )
    worth = named.join_asof(
        of_asset.sort("capture_seq"), on="capture_seq", by=["venue", "fee_pair"], check_sortedness=False
    )
    fee = pl.col("fee")
    return worth.select(
        pl.when(is_settle)
        .then(fee)
        .when(asset == pl.col("base"))
        .then(fee * pl.col("price"))
        .otherwise(fee * pl.col("worth"))
        .alias("fee_paid")
    ).to_series()


def _realized(rows: pl.DataFrame) -> pl.Series:
    """What each fill realised, without fees: as the venue says it, else by the average entry price."""
    fills = rows.with_row_index("row").filter(pl.col("kind") == _FILL)
    silent = fills.filter(pl.col("realized_pnl").is_null()).select(_PAIR).unique()
    own: dict[int, float | None] = {}
    for part in fills.join(silent, on=_PAIR, how="semi", maintain_order="left").partition_by(*_PAIR):
        size, entry = part.select("size_start", "entry_start").row(0)
        # By the venue's time: one that was missed and asked for comes late.
        part = part.sort("ts_event", nulls_last=True, maintain_order=True)
        values: list[float | None] = [None] * part.height
        if size is not None:
            values = realized_by_average_cost(size, entry, part.select("change", "price").iter_rows())
        own.update(zip(part["row"], values, strict=True))
    found = pl.Series("own", [own.get(row) for row in range(rows.height)], pl.Float64)
    return rows.select(pl.coalesce(pl.col("realized_pnl"), found).alias("realized_now")).to_series()


def _total(column: str, kind: int) -> pl.Expr:
    """Running total over the rows of one kind; null from the first of them that is."""
    is_unknown = (pl.col("kind") == kind) & pl.col(column).is_null()
    total = pl.when(pl.col("kind") == kind).then(column).fill_null(0.0).cum_sum().over(_PAIR).round(_DECIMALS)
    return pl.when(~is_unknown.cast(pl.Int8).cum_max().over(_PAIR).cast(pl.Boolean)).then(total)


def _unexplained(rows: pl.DataFrame) -> pl.Series:
    """
    Whether fills do not explain the position any more: after the last statement that agrees with them, if others follow.

    A statement agrees with the fills before it in the order of capture, with or without those of its own frame or those
    that come before the next statement, or with those before it by the venue's time: what comes first, the statement or
    the fill it rests on, is not fixed.
    """
    fills = rows.filter(pl.col("kind") == _FILL, pl.col("ts_event").is_not_null()).sort("ts_event", maintain_order=True)
    by_time = fills.select(
        *_PAIR, "ts_event", (pl.col("size_start") + pl.col("change").cum_sum().over(_PAIR)).alias("then")
    )
    numbered = rows.with_row_index("row")
    timed = numbered.filter(pl.col("kind") == _STATEMENT, pl.col("ts_event").is_not_null()).sort("ts_event")
    then = timed.join_asof(by_time, on="ts_event", by=list(_PAIR), check_sortedness=False)
    frame = (*_PAIR, "capture_seq")
    positions = (
        pl.col("position"),
        pl.col("position").last().over(frame),
        (pl.col("position") - pl.col("change")).first().over(frame),
        pl.coalesce("then", "size_start"),
    )
    near = pl.max_horizontal(pl.col("stated").abs(), 1.0) * 1e-9
    agrees = pl.any_horizontal((each - pl.col("stated")).abs() <= near for each in positions)
    # Or with those that come after it and before the next one: fills that were missed are asked for, and come late.
    numbered = numbered.with_columns((pl.col("kind") == _STATEMENT).cum_sum().over(_PAIR).alias("statement"))
    until_next = (*_PAIR, "statement")
    ahead = (
        (pl.col("position") - pl.col("stated").first().over(until_next)).abs() <= near.first().over(until_next)
    ).any()
    agrees |= ahead.over(until_next)
    is_statement = pl.col("kind") == _STATEMENT
    is_agreed = is_statement & agrees.fill_null(False)
    later = ("row", "is_agreed", "is_other")
    return (
        numbered.join(then.select("row", "then"), on="row", how="left", maintain_order="left")
        .with_columns(is_agreed.alias("is_agreed"), (is_statement & ~agrees.fill_null(False)).alias("is_other"))
        .select(*_PAIR, *later)
        .with_columns(pl.col("row").filter("is_agreed").max().over(_PAIR).fill_null(0).alias("last_agreed"))
        .with_columns((pl.col("is_other") & (pl.col("row") > pl.col("last_agreed"))).alias("is_other"))
        .select(
            (pl.col("is_other").any().over(_PAIR) & (pl.col("row") > pl.col("last_agreed"))).alias("is_unexplained")
        )
        .to_series()
    )
