"""
The venue's side of an account's money, for the simulated exchange.

It has a ledger of its own, of what was executed and not of what the account's owner knows of it. Fees go by the
tier that the volume gives, funding by the positions at its instant, margin by the venue's prices; what it does is
reported like an answer. Without margin trading it acts at executions and at messages of funding alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

import msgspec

from replay.backtest.admission import Floor, is_far
from replay.backtest.contracts import contract_of
from replay.backtest.mail import Request
from replay.backtest.reports import waiting_said
from replay.backtest.requests import Notice, NoticeKind, OwnOrder, Response
from replay.backtest.venue_facts import VenueFacts
from replay.clearing.funding_clock import FundingClock, FundingDue
from replay.clearing.house_settings import HouseSettings, Transfer, chosen_for, tier_at
from replay.clearing.liquidation import LIQUIDATION_TAG, Liquidator
from replay.clearing.margin_book import MarginBook, PairMargin, Resting
from replay.clearing.triggers import Held, TriggerShelf, kind_of
from replay.clearing.twap import Twaps
from replay.ledger.fee_tiers import FeeMeter, TierChange
from replay.ledger.ledger import Ledger, LedgerMarket
from replay.ledger.margin_rules import Liquidation, MarginMode, ReferencePrice
from replay.ledger.money import CASH_DECIMALS, ContractKind, Fees, Rounding, price_units, rate_units, units_of
from replay.market.layout import Reason, ReportCode, Role, StateCode
from replay.results.run_record import RunRecord
from toolkit.accounts.exact_sums import exact
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import FundingInfo, FundingKind, InstrumentKind, Trade
from toolkit.timing.timers import NEVER_NS

__all__ = ["House"]

#: Executions that are kept for instants which lie before them.
_KEPT: Final = 100_000
#: Prices that the venue states.
_OF_VENUE: Final = (ReferencePrice.MARK, ReferencePrice.INDEX)
#: How long after its instant a settlement may be reported.
_LATE_NS: Final = 60 * NS_PER_S


class House:
    """
    Clears for one account at each venue of a run.

    Args:
        keys: The pairs.
        facts: Facts of their venues.
        fees: Ordinary fees by venue.
        settings: Settings as chosen.
        capital: Capital at the start, as a `Ledger` takes it.
        start_ns: When that is.

    Raises ConfigError for a tier that a venue has not, or leverage where nothing is known of a venue's margin.

    Attributes:
        ledger: The money, as the venue has it.
        margin: Margin of the pairs.
        tiers: Fee tiers that were in force, of all venues, in order.
        refused_transfers: Withdrawals of what is not there, or stands for positions and orders.
        missed_funding: Settlements of which neither rate nor price was received, though something was held.
    """

    def __init__(
        self,
        keys: Sequence[PairKey],
        facts: Mapping[str, VenueFacts],
        fees: Mapping[str, Fees],
        settings: HouseSettings,
        capital: Mapping[str, Decimal],
        start_ns: int,
    ) -> None:
        self._keys = tuple(keys)
        self._facts = [facts[key.venue] for key in keys]
        self._settings = settings
        self._has_venues = len(facts) > 1
        self.ledger = Ledger([LedgerMarket(key=key, fees=fees[key.venue]) for key in keys], capital)
        self.margin = MarginBook(self.ledger)
        self._meters = {
            name: FeeMeter(
                each.schedule, name, start_ns, tier=tier_at(settings.fee_tier, name), volume=settings.fee_volume
            )
            for name, each in facts.items()
            if each.schedule is not None and not settings.has_fixed_fees
        }
        if settings.fee_tier is not None and not self._meters:
            raise ConfigError(f"a fee tier {settings.fee_tier!r}, but no tiers are known of {' or '.join(facts)}")
        self._clocks = [None if each.funding is None else FundingClock(each.funding) for each in self._facts]
        self._missed = [0] * len(keys)
        #: Of each pair the instant that was settled last, and what was received.
        self._paid: dict[int, tuple[int, int]] = {}
        #: Of each pair its latest executions: when, and what was held before.
        self._held: list[deque[tuple[int, int]]] = [deque(maxlen=_KEPT) for _ in keys]
        self._chosen = [chosen_for(key, settings.leverage) for key in keys]
        for place, (key, each) in enumerate(zip(keys, self._facts, strict=True)):
            if each.margin is None or each.liquidation is None:
                # What was said of all pairs does not mean those that are paid for in full.
                if key.trading_pair in settings.leverage or str(key) in settings.leverage:
                    raise ConfigError(f"leverage for {key}, but nothing is known of margin at {key.venue}")
                self._chosen[place] = None
        if settings.leverage and not any(self._chosen):
            raise ConfigError(f"leverage is chosen, but nothing is known of margin at {' or '.join(facts)}")
        self._liquidators: dict[str, Liquidator] = {}
        self._wakes: list[tuple[int, int]] = []
        #: Times that were asked for and are to come.
        self._asked: set[int] = set()
        self._transfers = deque(sorted(settings.transfers, key=lambda each: each.at_ns))
        self.missed_funding = 0
        #: Pairs of which settlements were missed for want of a price alone.
        self._unpriced: set[int] = set()
        self.refused_transfers = 0
        #: Pairs whose venue has said a price, and when the books are looked at next for those of the others.
        self._priced: set[int] = set()
        self._marked_ns = start_ns
        self._floor: Floor | None = None
        self._shelf: TriggerShelf | None = None
        self._works: Twaps | None = None
        #: Of each pair the newest prices that wake orders there.
        self._last: dict[tuple[int, ReferencePrice], float] = {}
        #: Those of them that the venue has said, and prices that orders have waited for.
        self._stated: set[tuple[int, ReferencePrice]] = set()
        self._awaited: set[tuple[int, ReferencePrice]] = set()

    @property
    def tiers(self) -> list[TierChange]:
        """Fee tiers that were in force, of all venues, in order of time."""
        return sorted(
            (each for meter in self._meters.values() for each in meter.changes),
            key=lambda each: (each.time_ns, each.venue),
        )

    @property
    def liquidations(self) -> list[Liquidation]:
        """Steps of liquidations, in order of time."""
        steps = [step for each in self._liquidators.values() for step in each.steps]
        return sorted(steps, key=lambda step: step.time_ns)

    def note(self, record: RunRecord) -> RunRecord:
        """Write down what became of fees and margin in a run that has ended; the record."""
        record.tiers, record.liquidations = self.tiers, self.liquidations
        for place in range(len(self._keys)):
            self._miss(place, self._unsettled(place, record.end_ns))
        if self.missed_funding:
            record.counts["funding_missed"] = self.missed_funding
        if self.refused_transfers:
            record.counts["transfers_refused"] = self.refused_transfers
        if self._settings.leverage:
            record.counts["liquidations"] = len(record.liquidations)
        return record

    def _miss(self, place: int, count: int, *, lacked_price: bool = False) -> None:
        """Settlements of a pair that are left out, and whether they were for want of a price before what came with the last message."""
        clock = self._clocks[place]
        self.missed_funding += count
        if count and (lacked_price or (clock is not None and clock.lacks_price)):
            self._unpriced.add(place)

    def _unsettled(self, place: int, end_ns: int) -> int:
        """Instants up to the end of a run on which something was held, and after which nothing was received."""
        clock, held = self._clocks[place], self._held[place]
        if clock is None or not held:
            return 0
        first_ns = clock.next_ns
        if first_ns is None:
            # Where settled rates alone are recorded, those up to the newest of them are paid.
            since_ns = max(held[0][0], clock.settled_ns or 0)
            first_ns = (since_ns // clock.interval_ns + 1) * clock.interval_ns
        # The message that settles an instant comes a little after it.
        instants = range(first_ns, end_ns - _LATE_NS, clock.interval_ns)
        return sum(self._held_at(place, instant_ns) != 0 for instant_ns in instants)

    def liquidation_price(self, place: int) -> float | None:
        """The price at which a pair's position has just its maintenance margin; None where there is no such price."""
        price = self.margin.liquidation_price(place)
        return None if price is None else float(price)

    def check_prices(self) -> None:
        """
        After a run: raise ConfigError where something was traded without a price that its margin or funding goes by, or an order
        waited for one that never came.

        On margin it was valued at what it had cost then, and could not be liquidated; funding was left out, though its rate is known.
        """
        bare = [
            str(self._keys[place])
            for place, margin in sorted(self.margin.pairs.items())
            if margin.price is None and self._held[place]
        ]
        if bare:
            raise ConfigError(
                f"the recording says no mark or oracle price of {', '.join(bare)}, which leverage needs: record funding as"
                " well, or say --assume mark=mid"
            )
        if self._unpriced:
            said = ", ".join(str(self._keys[place]) for place in sorted(self._unpriced))
            raise ConfigError(
                f"the recording says the funding rate of {said}, but no mark or oracle price to settle by while a position was"
                " held: record that as well, or say --assume mark=mid"
            )
        missing = sorted((place, kind) for place, kind in self._awaited - self._last.keys() if kind in _OF_VENUE)
        if missing:
            said = ", ".join(
                f"{'mark' if kind is ReferencePrice.MARK else 'oracle'} price of {self._keys[place]}"
                for place, kind in missing
            )
            raise ConfigError(
                f"the recording says no {said}, by which an order that waited is woken: record funding as well, or say"
                " --assume mark=mid"
            )

    # -- as the exchange has it ------------------------------------------------------------------------------------

    def bind(self, floor: Floor) -> None:
        self._floor = floor
        self._shelf = TriggerShelf(floor.markets)
        self._works = Twaps(floor)
        for key, each in zip(self._keys, self._facts, strict=True):
            if each.liquidation is not None and key.venue not in self._liquidators:
                self._liquidators[key.venue] = Liquidator(each.liquidation, self.ledger, self.margin, floor)
        self._ask_to_wake()

    def execute(self, order: OwnOrder, response: Response) -> Response:
        place = response.pair
        self._define(place)
        rate, meter = None, self._meters.get(self._keys[place].venue)
        contract = self.ledger.markets[place].contract
        is_spot = contract is not None and contract.kind is ContractKind.SPOT
        if meter is not None:
            rate = rate_units(meter.at(response.venue_ns).rate(response.role, is_spot=is_spot))
        sums = self.ledger.arithmetic(place)
        price, size = response.tick * sums.tick, response.lots * sums.lot
        if order.tag == LIQUIDATION_TAG and order.order_id in self._on_floor.adopted:
            ordinary = sums.rates[Role.TAKER] if rate is None else rate
            after = self._equity_after(place, response.side, price, size)
            worth = abs(sums.worth(size, price))
            rate = self._liquidators[self._keys[place].venue].rate(order, worth, after, ordinary)
        if rate == sums.rates[response.role]:
            rate = None
        entry = self.ledger.execute_at(place, response.side, price, size, response.role, response.venue_ns, rate=rate)
        self._held[place].append((response.venue_ns, entry.position_before))
        self._twaps.execute(order, response.lots)
        if meter is not None:
            meter.count(response.venue_ns, sums.quote_value(size, price), is_spot=is_spot)
        self.margin.execute(entry)
        return response if rate is None else msgspec.structs.replace(response, rate=rate)

    def hear(self, place: int, message: FundingInfo, now_ns: int) -> None:
        clock = self._clocks[place]
        if clock is not None:
            lacked_price = clock.lacks_price
            due = clock.hear(message)
            if due is not None:
                self._settle(place, due, now_ns)
            for _ in range(len(clock.missed)):
                is_held = self._held_at(place, clock.missed.pop(0)) != 0
                self._miss(place, int(is_held), lacked_price=lacked_price)
        if message.kind is FundingKind.CURRENT and self._facts[place].triggers is not None:
            for kind, stated in zip(_OF_VENUE, (message.mark_price, message.index_price), strict=True):
                if stated is not None:
                    self._stated.add((place, kind))
                    self._reach(place, kind, stated, now_ns)
        if self._chosen[place] is None or message.kind is not FundingKind.CURRENT:
            return
        rules = self._facts[place].margin
        price = message.index_price if rules and rules.price is ReferencePrice.INDEX else message.mark_price
        if price and (margin := self._margin_of(place)) is not None:
            margin.price = price_units(price)
            self._priced.add(place)
            self._look(place, now_ns)

    def hear_trade(self, place: int, message: Trade, now_ns: int) -> None:
        if not (message.is_history or message.is_duplicate):
            self._reach(place, ReferencePrice.LAST, message.price, now_ns)

    def hold(self, at_ns: int, request: Request, order: OwnOrder) -> list[Response]:
        rules_of_parts = self._facts[order.pair].twap
        if order.twap_ns and rules_of_parts is not None:
            said = self._twaps.hold(at_ns, request, order, rules_of_parts)
            self._ask_to_wake()
            return said
        said = self._on_shelf.hold(at_ns, request, order)
        rules = self._facts[order.pair].triggers
        if order.is_waiting and rules is not None:
            self._awaited.add((order.pair, kind_of(order, rules.price)))
        if order.is_waiting and self._is_passed(order):
            # Where that is not refused it wakes at once, after it is answered.
            self._wakes.append((at_ns, order.pair))
            self._ask_to_wake()
        return said

    def drop(self, at_ns: int, order: OwnOrder, reason: Reason) -> Response:
        held = self._twaps if order.twap_ns else self._on_shelf
        return held.drop(at_ns, order, reason)

    def _reach(self, place: int, kind: ReferencePrice, price: float | None, now_ns: int) -> None:
        """A price of a pair: the orders that it wakes go to the book, in the order in which they came."""
        rules = self._facts[place].triggers
        if price is None or rules is None or kind not in rules.prices:
            return
        self._last[place, kind] = price
        if self._on_shelf.held:
            for each in self._on_shelf.wake(place, price, kind, rules.price):
                self._release(now_ns, each)

    def _is_passed(self, order: OwnOrder) -> bool:
        """Whether the price that wakes an order is reached already, as far as is known."""
        rules, trigger = self._facts[order.pair].triggers, order.trigger
        if rules is None or trigger is None:
            return False
        kind = kind_of(order, rules.price)
        price = self._last.get((order.pair, kind))
        if price is None and kind is ReferencePrice.LAST:
            # Trades are looked at once an order waits for one. The next one is between the best prices or beyond.
            bid, ask = self._on_floor.desks[order.pair].best(order.pair)
            price = bid if trigger.is_above else ask
        return price is not None and self._on_shelf.is_reached(order, price)

    def _release(self, at_ns: int, held: Held) -> None:
        order = held.order
        if self._lacks_margin(order, held.tick, held.lots):
            said = waiting_said(
                at_ns,
                order,
                ReportCode.ENDED,
                tick=held.tick,
                lots=held.lots,
                reason=Reason.MARGIN,
                state=StateCode.CANCELLED,
            )
            self._on_floor.collect(self._on_floor.desks[order.pair], [said])
        else:
            self._on_floor.match(at_ns, order, held.tick, held.lots)

    def refusal(self, order: OwnOrder, tick: int, lots: int) -> Reason | None:
        floor, place = self._on_floor, order.pair
        if not order.is_market and is_far(floor.markets[place], floor.desks[place], place, order.side, tick):
            return Reason.PRICE_BAND
        if order.trigger is not None and (order.is_waiting or order.state is StateCode.UNKNOWN):
            rules = self._facts[order.pair].triggers
            # It needs margin when it is woken.
            return Reason.TRIGGER if rules is not None and rules.refuses_passed and self._is_passed(order) else None
        return Reason.MARGIN if self._lacks_margin(order, tick, lots) else None

    def _lacks_margin(self, order: OwnOrder, tick: int, lots: int) -> bool:
        place = order.pair
        if self._chosen[place] is None or order.reduce_only:
            return False
        self._define(place)
        if self._margin_of(place) is None:
            return False
        key = self._keys[place]
        rest = [
            self._resting(each, each.tick, each.left)
            for each in self._on_floor.open_orders(key.venue)
            if each.order_id != order.order_id and not each.reduce_only and not each.is_waiting
        ]
        left = lots - order.filled
        wanted = self._resting(order, 0 if order.is_market else tick, left)
        return not self.margin.takes(wanted, rest)

    def rescale(self, place: int, ticks: int, lots: int) -> None:
        self._on_shelf.rescale(place, ticks, lots)
        self._twaps.rescale(place, lots)
        if self.ledger.is_known(place):
            self._define(place)

    def wake(self, at_ns: int) -> None:
        self._asked = {each for each in self._asked if each > at_ns}
        while self._transfers and self._transfers[0].at_ns <= at_ns:
            self._move(self._transfers.popleft(), at_ns)
        due = [place for when, place in self._wakes if when <= at_ns]
        self._wakes = [each for each in self._wakes if each[0] > at_ns]
        for place in due:
            if place in self.margin.pairs:
                self._look(place, at_ns)
            rules = self._facts[place].triggers
            for kind in () if rules is None else rules.prices:
                if rules is not None and (place, kind) in self._last:
                    for each in self._on_shelf.wake(place, self._last[place, kind], kind, rules.price):
                        self._release(at_ns, each)
        self._twaps.act(at_ns)
        if self._settings.mark_is_mid and at_ns >= self._marked_ns:
            self._mark_by_book(at_ns)
        self._ask_to_wake()

    def _mark_by_book(self, at_ns: int) -> None:
        """Take the middle of the book for the price of those pairs of which the venue says none: for margin, funding and stops."""
        self._marked_ns = (at_ns // NS_PER_S + 1) * NS_PER_S
        for place, clock in enumerate(self._clocks):
            rules = self._facts[place].triggers
            kinds = [kind for kind in _OF_VENUE if rules and kind in rules.prices and (place, kind) not in self._stated]
            if not kinds and (clock is None or clock.is_priced):
                continue
            bid, ask = self._on_floor.desks[place].best(place)
            if bid is not None and ask is not None and bid < ask:
                middle = (exact(bid) + exact(ask)) / 2
                if clock is not None:
                    clock.middle = middle
                for kind in kinds:
                    self._reach(place, kind, float(middle), at_ns)
        for place, margin in list(self.margin.pairs.items()):
            if place in self._priced:
                continue
            bid, ask = self._on_floor.desks[place].best(place)
            if bid is not None and ask is not None and bid < ask:
                margin.price = (price_units(bid) + price_units(ask)) // 2
                self._look(place, at_ns)

    def _ask_to_wake(self) -> None:
        times = [when for when, _ in self._wakes] + [each.at_ns for each in self._transfers][:1]
        times.append(self._twaps.next_ns)
        if self._settings.mark_is_mid:
            times.append(self._marked_ns)
        soonest_ns = min(times)
        if soonest_ns < NEVER_NS and soonest_ns not in self._asked:
            self._asked.add(soonest_ns)
            self._on_floor.wake_at(soonest_ns)

    @property
    def _on_shelf(self) -> TriggerShelf:
        assert self._shelf is not None, "bound before anything happens"
        return self._shelf

    @property
    def _twaps(self) -> Twaps:
        assert self._works is not None, "bound before anything happens"
        return self._works

    @property
    def _on_floor(self) -> Floor:
        assert self._floor is not None, "bound before anything happens"
        return self._floor

    # -- what pairs are --------------------------------------------------------------------------------------------

    def _define(self, place: int) -> None:
        """Take over what the exchange knows of a pair by now."""
        market, known = self._on_floor.markets[place], self.ledger.markets[place]
        scale = market.scale
        if scale is None or (known.contract is not None and (known.tick, known.lot) == (scale.tick, scale.lot)):
            return
        key, rules = self._keys[place], self._facts[place].funding
        instrument = self._on_floor.tracker.instrument(key)
        contract = known.contract or contract_of(key, instrument, market.contract_value)
        self.ledger.define(
            place,
            replace(
                known,
                contract=contract,
                tick=scale.tick,
                lot=scale.lot,
                account=f"{key.venue}/{contract.settle}" if self._has_venues else "",
                funding_rounding=None if rules is None else Rounding(rules.decimals, rules.rounding),
            ),
        )
        kind = InstrumentKind.PERPETUAL if instrument is None else instrument.kind
        if contract.kind is ContractKind.SPOT or kind is InstrumentKind.OUTCOME:
            self._clocks[place] = self._chosen[place] = None
        elif kind is InstrumentKind.FUTURE:
            self._clocks[place] = None

    def _margin_of(self, place: int) -> PairMargin | None:
        """Margin of a pair; None while too little is known of it. Raises ConfigError for leverage that is not to be had."""
        found = self.margin.pairs.get(place)
        if found is not None:
            return found
        self._define(place)
        leverage, rules, key = self._chosen[place], self._facts[place].margin, self._keys[place]
        if leverage is None or rules is None or not self.ledger.is_known(place):
            return None
        instrument = self._on_floor.tracker.instrument(key)
        most = None if instrument is None else instrument.max_leverage
        tiers = rules.tiers_of(key.trading_pair, most, maintenance=self._settings.maintenance)
        if tiers is None:
            raise ConfigError(
                f"{key}: neither the recording nor the venue's facts say its maintenance margin, which leverage needs;"
                " give it, for instance --assume maintenance=0.005"
            )
        if leverage > tiers.tiers[0].leverage:
            raise ConfigError(f"{key}: leverage {leverage:f}, but it has {tiers.tiers[0].leverage:f} at most")
        mode = chosen_for(key, self._settings.margin) or MarginMode.CROSS
        if mode not in rules.modes:
            raise ConfigError(f"{key}: {mode} margin, but {key.venue} has {' and '.join(rules.modes)}")
        margin = self.margin.pairs[place] = PairMargin(leverage, mode, tiers)
        return margin

    # -- funding ---------------------------------------------------------------------------------------------------

    def _held_at(self, place: int, instant_ns: int) -> int:
        """What was held just before an instant."""
        size = self.ledger.positions[place].size
        for when, before in reversed(self._held[place]):
            if when < instant_ns:
                break
            size = before
        return size

    def _settle(self, place: int, due: FundingDue, now_ns: int) -> None:
        size = self._held_at(place, due.instant_ns)
        if not size:
            return
        price = price_units(due.price)
        received = self.ledger.funding_of(place, due.rate, price, size)
        paid = self._paid.get(place)
        if due.is_correction and paid is not None and paid[0] == due.instant_ns:
            received, total = received - paid[1], received
        else:
            total = received
        self._paid[place] = (due.instant_ns, total)
        if not received and due.is_correction:
            return
        self.ledger.book_funding(place, received)
        rules = self._facts[place].margin
        self.margin.fund(place, received, of_isolated=rules is not None and rules.isolated_funding)
        fraction = rate_units(due.rate)
        self._on_floor.tell(
            place,
            Notice.of(NoticeKind.FUNDING, now_ns, place, amount=received, held=size, at_price=price, fraction=fraction),
        )

    # -- margin ----------------------------------------------------------------------------------------------------

    def _look(self, place: int, at_ns: int) -> None:
        again_ns = self._liquidators[self._keys[place].venue].look(place, at_ns)
        if again_ns < NEVER_NS:
            self._wakes.append((again_ns, place))
            self._ask_to_wake()

    def _resting(self, order: OwnOrder, tick: int, lots: int) -> Resting:
        """An order as margin sees it; one at market at the price that positions are valued at, or the best there is."""
        sums = self.ledger.arithmetic(order.pair)
        margin = self.margin.pairs.get(order.pair)
        if tick:
            price = tick * sums.tick
        elif margin is not None and margin.price is not None:
            price = margin.price
        else:
            reference = self._on_floor.desks[order.pair].reference(order.pair, order.side)
            price = 0 if reference is None else price_units(reference)
        return Resting(order.pair, order.side, abs(sums.worth(lots * sums.lot, price)) if price else 0)

    def _equity_after(self, place: int, side: int, price: int, size: int) -> int:
        """What stands for a pair after an execution that makes its position smaller, without a fee."""
        sums = self.ledger.arithmetic(place)
        signed = size if side == 0 else -size
        value = self.margin.pairs[place].price
        gained = 0 if value is None else sums.worth(signed, value) - sums.worth(signed, price)
        return self.margin.equity(place) + gained

    # -- transfers -------------------------------------------------------------------------------------------------

    def _move(self, transfer: Transfer, at_ns: int) -> None:
        for place in range(len(self._keys)):
            self._define(place)
        names = [name for name, each in self.ledger.accounts.items() if transfer.account in (name, each.asset)]
        if len(names) != 1:
            there = ", ".join(self.ledger.accounts) or "none yet"
            raise ConfigError(f"a transfer of {transfer.account}: expected the name of one account of {there}")
        account = self.ledger.accounts[names[0]]
        place = account.pairs[0] if account.pairs else 0
        moved = units_of(transfer.amount, CASH_DECIMALS)
        if moved < 0 and any(each in self.margin.pairs for each in account.pairs):
            venue = self._keys[place].venue
            rest = [self._resting(each, each.tick, each.left) for each in self._on_floor.open_orders(venue)]
            is_there = self.margin.free(place, rest) + moved >= 0
        else:
            is_there = moved >= 0 or self.ledger.equity(names[0]) + moved >= 0
        if not is_there:
            self.refused_transfers += 1
            return
        self.ledger.transfer(names[0], transfer.amount)
        self._on_floor.tell(place, Notice.of(NoticeKind.TRANSFER, at_ns, place, amount=moved, account=names[0]))
