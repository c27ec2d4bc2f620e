"""The numbers of a result that are about money, what may be doubted first, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from replay.ledger.daily_returns import SHARPE_DAYS_MIN, daily_returns, sharpe_ratio, whole_days
from replay.results.profit_parts import divided
from replay.results.result_metrics import Metric, totals_of
from replay.results.run_info import AccountInfo, RunInfo
from replay.results.run_study import RunStudy
from toolkit.clock import NS_PER_S

__all__ = ["money_metrics"]


def money_metrics(info: RunInfo, study: RunStudy | None, fills: pl.DataFrame, equity: pl.DataFrame) -> Iterator[Metric]:
    """
    Of the whole run and of each account.

    Args:
        info: Figures of the run, as its manifest has them.
        study: Measurements of the market around its fills.
        fills: Rows of `Result.fills`.
        equity: Rows of `Result.equity`.
    """
    yield from _doubt(info, fills)
    yield from _money(info, study, equity)


def _doubt(info: RunInfo, fills: pl.DataFrame) -> Iterator[Metric]:
    yield Metric(
        name="doubtful_time",
        title="doubtful time",
        value=info.doubtful_time_share,
        unit="share",
        definition="Share of the time in which a book of the run was not known, or a position was uncertain.",
        source="equity",
    )
    for account in info.accounts:
        yield Metric(
            name="doubtful_profit",
            title="doubtful profit",
            value=account.doubtful_profit_share,
            unit="share",
            definition="Of the change of equity in doubtful times and that in all others, each as a positive number, the"
            " share of the first; deposits and withdrawals left out.",
            source="equity",
            wallet=account.name,
        )
    uncertain = int(fills["is_uncertain"].sum())
    yield Metric(
        name="uncertain_fills",
        title="uncertain fills",
        value=uncertain,
        unit="",
        definition="Executions of orders that had rested while their book was not known.",
        source="fills",
    )


def _money(info: RunInfo, study: RunStudy | None, equity: pl.DataFrame) -> Iterator[Metric]:
    for asset, (net, _) in totals_of(info).items():
        if len([account for account in info.accounts if account.asset == asset]) > 1:
            yield Metric(
                name="net_profit_together",
                title=f"net profit in {asset}",
                value=net,
                unit=asset,
                definition="Net profit of all accounts in that currency together.",
                source="ledger",
            )
    for account in info.accounts:
        yield from _of_account(info, account)
        yield from _parts(info, account, study)
        yield from _ratios(info, account, equity)


def _of_account(info: RunInfo, account: AccountInfo) -> Iterator[Metric]:
    def amount(name: str, title: str, value: Decimal | None, definition: str) -> Metric:
        return Metric(
            name=name,
            title=title,
            value=value,
            unit=account.asset,
            definition=definition,
            source="ledger",
            wallet=account.name,
        )

    yield amount(
        "net_profit", "net profit", account.net, "Equity at the end less that at the start and what was deposited."
    )
    yield amount(
        "realized",
        "  realized",
        account.realized,
        "Profit of closed positions at average cost, before fees and funding.",
    )
    yield amount("unrealized", "  not realized", account.unrealized, "Profit of open positions at their marks.")
    yield amount(
        "fees", "  fees", account.fees, "Paid to the venue, with the worth of fees in kind; negative: received."
    )
    yield amount("funding", "  funding", account.funding, "Received; negative: paid.")
    yield amount("equity_end", "equity at the end", account.end, "Cash and what positions are worth at their marks.")
    return_share = float(account.net / account.start) if account.start > 0 else None
    yield Metric(
        name="return",
        title="return",
        value=return_share,
        unit="share",
        definition="Net profit over the equity at the start; none without capital.",
        source="ledger",
        wallet=account.name,
    )
    yield amount(
        "drawdown_max",
        "deepest drawdown",
        account.drawdown_max,
        "Deepest fall of equity below its highest value before, over every change, deposits and withdrawals left out.",
    )
    yield Metric(
        name="drawdown_length",
        title="  its length",
        value=account.drawdown_ns / NS_PER_S,
        unit="s",
        definition="From that highest value until equity was there again, or until the end.",
        source="ledger, at every change of equity",
        wallet=account.name,
    )
    worth = sum((pair.turnover for pair in info.pairs if pair.account == account.name), Decimal(0))
    yield Metric(
        name="profit_of_turnover",
        title="profit of turnover",
        value=float(account.net / worth) * 1e4 if worth else None,
        unit="bp",
        definition="Net profit over the worth of all executions, in basis points; none without an execution.",
        source="ledger",
        wallet=account.name,
    )


def _parts(info: RunInfo, account: AccountInfo, study: RunStudy | None) -> Iterator[Metric]:
    """Where the net profit came from: fees and funding are with the money above."""
    if study is None:
        return
    found = [each for each in divided(info, study) if each.account is account]

    def part(name: str, title: str, value: Decimal, definition: str) -> Metric:
        return Metric(
            name=name,
            title=title,
            value=value,
            unit=account.asset,
            definition=definition,
            source="fills; top of the recording",
            wallet=account.name,
        )

    yield part(
        "spread_captured",
        "spread captured",
        found[0].spread,
        "What fills earned against the middle of the book just before them, added up; negative where they paid it.",
    )
    for each in found:
        yield part(
            f"adverse_selection_{each.horizon_s}s",
            f"adverse selection, {each.horizon_s} s",
            each.adverse,
            f"Where that middle went within {each.horizon_s} s of each fill; negative if against it. What the run's end"
            " cuts short counts as far as it goes.",
        )
        yield part(
            f"inventory_{each.horizon_s}s",
            f"inventory, {each.horizon_s} s",
            each.inventory,
            f"What was gained by holding on from then: with spread, adverse selection of {each.horizon_s} s, fees and funding"
            " it makes the net profit, exactly.",
        )
    if found[0].other:
        yield part("other", "other", found[0].other, "Of the net profit, what no pair accounts for.")


def _ratios(info: RunInfo, account: AccountInfo, equity: pl.DataFrame) -> Iterator[Metric]:
    returns = daily_returns(equity, account.name, info.start_ns, info.end_ns)
    days = whole_days(returns, info.start_ns, info.end_ns)
    yield Metric(
        name="sharpe",
        title=f"Sharpe ratio, steps of 1 day, {len(days)} samples",
        value=sharpe_ratio(days),
        unit="",
        definition="Mean over standard deviation of what was gained on each whole day (UTC), times the root of 365; blank"
        f" below {SHARPE_DAYS_MIN} days.",
        source="equity",
        wallet=account.name,
    )
