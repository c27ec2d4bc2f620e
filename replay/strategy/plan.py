"""
What is to be run, checked before anything begins: the strategy with its parameters, and every assumption.

The same plan opens a session on a recording and on a live feed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

import msgspec

from recordings.format.software import SOFTWARE
from replay.backtest.exchange import Exchange
from replay.backtest.gap_policy import GapPolicy
from replay.backtest.latency_settings import parse_latency
from replay.backtest.market import Assumed, Market
from replay.backtest.receive_latency import LatencyModel
from replay.backtest.venue_facts import VenueFacts, facts_of
from replay.clearing.house import House
from replay.clearing.house_settings import HouseSettings, Transfer, tier_at
from replay.clearing.money_settings import check_money, check_self_trade, facts_with, money_said, with_bands
from replay.ledger.fee_tiers import FeeMeter
from replay.ledger.ledger import Ledger, LedgerMarket
from replay.ledger.margin_rules import MarginMode
from replay.ledger.money import Fees
from replay.market.rules import Rules, make_rules
from replay.results.run_record import RunHead
from replay.results.run_recorder import RunRecorder
from replay.strategy.decision_log import LogHead
from replay.strategy.failures import StrategyError, described
from replay.strategy.limits import RiskLimits
from replay.strategy.loading import LoadedStrategy
from replay.strategy.own_data import LoadedData, OwnData
from replay.strategy.pairs import RunPairs
from replay.strategy.parameters import own_what_is_shared, set_parameters
from replay.strategy.session import TradingSession
from replay.strategy.strategy import Strategy
from replay.strategy.watch import CALLBACK_S_MAX
from toolkit.errors import ConfigError
from toolkit.keys import PairKey

__all__ = ["ASSUMABLE", "FEES", "LATENCY", "RunPlan", "RunSettings", "parse_amounts", "parse_fees"]

#: Unless it is said otherwise: slow enough that nothing rests on being fast.
LATENCY: Final = "entry=50ms,response=50ms"
#: What can be assumed in place of what is recorded, and fees of which role.
ASSUMABLE: Final = ("tick", "lot", "min_notional", "contract_value", "maintenance", "price_band")
#: Of these what is no business of a market.
_OF_HOUSE: Final = ("maintenance", "price_band")
FEES: Final = ("maker", "taker")
_AMOUNT: Final = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)
_SEED_MAX: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """
    Every assumption of a run.

    Attributes:
        parameters: Parameters of the strategy, by name.
        seed: Seed of `ctx.rng`.
        preset: Rules of matching to begin with; see `replay.market.rules`.
        rules: Rules set otherwise, by name.
        latency: How long requests and answers take: `entry=3.5ms,response=2ms`, or `feed` and what is added to it.
        clock_offset_ns: The venues' clock less ours, which only `feed` depends on.
        fees: Shares of the value, `maker` and `taker`; those that are not given are of the tier at the start.
        capital: Capital at the start, by currency.
        gap_policy: Rule for orders that rest while their book does not hold.
        limits: Limits of risk.
        assumed: `tick`, `lot`, `min_notional`, `contract_value`, in place of what is recorded.
        leverage: Leverage by pair, under an empty name that of all others; empty: positions are not held against
            capital.
        margin: `cross` or `isolated` by pair, likewise.
        fee_tier: Name of the fee tier at the start, below which the account does not fall; None: by volume alone.
        fee_volume: Volume before the start that counts for fee tiers, quote currency.
        transfers: Deposits and withdrawals, in order of time.
        mark_is_mid: Whether the middle of the book stands in for a mark price that is not recorded.
        block_ns: Length of a block, of venues that order what arrives within one; 0: as it arrives.
        cancel_blocks: For how many blocks an order that is cancelled by best effort may still be matched; None: until it
            expires.
        fees_in_quote: Whether fees are paid in the quote currency also where buyers pay in what they get.
        callback_s_max: How long one call of the strategy may compute, seconds; see `Watch`.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    preset: str = "default"
    rules: Mapping[str, str] = field(default_factory=dict)
    latency: str = LATENCY
    clock_offset_ns: int = 0
    fees: Mapping[str, Decimal] = field(default_factory=dict)
    capital: Mapping[str, Decimal] = field(default_factory=dict)
    gap_policy: GapPolicy = GapPolicy.KEEP
    limits: RiskLimits = field(default_factory=RiskLimits)
    assumed: Mapping[str, Decimal] = field(default_factory=dict)
    leverage: Mapping[str, Decimal] = field(default_factory=dict)
    margin: Mapping[str, MarginMode] = field(default_factory=dict)
    fee_tier: str | None = None
    fee_volume: Decimal = Decimal(0)
    transfers: tuple[Transfer, ...] = ()
    mark_is_mid: bool = False
    block_ns: int = 0
    cancel_blocks: int | None = None
    fees_in_quote: bool = False
    callback_s_max: float = CALLBACK_S_MAX


class RunPlan:
    """
    A strategy, pairs and settings that fit each other.

    Args:
        loaded: The strategy.
        keys: The pairs.
        settings: The assumptions.

    Raises:
        ConfigError: A setting, a parameter or own data makes no sense; no pair is meant.
        StrategyError: The strategy cannot be made.
        SymbolError: A pair that it declares is not among those.

    Attributes:
        loaded: Strategy as it was loaded.
        settings: Settings as given.
        pairs: The pairs.
        rules: Rules of matching of each venue.
        facts: Facts of each venue, with what is assumed of them.
        head: Values that the decision log begins with.
    """

    def __init__(self, loaded: LoadedStrategy, keys: Sequence[PairKey], settings: RunSettings) -> None:
        if not keys:
            raise ConfigError("no pair to trade, expected at least one")
        _check_settings(settings)
        Ledger((), settings.capital)  # refuses capital that is no amount before a venue is asked for anything
        self.loaded = loaded
        self.settings = settings
        self.pairs = RunPairs(keys)
        strategy, parameters, data = self._strategy()
        for pair in strategy.wakes.pairs:
            self.pairs.place(pair)
        given = make_rules(settings.preset, settings.rules)
        # A preset is what another program does; otherwise the venue's own rules hold, where they were not set.
        is_own = settings.preset == "default"
        but = frozenset(settings.rules)
        self.rules: dict[str, Rules] = {
            venue: facts_of(venue).apply(given, but=but) if is_own else given
            for venue in dict.fromkeys(key.venue for key in self.pairs.keys)
        }
        if "contract_value" in settings.assumed and not any(facts_of(venue).is_inverse for venue in self.rules):
            raise ConfigError("--assume contract_value is for inverse contracts, and no venue of the run has them")
        self._latency()
        self._fees = {venue: _fees(venue, settings) for venue in self.rules}
        self._money = HouseSettings(
            leverage=settings.leverage,
            margin=settings.margin,
            fee_tier=settings.fee_tier,
            fee_volume=settings.fee_volume,
            maintenance=settings.assumed.get("maintenance"),
            transfers=settings.transfers,
            has_fixed_fees=bool(settings.fees),
            mark_is_mid=settings.mark_is_mid,
            block_ns=settings.block_ns,
            cancel_blocks=settings.cancel_blocks,
            fees_in_quote=settings.fees_in_quote,
        )
        if is_own:
            check_self_trade(settings.rules.get("self_trade"), list(self.rules))
        known = with_bands({venue: facts_of(venue) for venue in self.rules}, settings.assumed.get("price_band"))
        self.facts = facts_with(known, settings.block_ns, settings.cancel_blocks)
        check_money(
            self._money,
            [*dict.fromkeys(key.trading_pair for key in self.pairs.keys), *map(str, self.pairs.keys)],
            {venue: facts_of(venue).schedule for venue in self.rules},
        )
        self.head = LogHead(
            strategy=loaded.cls.__name__,
            source_hash=loaded.source_hash,
            parameters=parameters,
            seed=settings.seed,
            pairs=tuple((key.venue, key.trading_pair) for key in self.pairs.keys),
            rules={venue: msgspec.to_builtins(rules) for venue, rules in self.rules.items()},
            latency=_latency_said(settings),
            fees={
                venue: f"maker={_plain(fees.maker)},taker={_plain(fees.taker)}" for venue, fees in self._fees.items()
            },
            capital={asset: _plain(amount) for asset, amount in sorted(settings.capital.items())},
            gap_policy=settings.gap_policy.value,
            limits={name: str(value) for name, value in _said(settings.limits).items()},
            data={name: loaded_data.digest for name, (_, loaded_data) in data.items()},
            assumed={name: _plain(value) for name, value in sorted(settings.assumed.items())},
            money=money_said(self._money),
            presets={venue: _version(facts_of(venue)) for venue in self.rules if facts_of(venue).digest},
        )

    def open(
        self,
        start_ns: int,
        *,
        kind: str = "backtest",
        recordings: Sequence[Mapping[str, Any]] = (),
        waits: bool = False,
        compiled: bool | None = None,
    ) -> TradingSession:
        """
        Begin a session.

        Args:
            start_ns: Time of its first frame.
            kind: `backtest` or `paper`.
            recordings: Names, digests and spans; shown, not compared.
            waits: Whether it begins by `begin` alone, and not as soon as all is known.
            compiled: Whether the kernels are compiled, as `Exchange` has it.
        """
        strategy, _, data = self._strategy()
        settings = self.settings
        assumed = Assumed(**{name: value for name, value in settings.assumed.items() if name not in _OF_HOUSE})
        house = House(self.pairs.keys, self.facts, self._fees, self._money, settings.capital, start_ns)
        linear = replace(assumed, contract_value=None)
        markets = [Market(key, assumed if facts_of(key.venue).is_inverse else linear) for key in self.pairs.keys]
        exchange = Exchange(
            markets,
            rules=self.rules,
            latency=self._latency(),
            gap_policy=settings.gap_policy,
            compiled=compiled,
            facts=self.facts,
            clearing=house,
        )
        exchange.tracker.announce(self.pairs.keys)
        recorder = RunRecorder(
            self._run_head(kind, recordings),
            [LedgerMarket(key=key, fees=self._fees[key.venue]) for key in self.pairs.keys],
            settings.capital,
            start_ns=start_ns,
        )
        return TradingSession(
            self.loaded,
            strategy,
            self.pairs,
            exchange,
            recorder,
            self.head,
            limits=settings.limits,
            data={id(own): loaded_data for own, loaded_data in data.values()},
            callback_s_max=settings.callback_s_max,
            waits=waits,
            house=house,
        )

    def fresh_strategy(self, session: TradingSession) -> Strategy:
        """A strategy that has done nothing yet, for `session.start_anew`."""
        strategy, _, data = self._strategy()
        session.own_data.update({id(own): loaded_data for own, loaded_data in data.values()})
        return strategy

    def _run_head(self, kind: str, recordings: Sequence[Mapping[str, Any]]) -> RunHead:
        head = self.head
        return RunHead(
            strategy=head.strategy,
            kind=kind,
            source=self.loaded.path.name if self.loaded.path is not None else "",
            source_hash=head.source_hash,
            parameters=head.parameters,
            seed=head.seed,
            rules=head.rules,
            latency=head.latency,
            gap_policy=head.gap_policy,
            settings={
                "pairs": [list(pair) for pair in head.pairs],
                "fees": head.fees,
                "capital": head.capital,
                "limits": head.limits,
                "data": head.data,
                "assumed": head.assumed,
                "money": head.money,
                "presets": {venue: _preset(facts_of(venue)) for venue in self.rules},
                "log_version": head.log_version,
            },
            recordings=recordings,
            software={"tickdeck": SOFTWARE},
        )

    def _strategy(self) -> tuple[Strategy, dict[str, Any], dict[str, tuple[OwnData, LoadedData]]]:
        """A strategy that has done nothing yet, its parameters, and its own data."""
        cls = self.loaded.cls
        try:
            strategy = cls()
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # whatever its __init__ raises is its own failure
            raise described(exc, self.loaded.files, f"{cls.__name__}()") from None
        if not isinstance(strategy, Strategy):
            raise StrategyError(f"{cls.__name__}() made {type(strategy).__name__}, expected a strategy")
        own_what_is_shared(strategy)
        parameters = set_parameters(strategy, self.settings.parameters)
        data = {}
        for name in parameters:
            own = getattr(strategy, name)
            if isinstance(own, OwnData):
                data[name] = (own, own.load(self.loaded.folder))
        return strategy, parameters, data

    def _latency(self) -> LatencyModel:
        return parse_latency(self.settings.latency).on_receipt(self.settings.clock_offset_ns)


def _version(facts: VenueFacts) -> str:
    return f"{facts.date} {facts.digest}"


def _preset(facts: VenueFacts) -> dict[str, Any]:
    """Facts of a venue that a run may rest on: how old they are, where they are from, each value, and how sure it is."""
    return {
        "date": facts.date,
        "source": facts.source,
        "values": dict(facts.values),
        "evidence": dict(facts.evidence),
        "unknown": list(facts.unknown),
    }


def _plain(value: Decimal) -> str:
    """A number as text, the same however it was written."""
    return f"{value.normalize():f}"


def _check_settings(settings: RunSettings) -> None:
    """Raise ConfigError for what Python lets through and a command line would not."""
    seed: Any = settings.seed
    latency: Any = settings.latency
    offset: Any = settings.clock_offset_ns
    seconds: Any = settings.callback_s_max
    if not isinstance(seed, int) or not 0 <= seed < _SEED_MAX:
        raise ConfigError(f"seed is {seed!r}, expected a whole number of 0 or more")
    if not isinstance(latency, str):
        raise ConfigError(f"latency is {latency!r}, expected text, for instance {LATENCY!r}")
    if not isinstance(offset, int):
        raise ConfigError(f"clock_offset_ns is {offset!r}, expected a whole number of ns")
    if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise ConfigError(f"callback_s_max is {seconds!r}, expected seconds above 0")


def _latency_said(settings: RunSettings) -> str:
    offset = settings.clock_offset_ns
    return f"{settings.latency}, clock offset {offset} ns" if offset else settings.latency


def _said(limits: RiskLimits) -> dict[str, Any]:
    return {name: value for name in limits.__struct_fields__ if (value := getattr(limits, name)) is not None}


def _fees(venue: str, settings: RunSettings) -> Fees:
    """Those that were given, else those of the tier that is in force at the start. Raises ConfigError for no such tier."""
    facts, given = facts_of(venue), settings.fees
    maker, taker = facts.maker, facts.taker
    if facts.schedule is not None and not given:
        tier = FeeMeter(
            facts.schedule, venue, 0, tier=tier_at(settings.fee_tier, venue), volume=settings.fee_volume
        ).tier
        maker, taker = tier.maker, tier.taker
    return Fees(
        maker=given.get("maker", maker if maker is not None else Decimal(0)),
        taker=given.get("taker", taker if taker is not None else Decimal(0)),
        decimals=facts.fee_decimals,
        rounding=facts.fee_rounding,
        in_kind=facts.fees_in_kind and not settings.fees_in_quote,
    )


def parse_fees(text: str) -> dict[str, Decimal]:
    """
    Fees as they are written on a command line: `maker=0.0002,taker=0.0005`, or in basis points, `maker=-0.1bp`.

    Raises ConfigError for anything else.
    """
    found = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        is_bp = value.endswith("bp")
        number = value.removesuffix("bp")
        if name not in FEES or name in found or not _AMOUNT.fullmatch(number):
            raise ConfigError(
                f"fees {text!r}: {part.strip()!r} is not understood; expected for instance maker=1.5bp,taker=4.5bp"
            )
        found[name] = Decimal(number).scaleb(-4) if is_bp else Decimal(number)
    return found


def parse_amounts(given: Sequence[str]) -> dict[str, Decimal]:
    """
    Capital as it is written on a command line: `USDC=10000`, each currency once.

    Raises ConfigError for anything else.
    """
    found: dict[str, Decimal] = {}
    for text in (part.strip() for each in given for part in each.split(",")):
        asset, _, value = text.partition("=")
        if asset and asset in found:
            raise ConfigError(f"capital in {asset} is given twice, as {found[asset]} and {value}; expected it once")
        if not asset or not _AMOUNT.fullmatch(value):
            raise ConfigError(
                f"capital {text!r} is not understood; expected a currency and a number, for instance USDC=10000"
            )
        found[asset] = Decimal(value)
    return found
