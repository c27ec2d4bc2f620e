"""The numbers of a result, each with its unit and what it means."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import msgspec
import polars as pl

from replay.results.run_info import AccountInfo, RunInfo
from toolkit.account_messages import OrderState
from toolkit.clock import NS_PER_S, format_ns

__all__ = ["Metric", "as_json", "length", "metrics_of", "money", "percent", "totals_of"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """
    One number.

    Attributes:
        name: For programs.
        title: For people.
        value: The number; amounts are exact decimals. None: there is none.
        unit: Such as `USDC` or `share`; empty for a count.
        definition: What it means.
        wallet: The account that it is of; empty for the whole run.
    """

    name: str
    title: str
    value: Decimal | float | int | str | None
    unit: str
    definition: str
    wallet: str = ""

    @property
    def text(self) -> str:
        """The number as it is shown."""
        match self.value:
            case None:
                return "-"
            case str():
                return self.value
            case Decimal():
                return f"{money(self.value)} {self.unit}".rstrip()
            case float() if self.unit == "share":
                return percent(self.value)
            case float() if self.unit == "s":
                return length(self.value)
            case float():
                return f"{self.value:,.6g} {self.unit}".rstrip()
            case _:
                return f"{self.value:,} {self.unit}".rstrip()


def money(value: Decimal) -> str:
    """An amount with as many digits as it takes to tell small ones apart: two at least, eight at most."""
    with localcontext(prec=200):
        size = abs(value)
        places = 2 if size >= 1000 else 4 if size >= 1 else 8
        rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
        text = f"{rounded:,f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    text = f"{whole}.{fraction.ljust(2, '0')}"
    return text.removeprefix("-") if not any(digit in "123456789" for digit in text) else text


def percent(value: float) -> str:
    """A share as per cent, to three digits; what is not all of it does not look like it."""
    if 0.9995 < value < 1:
        return "above 99.9 %"
    return f"{Decimal(f'{value * 100:.3g}'):,f} %"


def length(seconds: float) -> str:
    """A length of time, such as `1 h 5 min` or `1.25 s`."""
    if seconds < 60:
        return f"{seconds:.4g} s"
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


#: What of a run is counted, by the name it is counted under; others are shown by that name.
_COUNTED = {
    "clipped_responses": (
        "answers clipped",
        "Answers that were due before the frame that caused them, and were received with it.",
    ),
    "gaps": ("gaps", "Times that a book of the run was not known for a while."),
    "uncertain_orders": ("orders across gaps", "Orders that rested while their book was not known."),
}


def metrics_of(info: RunInfo, orders: pl.DataFrame, fills: pl.DataFrame) -> list[Metric]:
    """
    All numbers of a run, what may be doubted first.

    Args:
        info: What the run says of itself.
        orders: Of `Result.orders`.
        fills: Of `Result.fills`.
    """
    return [*_doubt(info, fills), *_money(info), *_trading(info, orders, fills), *_counts(info), *_span(info)]


def _doubt(info: RunInfo, fills: pl.DataFrame) -> Iterator[Metric]:
    yield Metric(
        name="doubtful_time",
        title="doubtful time",
        value=info.doubtful_time_share,
        unit="share",
        definition="Share of the time in which a book of the run was not known, or a position was uncertain.",
    )
    for account in info.accounts:
        yield Metric(
            name="doubtful_profit",
            title="doubtful profit",
            value=account.doubtful_profit_share,
            unit="share",
            definition="Of the change of equity in doubtful times and that in all others, each as a positive number, the"
            " share of the first.",
            wallet=account.name,
        )
    uncertain = int(fills["is_uncertain"].sum())
    yield Metric(
        name="uncertain_fills",
        title="uncertain fills",
        value=uncertain,
        unit="",
        definition="Executions of orders that had rested while their book was not known.",
    )


def totals_of(info: RunInfo) -> dict[str, tuple[Decimal, Decimal]]:
    """Net profit and fees of all accounts together, by currency."""
    totals: dict[str, tuple[Decimal, Decimal]] = {}
    with localcontext(prec=200):
        for account in info.accounts:
            net, fees = totals.get(account.asset, (Decimal(0), Decimal(0)))
            totals[account.asset] = (net + account.net, fees + account.fees)
    return totals


def _money(info: RunInfo) -> Iterator[Metric]:
    for asset, (net, _) in totals_of(info).items():
        if len([account for account in info.accounts if account.asset == asset]) > 1:
            yield Metric(
                name="net_profit_together",
                title=f"net profit in {asset}",
                value=net,
                unit=asset,
                definition="Net profit of all accounts in that currency together.",
            )
    for account in info.accounts:
        yield from _of_account(account)


def _of_account(account: AccountInfo) -> Iterator[Metric]:
    def amount(name: str, title: str, value: Decimal | None, definition: str) -> Metric:
        return Metric(
            name=name, title=title, value=value, unit=account.asset, definition=definition, wallet=account.name
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
    yield amount("fees", "  fees", account.fees, "Paid to the venue; negative: received.")
    yield amount("funding", "  funding", account.funding, "Received; negative: paid.")
    yield amount("equity_end", "equity at the end", account.end, "Cash and what positions are worth at their marks.")
    return_share = float(account.net / account.start) if account.start > 0 else None
    yield Metric(
        name="return",
        title="return",
        value=return_share,
        unit="share",
        definition="Net profit over the equity at the start; none without capital.",
        wallet=account.name,
    )
    yield amount(
        "drawdown_max",
        "deepest drawdown",
        account.drawdown_max,
        "Deepest fall of equity below its highest value before, over every change.",
    )
    yield Metric(
        name="drawdown_length",
        title="  its length",
        value=account.drawdown_ns / NS_PER_S,
        unit="s",
        definition="From that highest value until equity was there again, or until the end.",
        wallet=account.name,
    )


def _trading(info: RunInfo, orders: pl.DataFrame, fills: pl.DataFrame) -> Iterator[Metric]:
    for settle in dict.fromkeys(pair.settle for pair in info.pairs if pair.settle):
        turnover = sum((pair.turnover for pair in info.pairs if pair.settle == settle), Decimal(0))
        yield Metric(
            name="turnover",
            title="turnover",
            value=turnover,
            unit=settle,
            definition="Price times size of every execution, added up; of inverse contracts their worth.",
            wallet=settle,
        )
    makers, takers = (sum(getattr(pair, name) for pair in info.pairs) for name in ("maker_fills", "taker_fills"))
    yield Metric(
        name="maker_fills", title="fills as maker", value=makers, unit="", definition="Executions of resting orders."
    )
    yield Metric(
        name="taker_fills", title="fills as taker", value=takers, unit="", definition="Executions of arriving orders."
    )
    yield Metric(name="orders", title="orders", value=orders.height, unit="", definition="Orders that were sent.")
    touched = int((orders["filled"] > 0).sum())
    yield Metric(
        name="filled_orders",
        title="  filled",
        value=touched / orders.height if orders.height else None,
        unit="share",
        definition="Share of the orders that were filled, in part at least.",
    )
    rejected = int((orders["state"] == OrderState.REJECTED.value).sum())
    yield Metric(
        name="rejected_orders", title="  rejected", value=rejected, unit="", definition="Orders that the venue refused."
    )


def _counts(info: RunInfo) -> Iterator[Metric]:
    for name, count in info.counts.items():
        title, definition = _COUNTED.get(name, (name.replace("_", " "), "Counted by the run."))
        yield Metric(name=name, title=title, value=count, unit="", definition=definition)


def _span(info: RunInfo) -> Iterator[Metric]:
    yield Metric(
        name="length",
        title="length",
        value=(info.end_ns - info.start_ns) / NS_PER_S,
        unit="s",
        definition="From the first instant of the run to the last.",
    )
    yield Metric(name="start", title="from", value=format_ns(info.start_ns), unit="", definition="First instant, UTC.")
    yield Metric(name="end", title="to", value=format_ns(info.end_ns), unit="", definition="Last instant, UTC.")


def as_json(metric: Metric) -> dict[str, Any]:
    """A metric for programs: exact amounts as text."""
    value = str(metric.value) if isinstance(metric.value, Decimal) else metric.value
    found = {"name": metric.name, "value": value, "unit": metric.unit, "definition": metric.definition}
    return {**found, "wallet": metric.wallet} if metric.wallet else found
