"""
Takes down what the owner of a strategy hears, row by row, and keeps the money meanwhile.

A session tells it everything in order. It gives every row its place: `capture_seq` counts the instants of the run,
`sub_seq` the rows of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Final

import msgspec

from replay.backtest.gap_policy import Doubt
from replay.backtest.requests import Trigger
from replay.ledger.account_words import base_of, direction_of, is_spot, value_at
from replay.ledger.equity import EquityCourse
from replay.ledger.ledger import Account, Ledger, LedgerEntry, LedgerMarket
from replay.ledger.money import CASH_DECIMALS, PRICE_DECIMALS, SIZE_DECIMALS, ContractKind, amount
from replay.market.layout import BUY, Role
from replay.results.recent_tops import RecentTops, Spelling, Top, TopRow, middles, spelling_of
from replay.results.run_record import (
    DecisionRow,
    EquityRow,
    FillRow,
    GapRow,
    OrderRow,
    Placed,
    RunHead,
    RunRecord,
    SeriesRow,
)
from replay.results.spooled_rows import SpooledRows
from toolkit.account_messages import (
    TERMINAL_ORDER_STATES,
    AccountEvent,
    AccountEventKind,
    Fill,
    FundingPayment,
    OrderState,
    OrderUpdate,
    PositionUpdate,
)
from toolkit.clock import NS_PER_S
from toolkit.messages import BalanceUpdate, BookTop, Instrument, Message, Side, StreamEvent

__all__ = ["UNCERTAIN", "RunRecorder"]

#: A point of equity is kept at each execution, and at most one for each step of time besides; steps double beyond so many.
_STEP_NS: Final = NS_PER_S
_POINTS_MAX: Final = 20_000
#: The cause of a fill of an order that rested while its book was not known.
UNCERTAIN: Final = "uncertain"

#: What a run leaves messages of.
_OF_ACCOUNT: Final = (OrderUpdate, Fill, PositionUpdate, BalanceUpdate, FundingPayment, AccountEvent)
_MESSAGES: Final = (*_OF_ACCOUNT, Instrument, StreamEvent)
_CASH: Final = 10**CASH_DECIMALS
_PRICE: Final = 10**PRICE_DECIMALS
_SIZE: Final = 10**SIZE_DECIMALS


class RunRecorder:
    """
    Takes down what the owner of a strategy hears.

    Args:
        head: Settings of the run.
        markets: The pairs; what is not known of one yet is given by `define`.
        capital: Capital at the start, see `Ledger`. Of several venues each has accounts of its own, `venue/currency`;
            what is given by currency is there at each of them.
        start_ns: Time of the first instant.
        symbols: The venue's spelling of each pair; None for the pairs' own names until `define` says.

    Attributes:
        ledger: The money, as far as its owner knows.
        counts: Counts of the run, by name; whatever is part of the run may add to them.
    """

    def __init__(
        self,
        head: RunHead,
        markets: Sequence[LedgerMarket],
        capital: Mapping[str, Decimal] | None = None,
        *,
        start_ns: int,
        symbols: Sequence[str] | None = None,
    ) -> None:
        self.head = head
        #: A venue's money is its own: it secures nothing elsewhere.
        self._has_venues = len({market.key.venue for market in markets}) > 1
        self.ledger = Ledger([self._with_account(market) for market in markets], capital)
        self.counts: dict[str, int] = {}
        self._queued: list[tuple[int, float | None]] | None = None
        self._late = 0
        #: Payments of funding so far: their ids are the same whether a log is kept or not.
        self._payments = 0
        self._gaps: list[GapRow] = []
        self._symbols = [market.key.trading_pair for market in markets] if symbols is None else list(symbols)
        self._spellings: list[Spelling | None] = [None] * len(markets)
        self._start_ns = self._now_ns = start_ns
        self._seq = -1
        self._sub = 0
        self._is_open = False
        self._messages: SpooledRows[Message] = SpooledRows(*_MESSAGES)
        self._tops: SpooledRows[BookTop] = SpooledRows(BookTop)
        self._entries: list[LedgerEntry] = []
        self._equity: list[Placed[EquityRow]] = []
        self._decisions: SpooledRows[Placed[DecisionRow]] = SpooledRows(tuple[int, int, DecisionRow])
        self._series: SpooledRows[Placed[SeriesRow]] = SpooledRows(tuple[int, int, SeriesRow])
        self._recent = RecentTops()
        self._has_mark: set[int] = set()
        self._created: dict[int, int] = {}
        self._courses: dict[str, EquityCourse] = {}
        #: Accounts whose equity may have changed since its last point, and those in which something was executed.
        self._changed: set[str] = set()
        self._moved: set[str] = set()
        self._is_doubtful = False
        #: Whether a fill of this instant is of an order that rested across a gap.
        self._has_doubtful_fill = False
        self._step_ns = _STEP_NS
        self._samples = 0
        self._sampled_ns: dict[str, int] = {}
        self._open_accounts()

    def define(self, pair: int, market: LedgerMarket, symbol: str | None = None) -> None:
        """Tell what a pair is, or what its tick, lot or fees are from now on; see `Ledger.define`."""
        self.ledger.define(pair, self._with_account(market))
        self._spellings[pair] = None
        if symbol is not None:
            self._symbols[pair] = symbol
        self._open_accounts()

    def check_capital(self) -> None:
        """Hold capital against the accounts there are, once the contracts of all pairs are known; see `Ledger.check_capital`."""
        money = self.head.settings.get("money") or {}
        has_deposits = any(not str(moved).startswith("-") for _, _, moved in money.get("transfers", ()))
        self.ledger.check_capital(needs_some=bool(money.get("leverage")) and not has_deposits)

    def _with_account(self, market: LedgerMarket) -> LedgerMarket:
        if not self._has_venues or market.contract is None:
            return market
        return replace(market, account=f"{market.key.venue}/{market.contract.settle}")

    def hear(self, message: Instrument | StreamEvent, now_ns: int) -> None:
        """
        Keep what the venue said of an instrument, or what happened to a stream.

        What was known before the run began is reported at its first instant.
        """
        at_ns = max(now_ns, self._start_ns)
        seq, sub = self._place(at_ns)
        self._messages.append(msgspec.structs.replace(message, ts_recv=at_ns, capture_seq=seq, sub_seq=sub))

    def note_top(
        self,
        pair: int,
        now_ns: int,
        bid_tick: int | None,
        bid_lots: int,
        ask_tick: int | None,
        ask_lots: int,
        is_stale: bool = False,
    ) -> None:
        """
        The best prices of a book from now on.

        A pair whose venue gives no mark price is valued in the middle between them, while they are no doubtful ones.
        """
        market = self.ledger.markets[pair]
        if market.tick is None or market.lot is None:
            return
        steps = (self._spellings[pair] or self._spelled(pair)).steps
        self._recent.note(Top(now_ns, pair, bid_tick, bid_lots, ask_tick, ask_lots, is_stale, steps))
        if pair in self._has_mark or is_stale or bid_tick is None or ask_tick is None or bid_tick >= ask_tick:
            return
        if market.contract is not None and market.fees is not None:
            self.ledger.mark_mid(pair, bid_tick, ask_tick)
            self._valued(pair)

    def note_frames(self, pair: int, tops: Sequence[TopRow], *, is_doubtful: bool) -> None:
        """
        So many frames are over in which the book of one pair changed, which holds, and nothing else: as `note_top` and
        `frame_done` of each.
        """
        is_plain = self.ledger.is_known(pair) and is_doubtful == self._is_doubtful
        # What is still to be said of before, the first of them says.
        at = 0 if is_plain and not self._changed and not self._moved else 1 if is_plain else len(tops)
        for now_ns, bid, bid_lots, ask, ask_lots in tops[:at]:
            self.note_top(pair, now_ns, bid, bid_lots, ask, ask_lots)
            self.frame_done(now_ns, is_doubtful=is_doubtful)
        if at < len(tops):
            self._is_open = False
            self._note_frames(pair, tops[at:] if at else tops)
            self._now_ns, self._is_open = tops[-1][0], False

    def _note_frames(self, pair: int, tops: Sequence[TopRow]) -> None:
        """The same where nothing else is to be said: equity is taken where something is held, and changes by its mark alone."""
        ledger, noted, steps = self.ledger, 0, (self._spellings[pair] or self._spelled(pair)).steps
        if pair not in self._has_mark:
            valued = middles(tops)
            if not ledger.positions[pair].size:
                for _, _, bid, ask in valued[-1:]:
                    ledger.mark_mid(pair, bid, ask)
                valued = []
            name = ledger.account_of(pair).name
            course, next_ns = self._courses[name], self._next_sample_ns(name)
            gain_at, last = cache(ledger.gain_by_mid(pair)), len(valued) - 1
            for number, (at, now_ns, bid, ask) in enumerate(valued):
                gain = gain_at(bid + ask)
                if now_ns < next_ns and number != last and not course.is_moved_by(gain):
                    continue  # what it gains between two that are taken is their difference
                ledger.mark_mid(pair, bid, ask)
                if now_ns < next_ns:
                    course.take(now_ns, gain, is_doubtful=self._is_doubtful)
                    continue
                self._recent.note_all(pair, tops[noted : at + 1], steps)
                noted = at + 1
                self._take_equity(name, now_ns)
                self._is_open = False
                next_ns = self._next_sample_ns(name)
        self._recent.note_all(pair, tops[noted:], steps)

    def _next_sample_ns(self, name: str) -> int:
        """From when on a point of equity is kept again."""
        return (self._sampled_ns.get(name, -1) // self._step_ns + 1) * self._step_ns

    def note_mark(self, pair: int, price: float) -> None:
        """The venue's mark price of a pair, at which it is valued from now on."""
        self._has_mark.add(pair)
        self.ledger.mark(pair, price)
        self._valued(pair)

    def _valued(self, pair: int) -> None:
        if self.ledger.positions[pair].size:
            self._changed.add(self.ledger.account_of(pair).name)

    def order(self, row: OrderRow) -> None:
        """Take down what the venue said of an order."""
        head = (row.now_ns, row.venue_ns, row.pair, row.order_id, row.state, row.status, row.side, row.tick)
        sizes = (row.lots, row.left, row.client_order_id, row.order_type, row.time_in_force)
        self.order_now(*head, *sizes, row.is_reduce_only, row.trigger, row.created_ns)

    def order_now(
        self,
        now_ns: int,
        venue_ns: int | None,
        pair: int,
        number: int,
        state: OrderState,
        status: str,
        side: int,
        tick: int | None,
        lots: int,
        left: int,
        client_order_id: str | None,
        order_type: str,
        time_in_force: str,
        is_reduce_only: bool,
        trigger: Trigger | None,
        created_ns: int | None = None,
    ) -> None:
        """The same by the fields of a row, without one that somebody has to make: these are most of what a run leaves."""
        spelling = self._spellings[pair] or self._spelled(pair)
        step, per_step, lot, per_lot = spelling.steps
        if created_ns is None and venue_ns is not None and state is not OrderState.REJECTED:
            created_ns = self._created_ns(number, venue_ns, state)
        seq, sub = self._place(now_ns)
        self._messages.append(
            OrderUpdate(
                *spelling.names,
                venue_ns,
                now_ns,
                seq,
                sub,
                self.head.strategy,
                str(number),
                state,
                status,
                Side.BUY if side == BUY else Side.SELL,
                None if tick is None else tick * step / per_step,
                lots * lot / per_lot,
                left * lot / per_lot,
                client_order_id,
                created_ns,
                order_type if trigger is None else f"{'stop' if trigger.is_stop else 'take profit'} {order_type}",
                time_in_force,
                None if trigger is None else trigger.tick * step / per_step,
                is_reduce_only,
            )
        )

    def _spelled(self, pair: int) -> Spelling:
        found = self._spellings[pair] = spelling_of(self.ledger.markets[pair], self._symbols[pair])
        return found

    def _created_ns(self, number: int, venue_ns: int, state: OrderState) -> int:
        """When the venue took an order in, which it does not say: when it was first reported there."""
        first = self._created.setdefault(number, venue_ns)
        if state in TERMINAL_ORDER_STATES:
            del self._created[number]
        return first

    def fill(self, row: FillRow) -> LedgerEntry:
        """Take down an execution; what it did to the money."""
        ledger = self.ledger
        if row.at is None:
            entry = ledger.execute(row.pair, row.side, row.tick, row.lots, row.role, row.now_ns, rate=row.rate)
        else:
            entry = ledger.execute_at(row.pair, row.side, *row.at, row.role, row.now_ns, rate=row.rate)
        account = ledger.account_of(row.pair)
        market = ledger.markets[row.pair]
        of_spot = is_spot(market)
        self._entries.append(entry)
        self._has_doubtful_fill |= row.is_uncertain
        self._messages.append(
            Fill(
                *self._head(row.pair, row.venue_ns, row.now_ns),
                str(row.order_id),
                str(entry.number + 1),
                Side.BUY if row.side == BUY else Side.SELL,
                entry.price / _PRICE,
                entry.size / _SIZE,
                entry.fee_size / _SIZE if entry.fee_size else entry.fee / _CASH,
                base_of(market) if entry.fee_size else account.asset,
                row.role == Role.MAKER,
                client_order_id=row.client_order_id,
                realized_pnl=entry.realized / _CASH,
                position_before=None if of_spot else entry.position_before / _SIZE,
                direction=direction_of(entry, of_spot=of_spot),
                cause=row.cause or (UNCERTAIN if row.is_uncertain else None),
            )
        )
        self._state_position(row.pair, row.now_ns)
        self._state_balance(account, row.now_ns)
        self._changed.add(account.name)
        self._moved.add(account.name)
        return entry

    def funding(self, pair: int, now_ns: int, venue_ns: int | None, received: int, rate: Decimal, size: int) -> None:
        """Take down funding that was received, negative: paid, in units of cash, on a position of that size."""
        self.ledger.book_funding(pair, received)
        self._payments += 1
        account = self.ledger.account_of(pair)
        head = self._head(pair, venue_ns, now_ns)
        self._messages.append(
            FundingPayment(
                *head,
                f"funding-{self._payments}",
                received / _CASH,
                account.asset,
                float(rate),
                size / _SIZE,
            )
        )
        self._state_balance(account, now_ns)
        self._changed.add(account.name)
        self._moved.add(account.name)

    def transfer(self, name: str, now_ns: int, venue_ns: int | None, moved: int) -> None:
        """Take down a deposit into an account, negative: a withdrawal, in units of cash."""
        account = self.ledger.accounts[name]
        self.ledger.transfer(name, amount(moved))
        venue = self.ledger.markets[account.pairs[0] if account.pairs else 0].key.venue
        kind = AccountEventKind.DEPOSIT if moved > 0 else AccountEventKind.WITHDRAWAL
        seq, sub = self._place(now_ns)
        head = (venue, "", "", venue_ns, now_ns, seq, sub, self.head.strategy)
        self._messages.append(AccountEvent(*head, kind, f"transfer-{seq}-{sub}", account.asset, moved / _CASH))
        self._state_balance(account, now_ns)
        self._changed.add(name)
        self._moved.add(name)

    def decision(self, row: DecisionRow) -> None:
        """Take down a row of the decision log."""
        self._decisions.append((*self._place(row.now_ns), row))

    def happen(self, now_ns: int) -> None:
        """Something is done or received that no row says where no log is kept: it is an instant of the run all the same."""
        self._place(now_ns)

    def series(self, now_ns: int, name: str, value: float) -> None:
        """Take down a value of a series."""
        self._series.append((*self._place(now_ns), SeriesRow(now_ns, name, value)))

    def count(self, name: str, number: int = 1) -> None:
        """Count something: `clipped_responses`, ..."""
        self.counts[name] = self.counts.get(name, 0) + number

    def note_late(self) -> None:
        """A request to amend or cancel an order was refused, which was filled before it arrived."""
        self._late += 1

    def note_exchange(
        self, doubt: Doubt, queued: list[tuple[int, float | None]], number_of: Callable[[int], int]
    ) -> None:
        """
        Take down what the exchange knows at the end, and its owner did not.

        Args:
            doubt: Counts of what rests on data that may be doubted.
            queued: Sizes ahead of orders as they came to rest.
            number_of: Function from an order of the exchange to the number that its owner has for it.
        """
        self.counts |= doubt.counts()
        self._queued = queued
        self._gaps = [
            GapRow(
                span.pair,
                span.start_ns or self._start_ns,
                span.end_ns,
                span.cause,
                tuple(sorted(map(number_of, span.orders))),
                span.since_ns,
            )
            for span in [*doubt.bookless, *doubt.spans]
        ]

    def frame_done(self, now_ns: int, *, is_doubtful: bool = False) -> None:
        """
        All that happened up to and at this time is reported.

        Args:
            now_ns: Not before that of the last call.
            is_doubtful: Whether a book of the run is stale, or a position uncertain, from now on.
        """
        changed = self._changed
        if is_doubtful != self._is_doubtful:
            changed = self._moved = set(self.ledger.accounts)
        self._is_doubtful = is_doubtful
        for name in sorted(changed) if len(changed) > 1 else changed:
            self._take_equity(name, now_ns)
        self._changed = set()
        self._moved = set()
        self._has_doubtful_fill = False
        self._now_ns = now_ns
        self._is_open = False

    def finish(self, now_ns: int) -> RunRecord:
        """The run has ended: state what is left, and hand over what was taken down."""
        self._changed = self._moved = set(self.ledger.accounts)
        traded = [place for place, position in enumerate(self.ledger.positions) if position.turnover]
        for place in traded:
            self._state_position(place, now_ns)
        for account in self.ledger.accounts.values():
            self._state_balance(account, now_ns)
        self.frame_done(now_ns, is_doubtful=self._is_doubtful)
        self._flush_tops(now_ns + 1)
        return RunRecord(
            head=self.head,
            start_ns=self._start_ns,
            end_ns=now_ns,
            instants=self._seq + 1,
            markets=self.ledger.markets,
            symbols=self._symbols,
            ledger=self.ledger,
            courses=self._courses,
            messages=self._messages,
            tops=self._tops,
            entries=self._entries,
            equity=self._equity,
            decisions=self._decisions,
            series=self._series,
            counts=dict(sorted(self.counts.items())),
            gaps=self._gaps,
            queued=self._queued,
            late=None if self._queued is None else self._late,
        )

    def _place(self, now_ns: int) -> tuple[int, int]:
        """`capture_seq` and `sub_seq` of the next row."""
        if not self._is_open or now_ns != self._now_ns:
            self._flush_tops(now_ns)
            self._seq += 1
            self._sub = 0
            self._is_open, self._now_ns = True, now_ns
        self._sub += 1
        return self._seq, self._sub - 1

    def _head(
        self, pair: int, venue_ns: int | None, now_ns: int
    ) -> tuple[str, str, str, int | None, int, int, int, str]:
        seq, sub = self._place(now_ns)
        key = self.ledger.markets[pair].key
        return key.venue, self._symbols[pair], key.trading_pair, venue_ns, now_ns, seq, sub, self.head.strategy

    def _flush_tops(self, now_ns: int) -> None:
        """Take down the best prices before an instant in which something happens, an instant for each time."""
        last_ns = None
        for top in self._recent.due(now_ns):
            if top.now_ns != last_ns:
                self._seq += 1
                self._sub = 0
                last_ns = top.now_ns
                self._is_open = False
            names = (self._spellings[top.pair] or self._spelled(top.pair)).names
            head = (*names, top.now_ns, top.now_ns, self._seq, self._sub)
            self._tops.append(BookTop(*head, *top.values()))
            self._sub += 1

    def _open_accounts(self) -> None:
        """State what accounts hold that are new."""
        for name, account in self.ledger.accounts.items():
            if name not in self._courses:
                self._courses[name] = EquityCourse()
                self._state_balance(account, self._now_ns)
                self._moved.add(name)
                self._take_equity(name, self._now_ns)

    def _state_position(self, pair: int, now_ns: int) -> None:
        ledger, position = self.ledger, self.ledger.positions[pair]
        contract = ledger.markets[pair].contract
        if contract is not None and contract.kind is ContractKind.SPOT:
            return
        is_valued = bool(position.size) and position.mark is not None
        entry = ledger.entry_price_near(pair)
        self._messages.append(
            PositionUpdate(
                *self._head(pair, now_ns, now_ns),
                position.size / _SIZE,
                entry,
                ledger.unrealized(pair) / _CASH if is_valued or not position.size else None,
                value_at(position.size, position.mark) if is_valued else (0.0 if not position.size else None),
            )
        )

    def _state_balance(self, account: Account, now_ns: int) -> None:
        ledger = self.ledger
        contracts = [contract for place in account.pairs if (contract := ledger.markets[place].contract) is not None]
        of_spot = [contract.kind is ContractKind.SPOT for contract in contracts]
        wallet = ("spot" if all(of_spot) else "" if any(of_spot) else "perp") if of_spot else ""
        venue = ledger.markets[account.pairs[0] if account.pairs else 0].key.venue
        # Of spot the things bought are balances of their own; of contracts a wallet is worth what they gained.
        spots = [place for place in account.pairs if is_spot(ledger.markets[place])]
        total = ledger.equity(account.name) - sum(ledger.worth(place) for place in spots)
        free = total if not spots else account.cash
        for asset, held, available in (
            (account.asset, total / _CASH, free / _CASH),
            *(
                (base_of(ledger.markets[place]), size, size)
                for place in spots
                for size in [ledger.positions[place].size / _SIZE]
            ),
        ):
            seq, sub = self._place(now_ns)
            self._messages.append(
                BalanceUpdate(
                    venue, "", "", now_ns, now_ns, seq, sub, self.head.strategy, asset, held, available, wallet
                )
            )

    def _take_equity(self, name: str, now_ns: int) -> None:
        equity, account = self.ledger.equity(name), self.ledger.accounts[name]
        # A deposit is no gain, and a withdrawal no fall.
        self._courses[name].take(
            now_ns,
            equity - account.transfers,
            is_doubtful=self._is_doubtful,
            has_doubtful_fill=self._has_doubtful_fill,
        )
        is_sample = name not in self._moved
        if is_sample and now_ns // self._step_ns == self._sampled_ns.get(name, -1) // self._step_ns:
            return
        self._sampled_ns[name] = now_ns
        row = EquityRow(
            now_ns,
            name,
            account.asset,
            account.cash,
            self.ledger.wallet(name),
            equity,
            account.fees,
            account.funding,
            account.transfers,
            self._is_doubtful,
            is_sample,
        )
        self._equity.append((*self._place(now_ns), row))
        self._samples += is_sample
        if self._samples > _POINTS_MAX:
            self._thin()

    def _thin(self) -> None:
        """Keep every second sample, and from now on only so many: what a run leaves does not grow with its length."""
        self._step_ns *= 2
        kept: list[Placed[EquityRow]] = []
        seen: dict[str, int] = {}
        for placed in self._equity:
            row = placed[2]
            bucket = row.now_ns // self._step_ns
            if not row.is_sample or seen.get(row.account) != bucket:
                kept.append(placed)
            seen[row.account] = bucket
        self._equity = kept
        self._samples = sum(row.is_sample for _, _, row in kept)
