"""
What is known of a venue beside its rules of matching: limits, fees, and the words of its refusals.

One file a venue, `venues/<venue>.toml`, which says where each fact comes from and when it was looked at; what is not known
is not in it, and nothing stands in for it. Limits are held to on logical time, at the venue.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Final, TypeVar

import msgspec

from replay.backtest.requests import OwnOrder
from replay.ledger.fee_tiers import FeeSchedule
from replay.ledger.margin_rules import (
    BandRules,
    BlockRules,
    FundingRules,
    LiquidationRules,
    MarginRules,
    MarginTier,
    ReferencePrice,
    SwitchRules,
    TriggerRules,
    TwapRules,
)
from replay.ledger.money import FeeRounding
from replay.ledger.venue_evidence import evidence_of, expanded, values_of
from replay.market.layout import Reason, RequestCode, StateCode, TifCode
from replay.market.rules import Rules, SelfTrade
from toolkit.errors import ConfigError
from toolkit.timing.times import duration_ns

__all__ = ["Admission", "RateLimit", "VenueFacts", "facts_of", "parse_facts"]

_ACTIONS: Final = {code.name.lower(): code for code in RequestCode}
_REASONS: Final = frozenset(reason.name.lower() for reason in Reason)
#: The same by number, and the states.
_REASON_NAMES: Final = {int(reason): reason.name.lower() for reason in Reason}
_STATE_NAMES: Final = {int(state): state.name.lower() for state in StateCode}
_TIFS: Final = frozenset(tif.name.lower() for tif in TifCode)
#: What `lacks` may name.
_KINDS: Final = _TIFS | {"gtd", "market", "reduce_only"}
_R = TypeVar(
    "_R", BandRules, BlockRules, FundingRules, LiquidationRules, MarginRules, SwitchRules, TriggerRules, TwapRules
)


class RateLimit(msgspec.Struct, frozen=True):
    """
    A bucket of tokens, which is full at first and fills up steadily.

    Attributes:
        tokens: How many it holds.
        per_ns: Time in which it fills up from empty, ns.
        costs: Tokens that a request takes, by what it asks for; others take none.
    """

    tokens: int
    per_ns: int
    costs: Mapping[RequestCode, int]


class VenueFacts(msgspec.Struct, frozen=True, kw_only=True):
    """
    Facts of one venue.

    Attributes:
        venue: Its name.
        date: When they were looked at; empty where there is no file.
        source: Where they come from.
        unknown: Facts that were looked for and are not known for certain.
        evidence: How sure each value is, and where it is from, by its path: `d: ...` documented by the venue, `2: ...` from
            secondary sources, `?: ...` not verified; see `replay.ledger.venue_evidence`.
        values: The values as text, by path.
        lacks: Kinds of orders that the venue has not: a time in force, `gtd`, `market`, `reduce_only`.
        reduce_only_tifs: Times in force that orders which only reduce may have; empty: all.
        min_notional: Least value of an order, quote currency, where a recording says none.
        reduce_only_is_exempt: Whether that does not hold for orders that only reduce.
        max_orders: How many orders may rest, of all pairs together.
        max_orders_per_pair: And of one.
        rate_limits: Each holds.
        rules: Rules of matching that are the venue's own, by name.
        words: Venue's words for ends and refusals, by reason, or by reason and state of the order.
        maker: Fee of the lowest tier, a share of the notional; None where it is not known.
        taker: Fee of a taker, likewise.
        fees_source: Where the two come from.
        schedule: All tiers of fees; None where they are not known.
        funding: How funding is settled; None where there is none, or nothing is known of it.
        margin: Margin that an account needs; None likewise.
        liquidation: Procedure of a liquidation; None likewise.
        triggers: How stops and orders that take a profit are woken; None: the venue has none, or nothing is known of it.
        blocks: How what arrives within a block is ordered; None: as it arrives.
        switch: Terms of the dead man's switch; None: the venue has none, or nothing is known of it.
        twap: How an order is worked off over time; None: the venue has none, or nothing is known of it.
        digest: Digest of the file, in hex; empty where there is none.
        bands: How far a limit may be from a price of the venue; None where nothing is known.
        self_trade_modes: Ways that an account may choose to prevent trades with itself, of `rules.SelfTrade`; empty:
            not known.
        fee_decimals: Digits after the point of a fee.
        fee_rounding: How it gets there.
        fees_in_kind: Whether a buyer of a spot pair pays in what is bought.
        is_inverse: Whether its contracts stand for a fixed sum of the quote currency, which a recording has to say.
        is_spot: Whether it has spot pairs alone.
    """

    venue: str = ""
    date: str = ""
    source: str = ""
    unknown: tuple[str, ...] = ()
    evidence: Mapping[str, str] = {}
    values: Mapping[str, str] = {}
    lacks: tuple[str, ...] = ()
    reduce_only_tifs: tuple[str, ...] = ()
    min_notional: Decimal | None = None
    reduce_only_is_exempt: bool = False
    max_orders: int | None = None
    max_orders_per_pair: int | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    rules: Mapping[str, str] = {}
    words: Mapping[str, str] = {}
    maker: Decimal | None = None
    taker: Decimal | None = None
    fees_source: str = ""
    schedule: FeeSchedule | None = None
    funding: FundingRules | None = None
    margin: MarginRules | None = None
    liquidation: LiquidationRules | None = None
    triggers: TriggerRules | None = None
    blocks: BlockRules | None = None
    switch: SwitchRules | None = None
    twap: TwapRules | None = None
    digest: str = ""
    bands: BandRules | None = None
    self_trade_modes: tuple[str, ...] = ()
    fee_decimals: int = 8
    fee_rounding: FeeRounding = FeeRounding.HALF_EVEN
    fees_in_kind: bool = False
    is_inverse: bool = False
    is_spot: bool = False

    def text(self, reason: Reason, state: StateCode, **values: object) -> str:
        """What the venue says of an end or refusal, with the values that it names; empty where that is not known."""
        return self.words_for(reason, state).format_map(_Known(values))

    def words_for(self, reason: int, state: int) -> str:
        """The same with places for the values."""
        name = _REASON_NAMES[reason]
        return self.words.get(f"{name} {_STATE_NAMES[state]}", self.words.get(name, ""))

    def offers(self, order: OwnOrder) -> bool:
        """Whether the venue has orders of that kind."""
        trigger, triggers = order.trigger, self.triggers
        if trigger is not None and (triggers is None or trigger.on not in (None, *triggers.prices)):
            return False
        if order.twap_ns and self.twap is None:
            return False
        if order.good_blocks and not order.good_til:
            return False
        if not self.lacks and not self.reduce_only_tifs:
            return True
        tif = order.tif.name.lower()
        kinds = {tif}
        if order.expires_ns is not None:
            kinds.add("gtd")
        if order.is_market:
            kinds.add("market")
        if order.reduce_only:
            kinds.add("reduce_only")
            if self.reduce_only_tifs and tif not in self.reduce_only_tifs and not order.is_market:
                return False
        return kinds.isdisjoint(self.lacks)

    @property
    def wakes_on_trades(self) -> bool:
        """Whether trades wake orders that wait."""
        return self.triggers is not None and ReferencePrice.LAST in self.triggers.prices

    def apply(self, rules: Rules, *, but: frozenset[str] = frozenset()) -> Rules:
        """Rules with those that are the venue's own in place; those named in `but` stay as they are."""
        own = {name: value for name, value in self.rules.items() if name not in but}
        return msgspec.convert({**msgspec.to_builtins(rules), **own}, Rules) if own else rules


class _Known(dict[str, object]):
    def __missing__(self, name: str) -> str:
        return "?"


class Admission:
    """
    What of a venue's limits is used up.

    Args:
        facts: Facts of the venue.
    """

    def __init__(self, facts: VenueFacts) -> None:
        self.facts = facts
        #: Of each limit the tokens that are missing, in parts of 1/per_ns, and when that was so.
        self._missing = [(0, 0) for _ in facts.rate_limits]

    def spend(self, code: RequestCode, at_ns: int) -> bool:
        """Take the tokens of a request; False, and none are taken, where a bucket holds too few."""
        after = []
        for limit, (missing, since) in zip(self.facts.rate_limits, self._missing, strict=True):
            cost = limit.costs.get(code, 0)
            # A bucket of n tokens fills by n * (time / per): counted in tokens * per, whole numbers only.
            missing = max(0, missing - limit.tokens * (at_ns - since)) + cost * limit.per_ns
            if cost and missing > limit.tokens * limit.per_ns:
                return False
            after.append((missing, at_ns))
        self._missing = after
        return True


@cache
def facts_of(venue: str) -> VenueFacts:
    """The facts of a venue, from its file; none of them where there is no file."""
    path = files("replay.backtest") / "venues" / f"{venue}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return VenueFacts(venue=venue)
    return parse_facts(text, venue)


def parse_facts(text: str, venue: str) -> VenueFacts:
    """
    Read a file of facts.

    Raises:
        ConfigError: It is no TOML, or says something that is not understood.
    """
    try:
        given = tomllib.loads(text, parse_float=Decimal)
        values = values_of(given)
        evidence = expanded(given.pop("evidence", {}), given.pop("sources", {}))
        limits = tuple(_rate_limit(each) for each in given.pop("rate_limits", ()))
        words = {str(name): str(text) for name, text in given.pop("words", {}).items()}
        _check_names("words", {name.partition(" ")[0] for name in words}, _REASONS)
        _check_names("lacks", given.get("lacks", ()), _KINDS)
        _check_names("reduce_only_tifs", given.get("reduce_only_tifs", ()), _TIFS)
        _check_names("self_trade_modes", given.get("self_trade_modes", ()), list(SelfTrade))
        fees = given.pop("fees", {})
        margin = given.pop("margin", None)
        facts = VenueFacts(
            venue=venue,
            evidence={path: evidence_of(path, evidence) for path in values},
            values=values,
            rate_limits=limits,
            words=words,
            maker=_share(fees, "maker"),
            taker=_share(fees, "taker"),
            fees_source=str(fees.get("source", "")),
            schedule=_schedule(fees),
            funding=_rules_of(FundingRules, given.pop("funding", None)),
            margin=None if margin is None else _margin(margin),
            liquidation=_rules_of(LiquidationRules, given.pop("liquidation", None)),
            triggers=_rules_of(TriggerRules, given.pop("triggers", None)),
            blocks=_rules_of(BlockRules, given.pop("blocks", None)),
            switch=_rules_of(SwitchRules, given.pop("switch", None)),
            twap=_rules_of(TwapRules, given.pop("twap", None)),
            bands=_rules_of(BandRules, given.pop("bands", None)),
            digest=blake2b(text.encode(), digest_size=8).hexdigest(),
            fee_decimals=int(fees.get("decimals", 8)),
            fee_rounding=FeeRounding(fees.get("rounding", FeeRounding.HALF_EVEN)),
            fees_in_kind=msgspec.convert(fees.get("in_kind", False), bool),
            **{name: _fact(name, value) for name, value in given.items()},
        )
        facts.apply(Rules())
        _check_evidence(values, evidence)
    except (msgspec.ValidationError, ConfigError, ArithmeticError, KeyError, TypeError, ValueError) as exc:
        raise ConfigError(f"the facts of {venue} cannot be read: {exc}") from exc
    return facts


def _check_evidence(values: Collection[str], evidence: Collection[str]) -> None:
    """Raise ValueError for evidence of a value that there is not: it would hold for nothing."""
    for path in evidence:
        if not any(evidence_of(each, {path: path}) for each in values):
            raise ValueError(f"evidence of {path!r}, which no value is")


def _check_names(what: str, found: Iterable[str], known: Collection[str]) -> None:
    for name in found:
        if name not in known:
            raise ValueError(f"{what} names {name!r}, expected one of {', '.join(sorted(known))}")


def _fact(name: str, value: Any) -> Any:
    kind = {field.name: field.type for field in msgspec.structs.fields(VenueFacts)}[name]
    return msgspec.convert(str(value) if name in ("date", "min_notional") else value, kind)


def _share(fees: Mapping[str, Any], name: str) -> Decimal | None:
    return Decimal(str(fees[name])) if name in fees else None


def _schedule(fees: Mapping[str, Any]) -> FeeSchedule | None:
    tiers = fees.get("tiers")
    if tiers is None:
        return None
    schedule = msgspec.convert(
        {name: fees[name] for name in ("window_days", "assessed", "at_volume", "spot_weight") if name in fees}
        | {"tiers": tiers},
        FeeSchedule,
    )
    lowest = schedule.tiers[0]
    if (lowest.maker, lowest.taker) != (_share(fees, "maker"), _share(fees, "taker")):
        raise ValueError("maker and taker are not those of the lowest tier")
    return schedule


def _rules_of(kind: type[_R], given: dict[str, Any] | None) -> _R | None:
    """A table of a file as rules, with lengths of time as they are written; `None` for no table."""
    if given is None:
        return None
    lengths = {
        f"{name}_ns": duration_ns(given.pop(name))
        for name in ("interval", "pause", "length", "least", "every")
        if name in given
    }
    known = {field.name for field in msgspec.structs.fields(kind)}
    _check_names(kind.__name__, (given | lengths).keys(), known)
    return msgspec.convert(given | lengths, kind)


def _margin(given: dict[str, Any]) -> MarginRules | None:
    tables = {}
    for table in given.pop("tables", ()):
        tiers = msgspec.convert(table["tiers"], tuple[MarginTier, ...])
        tables.update(dict.fromkeys(table["pairs"], tiers))
    rules = _rules_of(MarginRules, given | {"tables": tables})
    for pair in tables:
        rules and rules.tiers_of(pair, None)
    return rules


def _rate_limit(given: Mapping[str, Any]) -> RateLimit:
    costs = {_ACTIONS[name]: int(cost) for name, cost in given["costs"].items()}
    return RateLimit(int(given["tokens"]), duration_ns(given["per"]), costs)
