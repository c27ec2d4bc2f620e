"""What of the money is chosen for a run: leverage, margin, fee tier, deposits and withdrawals; read, and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from replay.backtest.venue_facts import VenueFacts, facts_of
from replay.clearing.house_settings import HouseSettings, Transfer, tier_at
from replay.ledger.fee_tiers import FeeMeter, FeeSchedule
from replay.ledger.margin_rules import MarginMode
from replay.market.rules import SelfTrade
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.timing.times import length_ns, time_ns

__all__ = [
    "CHOICES",
    "check_money",
    "check_money_for_leverage",
    "check_self_trade",
    "check_transfer_times",
    "choices_of",
    "facts_with",
    "money_said",
    "parse_leverage",
    "parse_margin",
    "parse_transfers",
    "with_bands",
]

_NUMBER: Final = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)
_AMOUNT: Final = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)
#: What can be assumed and is no plain number.
CHOICES: Final = ("mark", "block", "cancel_blocks", "fee_asset")
_BLOCKS_MAX: Final = 1_000


def parse_leverage(texts: Sequence[str]) -> dict[str, Decimal]:
    """
    Leverage as it is written: `20` for all pairs, `BTC-USD=20` for one; under an empty name that of all.

    Raises ConfigError for anything else.
    """
    found: dict[str, Decimal] = {}
    for text in (part.strip() for each in texts for part in each.split(",")):
        pair, _, value = text.rpartition("=")
        _check_once("leverage", pair, found, value)
        if not _NUMBER.fullmatch(value):
            raise ConfigError(f"leverage {text!r} is not understood; expected for instance 20, or BTC-USD=20")
        found[pair] = Decimal(value)
    return found


def _check_once(what: str, pair: str, found: Mapping[str, object], value: str) -> None:
    if pair in found:
        of = pair or "all pairs"
        raise ConfigError(f"{what} of {of} is given twice, as {found[pair]} and {value}; expected it once")


def parse_margin(texts: Sequence[str]) -> dict[str, MarginMode]:
    """
    Margin as it is written: `isolated` for all pairs, `BTC-USD=isolated` for one.

    Raises ConfigError for anything else.
    """
    found: dict[str, MarginMode] = {}
    for text in (part.strip() for each in texts for part in each.split(",")):
        pair, _, mode = text.rpartition("=")
        _check_once("margin", pair, found, mode)
        if mode not in list(MarginMode):
            raise ConfigError(f"margin {text!r} is not understood; expected cross, isolated, or BTC-USD=isolated")
        found[pair] = MarginMode(mode)
    return found


def parse_transfers(texts: Sequence[str]) -> tuple[Transfer, ...]:
    """
    Deposits and withdrawals as they are written: `2024-08-08T12:00 USDC=500`, `2024-08-08T13:00 USDC=-200`.

    Returns them in order of time. Raises ConfigError for anything else.
    """
    found = []
    for text in texts:
        when, _, rest = text.strip().rpartition(" ")
        account, _, value = rest.partition("=")
        if not when or not account or not _AMOUNT.fullmatch(value) or not Decimal(value):
            raise ConfigError(
                f"transfer {text!r} is not understood; expected a time, a currency and an amount, for instance"
                " '2024-08-08T12:00 USDC=500', or -500 for a withdrawal"
            )
        found.append(Transfer(time_ns(when), account, Decimal(value)))
    return tuple(sorted(found, key=lambda each: each.at_ns))


def choices_of(given: Mapping[str, Any], option: str) -> dict[str, Any]:
    """
    What of `CHOICES` is assumed, as settings of a run.

    Args:
        given: By name, as it was written; other names are none of its business.
        option: Option that it was given with, for errors.

    Raises ConfigError for what is none of the words, no length of time, or no number of blocks.
    """
    mark, block, blocks, fee_asset = (given.get(name) for name in CHOICES)
    if mark not in (None, "mid"):
        raise ConfigError(f"{option} mark is {mark!r}, expected mid: the middle of the book")
    if fee_asset not in (None, "quote"):
        raise ConfigError(
            f"{option} fee_asset is {fee_asset!r}, expected quote: fees are paid in the quote currency, or in a token that is"
            " worth as much, and not in what is bought"
        )
    count = None
    if blocks is not None:
        if isinstance(blocks, bool) or not re.fullmatch(r"\d{1,4}", str(blocks), re.ASCII) or int(blocks) > _BLOCKS_MAX:
            raise ConfigError(
                f"{option} cancel_blocks is {blocks!r}, expected a whole number of 0 to {_BLOCKS_MAX:,} blocks"
            )
        count = int(blocks)
    return {
        "mark_is_mid": mark is not None,
        "block_ns": 0 if block is None else length_ns(block, f"{option} block"),
        "cancel_blocks": count,
        "fees_in_quote": fee_asset is not None,
    }


def facts_with(
    facts: Mapping[str, VenueFacts], block_ns: int, cancel_blocks: int | None = None
) -> dict[str, VenueFacts]:
    """
    Facts of venues with what is assumed of their blocks.

    Args:
        facts: By venue.
        block_ns: Length of a block; 0: not assumed.
        cancel_blocks: For how many blocks an order may be matched after its cancel by best effort; None: until it expires.

    Raises ConfigError where no venue orders what arrives within one, or cancels by best effort.
    """
    if cancel_blocks is not None and not any(
        each.blocks and each.blocks.best_effort_cancels for each in facts.values()
    ):
        raise ConfigError(f"cancel_blocks is assumed, but no order is cancelled by best effort at {' or '.join(facts)}")
    if not block_ns:
        if cancel_blocks is not None:
            raise ConfigError(
                "cancel_blocks is assumed without the length of a block: give it, for instance block=1.1s"
            )
        return dict(facts)
    if not any(each.blocks is not None for each in facts.values()):
        raise ConfigError(f"the length of a block is assumed, but nothing is known of blocks of {' or '.join(facts)}")
    found = {}
    for venue, each in facts.items():
        rules = each.blocks
        if rules is not None:
            least = cancel_blocks if rules.best_effort_cancels else None
            rules = msgspec.structs.replace(rules, length_ns=block_ns, cancel_blocks=least)
        found[venue] = msgspec.structs.replace(each, blocks=rules)
    return found


def with_bands(facts: Mapping[str, VenueFacts], share: Decimal | None) -> dict[str, VenueFacts]:
    """
    Facts of venues with a share of the price that a limit may be away from it, for all pairs; None: not assumed.

    Raises ConfigError for a share of 1 or more, and where no venue has bands.
    """
    if share is None:
        return dict(facts)
    if not 0 < share < 1:
        raise ConfigError(f"price_band is {share}, expected a share below 1, for instance 0.05 for 5 %")
    if not any(each.bands for each in facts.values()):
        raise ConfigError(f"price_band is assumed, but nothing is known of price bands of {' or '.join(facts)}")
    return {
        venue: msgspec.structs.replace(each, bands=each.bands and each.bands.around(share))
        for venue, each in facts.items()
    }


def check_self_trade(mode: str | None, venues: Sequence[str]) -> None:
    """Raise ConfigError for a way to prevent trades with oneself that a venue has not; that of another program is none."""
    for venue in venues:
        there = facts_of(venue).self_trade_modes
        if mode is not None and there and mode in list(SelfTrade) and mode not in (*there, SelfTrade.NOT_SEEN):
            raise ConfigError(f"rule self_trade={mode}, but {venue} has {' and '.join(there)} alone")


def check_money(
    settings: HouseSettings,
    pairs: Sequence[str],
    schedules: Mapping[str, FeeSchedule | None],
) -> None:
    """
    Hold what was chosen against the pairs of a run and the tiers of its venues, before anything begins.

    Args:
        settings: Leverage, margin modes, fee tiers and transfers as they were chosen.
        pairs: Pairs of the run.
        schedules: Tiers of its venues.

    Raises ConfigError for leverage that is none, a pair that is not of the run, a tier that there is not.
    """
    for pair, leverage in settings.leverage.items():
        if not leverage.is_finite() or leverage < 1:
            raise ConfigError(f"leverage is {leverage}, expected 1 or more")
        _check_pair("leverage", pair, pairs)
    for pair in settings.margin:
        _check_pair("margin", pair, pairs)
    if settings.margin and not settings.leverage:
        raise ConfigError("margin is chosen without a leverage: give one, for instance --leverage 5")
    if settings.mark_is_mid and not settings.leverage and not any(facts_of(venue).funding for venue in schedules):
        raise ConfigError(
            f"a mark price is assumed, which only leverage and funding need, and {' or '.join(schedules)} has no funding:"
            " leave it out"
        )
    for each in settings.transfers:
        if not each.amount.is_finite() or not each.amount:
            raise ConfigError(f"a transfer of {each.amount} {each.account}, expected a number that is not 0")
    if (settings.fee_tier is not None or settings.fee_volume) and settings.has_fixed_fees:
        raise ConfigError("fees are given, so there are no tiers: --fees goes with neither --fee-tier nor --fee-volume")
    known_at = [venue for venue, schedule in schedules.items() if schedule is not None]
    if (settings.fee_tier is not None or settings.fee_volume) and not known_at:
        raise ConfigError(f"no fee tiers are known of {' or '.join(schedules)}: give --fees")
    if not settings.has_fixed_fees:
        for venue, schedule in schedules.items():
            if schedule is not None:
                FeeMeter(schedule, venue, 0, tier=tier_at(settings.fee_tier, venue), volume=settings.fee_volume)
        seen: set[str] = set()
        for part in (settings.fee_tier or "").split(",") if "=" in (settings.fee_tier or "") else ():
            venue = part.partition("=")[0].strip()
            if venue in seen:
                raise ConfigError(f"fee tier of {venue} is given twice, in {settings.fee_tier!r}; expected it once")
            seen.add(venue)
            if venue not in known_at:
                raise ConfigError(
                    f"fee tier {part.strip()!r}: expected VENUE=TIER with a venue of {', '.join(known_at)}"
                )


def check_money_for_leverage(leverage: object, capital: Mapping[str, Decimal], transfers: Sequence[Transfer]) -> None:
    """Raise ConfigError for leverage of no money, while the currency of settlement is not known; see `RunRecorder`."""
    if leverage and not any(capital.values()) and not any(each.amount > 0 for each in transfers):
        raise ConfigError(
            "leverage without capital, so every order lacks its margin: give some, --capital with the currency of settlement"
        )


def check_transfer_times(transfers: Sequence[Transfer], first_ns: int, last_ns: int | None = None) -> None:
    """
    Raise ConfigError for a deposit or withdrawal that is not made while the run lasts: it would be booked at another time, or never.

    Args:
        transfers: Deposits and withdrawals as they were asked for.
        first_ns: When the run begins.
        last_ns: When it ends; None where that is not known yet, as on paper.
    """
    for each in transfers:
        if each.at_ns < first_ns or (last_ns is not None and each.at_ns > last_ns):
            span = f"after {format_ns(first_ns)}, when the run begins"
            if last_ns is not None:
                span = f"{format_ns(first_ns)} to {format_ns(last_ns)}"
            raise ConfigError(
                f"a transfer of {each.amount:f} {each.account} at {format_ns(each.at_ns)} is outside the run: expected a time {span}"
            )


def _check_pair(what: str, pair: str, pairs: Sequence[str]) -> None:
    if pair and pair not in pairs:
        raise ConfigError(f"{what} of {pair!r}, which is no pair of the run: expected one of {', '.join(pairs)}")


def money_said(settings: HouseSettings) -> dict[str, Any]:
    """What was chosen, as the head of a decision log has it; empty where nothing was."""
    said: dict[str, Any] = {}
    if settings.leverage:
        said["leverage"] = {pair or "*": f"{value.normalize():f}" for pair, value in sorted(settings.leverage.items())}
        said["margin"] = {pair or "*": str(mode) for pair, mode in sorted(settings.margin.items())} or {"*": "cross"}
    if settings.fee_tier is not None:
        said["fee_tier"] = settings.fee_tier
    if settings.fee_volume:
        said["fee_volume"] = f"{settings.fee_volume.normalize():f}"
    if settings.mark_is_mid:
        said["mark"] = "mid"
    if settings.block_ns:
        said["block_ns"] = settings.block_ns
    if settings.cancel_blocks is not None:
        said["cancel_blocks"] = settings.cancel_blocks
    if settings.fees_in_quote:
        said["fee_asset"] = "quote"
    if settings.transfers:
        said["transfers"] = [[each.at_ns, each.account, f"{each.amount:f}"] for each in settings.transfers]
    return said
