"""Options of what runs a strategy: on recordings and on paper they are the same, and mean the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from toolkit.cli.options.value_types import DurationSeconds
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from replay.strategy.plan import RunSettings

__all__ = ["assumed_of", "market_options", "named_values", "offset_ns", "run_options", "run_settings"]

_F = TypeVar("_F", bound=Callable[..., Any])
_OFFSET: Final = re.compile(r"(-?)(.+)", re.ASCII)

#: Of what matches own orders against a recorded market, a list of orders too.
_MARKET: Final = (
    click.option(
        "--rules",
        "preset",
        default="default",
        show_default=True,
        metavar="NAME",
        help="Matching rules: default, or those of hftbacktest (hftbacktest, hftbacktest-whole).",
    ),
    click.option(
        "--rule", "rules", multiple=True, metavar="NAME=VALUE", help="Override one matching rule. May be repeated."
    ),
    click.option(
        "--latency",
        metavar="LATENCY",
        help="entry=3.5ms,response=2ms; feed (the feed's own delay, each way); both of them added; or trips=FILE. Default:"
        " 50 ms each way of a strategy, feed of a list of orders.",
    ),
    click.option(
        "--clock-offset",
        metavar="DURATION",
        help="The venue's clock minus ours, such as 1.27s or -3ms; where it is needed, the error message proposes one.",
    ),
    click.option(
        "--gaps",
        type=click.Choice(["keep", "cancel", "fail"]),
        default="keep",
        show_default=True,
        help="What happens to orders that rest across a gap, on the receive clock.",
    ),
    click.option(
        "--assume",
        multiple=True,
        metavar="NAME=VALUE",
        help="Value to use instead of the recorded or known one: tick=0.1, lot=0.001, min_notional=10, contract_value=100 (of"
        " inverse contracts), maintenance=0.005 (of margin) or price_band=0.1 (around the mark); mark=mid where no mark or oracle price is recorded, block=70ms where a venue orders"
        " what arrives within a block, cancel_blocks=1 where it cancels by best effort, fee_asset=quote where buyers pay in"
        " what they get. May be repeated.",
    ),
)

#: Of a strategy.
_RUN: Final = (
    click.option(
        "--set",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of the strategy. May be repeated.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**63 - 1),
        default=0,
        show_default=True,
        metavar="NUMBER",
        help="Seed of ctx.rng.",
    ),
    click.option(
        "--fees", metavar="FEES", help="maker=1.5bp,taker=4.5bp; by default those of the tier that the volume gives."
    ),
    click.option(
        "--fee-tier",
        metavar="[VENUE=]NAME",
        help="The venue's fee tier at the start, below which the account does not fall; of several VENUE=NAME,VENUE=NAME.",
    ),
    click.option(
        "--fee-volume",
        metavar="AMOUNT",
        help="Traded volume before the start that counts for fee tiers, in quote currency.",
    ),
    click.option(
        "--leverage",
        multiple=True,
        metavar="[PAIR=]NUMBER",
        help="Check orders against the available margin, and liquidate as the venue does: 5, or BTC-USD=5. May be repeated.",
    ),
    click.option(
        "--margin",
        multiple=True,
        metavar="[PAIR=]MODE",
        help="cross (the default) or isolated, for all pairs or for one. May be repeated.",
    ),
    click.option(
        "--transfer",
        "transfers",
        multiple=True,
        metavar="'TIME ASSET=AMOUNT'",
        help="Deposit, or withdraw (-500), during the run: '2024-08-08T12:00 USDC=500'. May be repeated.",
    ),
    click.option(
        "--capital",
        multiple=True,
        metavar="ASSET=AMOUNT",
        help="Balance at the start: USDC=10000. May be repeated.",
    ),
    click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="NAME=VALUE",
        help="A risk limit: order_size, position, loss or orders_per_s. May be repeated.",
    ),
    click.option(
        "--callback-max",
        "callback_s_max",
        type=DurationSeconds(),
        default="5s",
        show_default=True,
        metavar="DURATION",
        help="Longest time that one call of the strategy may compute; a call that waits may take ten times as long.",
    ),
)


def market_options(command: _F) -> _F:
    """Give a command the options of matching."""
    for option in reversed(_MARKET):
        command = option(command)
    return command


def run_options(command: _F) -> _F:
    """Give a command the options of a strategy; see `run_settings`."""
    for option in reversed(_RUN):
        command = option(command)
    return command


def named_values(texts: Sequence[str], option: str) -> dict[str, str]:
    """`NAME=VALUE`, each name once. Raises ConfigError for anything else."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not (name and sign and value):
            raise ConfigError(f"{option} {text!r}: expected NAME=VALUE")
        if name in found:
            raise ConfigError(f"{option} {name} is given twice, as {found[name]!r} and {value!r}; expected it once")
        found[name] = value
    return found


def assumed_of(texts: Sequence[str], others: Sequence[str] = ()) -> dict[str, Decimal]:
    """
    What `--assume` gives.

    Args:
        texts: As they are written.
        others: Names that are allowed besides, whose values are read elsewhere.

    Raises ConfigError for what is none, or no number above 0.
    """
    from replay.strategy.plan import ASSUMABLE

    names = (*ASSUMABLE, *others)
    found = {}
    for name, text in named_values(texts, "--assume").items():
        if name not in names:
            raise ConfigError(f"--assume {name}: no such thing, expected {', '.join(names[:-1])} or {names[-1]}")
        if name in others:
            continue
        if not re.fullmatch(r"\d{1,18}(\.\d{1,18})?", text, re.ASCII) or not Decimal(text):
            raise ConfigError(f"--assume {name} is {text!r}, expected a number above 0, for instance 0.1")
        found[name] = Decimal(text)
    return found


def offset_ns(text: str) -> int:
    """`--clock-offset`: a length of time, which may be below 0. Raises ConfigError for none."""
    from toolkit.timing.times import duration_ns

    match = _OFFSET.fullmatch(text.strip())
    if match is None:
        raise ConfigError("--clock-offset is empty, expected for instance 1.27s or -3ms")
    if re.fullmatch(r"0(ns|us|ms|s)", match[2]):
        return 0
    length = duration_ns(match[2])
    return -length if match[1] else length


def run_settings(given: Mapping[str, Any]) -> RunSettings:
    """The settings that the options of both kinds give. Raises ConfigError for one that makes no sense."""
    from replay.backtest.gap_policy import GapPolicy
    from replay.clearing.money_settings import CHOICES, choices_of, parse_leverage, parse_margin, parse_transfers
    from replay.strategy.limits import parse_limits
    from replay.strategy.plan import LATENCY, RunSettings, parse_amounts, parse_fees
    from toolkit.accounts.exact_sums import decimal_of

    return RunSettings(
        parameters=named_values(given["parameters"], "--set"),
        seed=given["seed"],
        preset=given["preset"],
        rules=named_values(given["rules"], "--rule"),
        latency=given["latency"] or LATENCY,
        clock_offset_ns=0 if given["clock_offset"] is None else offset_ns(given["clock_offset"]),
        fees={} if given["fees"] is None else parse_fees(given["fees"]),
        capital=parse_amounts(given["capital"]),
        gap_policy=GapPolicy(given["gaps"]),
        limits=parse_limits(named_values(given["limits"], "--limit")),
        assumed=assumed_of(given["assume"], CHOICES),
        **choices_of(named_values(given["assume"], "--assume"), "--assume"),
        leverage=parse_leverage(given["leverage"]),
        margin=parse_margin(given["margin"]),
        fee_tier=given["fee_tier"],
        fee_volume=Decimal(0) if given["fee_volume"] is None else decimal_of(given["fee_volume"], "--fee-volume"),
        transfers=parse_transfers(given["transfers"]),
        callback_s_max=given["callback_s_max"],
    )
