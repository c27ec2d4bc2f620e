"""
The seeded market: every coin's book, block after block, without I/O and without a clock.

A block is a function of the seed and its number alone; the genesis time only decides what time is printed on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, Protocol

from replay.synthetic.book import Book, Fill, Order
from replay.synthetic.coins import DEFAULT_INSTRUMENTS, Instrument
from replay.synthetic.context import FundingRow, PerpContext, SpotContext
from replay.synthetic.flow import Flow
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.rng import seeded

__all__ = ["ZERO_HASH", "Block", "Market", "MarketOptions", "Participant", "Trade"]

#: Printed on trades that no user transaction caused (liquidations, triggered orders).
ZERO_HASH = "0x" + "0" * 64
_MASK = (1 << 64) - 1
#: Trades kept per coin: the venue replays 30 of them to a new subscriber.
_TRADES_KEPT = 200


class Trade(NamedTuple):
    """One execution as the venue prints it, in the prices of `coin`; `is_buy` is the taker's side."""

    coin: str
    is_buy: bool
    px: int
    lots: int
    time_ms: int
    hash: str
    tid: int
    buyer: str
    seller: str


class Block(NamedTuple):
    """What one block changed that is not visible in the books: its trades per coin, in order, and any settlement."""

    number: int
    time_ms: int
    trades: dict[str, list[Trade]]
    fundings: list[FundingRow]


class Participant(Protocol):
    """Somebody who trades in the books under a known address and wants to hear about it."""

    def act(self, market: Market, block: int, time_ms: int) -> None:
        """Called once in every block, after the crowd."""

    def filled(self, coin: str, fill: Fill, trade: Trade) -> None:
        """Called for every fill of the market as it happens; the orders hold what is left of them."""

    def matched(self, coin: str) -> None:
        """Called after the last fill of an order, when the book is at rest again."""

    def funded(self, row: FundingRow) -> None:
        """Called for each perpetual when its funding is settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketOptions:
    """
    How the market runs.

    Attributes:
        seed: Decides everything except the printed times.
        genesis_ns: Time of block 0, ns since the Unix epoch.
        block_ns: Mean time between blocks, ns. Single blocks come up to a fifth of it early or late.
        oracle_every: Blocks between oracle updates (about 3 s on the real venue).
        premium_every: Blocks between samples of the premium (about 5 s).
        funding_every_ns: Time between funding settlements, ns.
        funding_phase_ns: Time from block 0 to the first settlement, ns; None for one whole interval.
        funding_history: Settlements per perpetual that are said to have happened before block 0, one an hour.
    """

    seed: int | str = 0
    genesis_ns: int = 1_790_000_000 * NS_PER_S
    block_ns: int = 70 * NS_PER_MS
    oracle_every: int = 43
    premium_every: int = 71
    funding_every_ns: int = 3600 * NS_PER_S
    funding_phase_ns: int | None = None
    funding_history: int = 800
    instruments: Sequence[Instrument] = field(default=DEFAULT_INSTRUMENTS)


class Market:
    """
    All coins of the synthetic venue.

    Attributes:
        instruments: By coin, in the order of the listing.
        books: By coin; the two coins of an outcome pair share one book, kept in the prices of the first.
        number: The last block made; 0 before the first `step`.
        time_ms: Its time, ms since the Unix epoch.
        history: Latest trades per coin, oldest first.
    """

    def __init__(self, options: MarketOptions | None = None) -> None:
        self.options = options = options or MarketOptions()
        self.instruments: dict[str, Instrument] = {each.coin: each for each in options.instruments}
        self.books: dict[str, Book] = {}
        self.flows: dict[str, Flow] = {}
        self.perps: dict[str, PerpContext] = {}
        self.spots: dict[str, SpotContext] = {}
        self.history: dict[str, deque[Trade]] = {}
        self.participants: list[Participant] = []
        self.number = 0
        self._mix = seeded(f"{options.seed}/blocks").getrandbits(64)
        self._oid = 90_000_000_000 + self._mix % 1_000_000_000
        self._actions = 0
        self._trades: dict[str, list[Trade]] = {}
        self.time_ms = self.block_time_ns(0) // NS_PER_MS
        phase = options.funding_phase_ns
        self._funding_at_ns = options.funding_every_ns if phase is None else phase
        for instrument in options.instruments:
            self._list(instrument)

    def _list(self, instrument: Instrument) -> None:
        coin, seed = instrument.coin, f"{self.options.seed}/{instrument.coin}"
        self.history[coin] = deque(maxlen=_TRADES_KEPT)
        if instrument.family == "perp":
            self.perps[coin] = PerpContext(instrument, seed, self.options.genesis_ns, self.options.funding_history)
        else:
            self.spots[coin] = SpotContext(instrument, seed)
        if instrument.mirror is not None and instrument.mirror in self.books:
            self.books[coin] = self.books[instrument.mirror]
            return
        book = self.books[coin] = Book()
        if not instrument.delisted:
            self.flows[coin] = Flow(instrument, book, seed, self.next_oid, self._taker(coin))

    def _taker(self, coin: str) -> Callable[[Order], object]:
        return lambda order: self.take(coin, order)

    # Time ----------------------------------------------------------------------------------------------------------

    def block_time_ns(self, number: int) -> int:
        """Time of a block, ns since the Unix epoch. Depends on genesis, seed and number only."""
        value = (number * 0x9E3779B97F4A7C15 ^ self._mix) & _MASK
        value = (value ^ (value >> 31)) * 0xBF58476D1CE4E5B9 & _MASK
        block_ns = self.options.block_ns
        early_or_late = (value >> 16) % max(1, block_ns * 2 // 5) - block_ns // 5
        return self.options.genesis_ns + number * block_ns + early_or_late

    def advance(self, blocks: int) -> Iterator[Block]:
        """Make that many blocks."""
        for _ in range(blocks):
            yield self.step()

    def step(self) -> Block:
        """Make the next block."""
        self.number += 1
        number = self.number
        time_ns = self.block_time_ns(number)
        self.time_ms = time_ms = time_ns // NS_PER_MS
        self._trades = {}
        # Each coin gets an early history, so that a new subscriber has old trades to be sent.
        forced = number < 300 and number % 20 == 7
        for flow in self.flows.values():
            flow.step(time_ms, force_trade=forced)
        for participant in self.participants:
            participant.act(self, number, time_ms)
        fundings = self._contexts(number, time_ms)
        return Block(number, time_ms, self._trades, fundings)

    def _contexts(self, number: int, time_ms: int) -> list[FundingRow]:
        options = self.options
        oracle, premium = number % options.oracle_every == 0, number % options.premium_every == 0
        # Settlement follows the number of the block, not its printed time, which is a little early or late.
        settle = number * options.block_ns >= self._funding_at_ns
        if settle:
            self._funding_at_ns += options.funding_every_ns
        rows: list[FundingRow] = []
        if not (oracle or premium or settle):
            return rows
        for coin, context in self.perps.items():
            if context.instrument.delisted:
                continue
            book = self.books[coin]
            if oracle:
                context.update_oracle(self.flows[coin].fair, book)
            if premium:
                context.sample_premium(book)
            if settle:
                rows.append(context.settle(book, time_ms))
        for row in rows:
            for participant in self.participants:
                participant.funded(row)
        return rows

    # Orders --------------------------------------------------------------------------------------------------------

    def next_oid(self) -> int:
        """The venue's next order id."""
        self._oid += 1
        return self._oid

    def primary(self, coin: str) -> str:
        """The coin in whose prices the book of `coin` is kept."""
        mirror = self.instruments[coin].mirror
        return mirror if mirror in self.flows and coin not in self.flows else coin

    def take(self, coin: str, order: Order, *, tx_hash: str | None = None) -> tuple[list[Fill], list[Order]]:
        """
        Trade an order against the book of `coin` up to its limit; what is left of it stays with the caller.

        Args:
            coin: The coin in whose prices the order is.
            order: The taker.
            tx_hash: What is printed on the trades; made up if None.

        Returns:
            The fills, and the taker's own resting orders that were cancelled instead of traded with.
        """
        fills, own = self.books[coin].match(order)
        if fills:
            self._actions += 1
            digest = tx_hash or self._hash(coin)
            for fill in fills:
                self._print(coin, fill, digest)
            for participant in self.participants:
                participant.matched(coin)
        flow = self.flows.get(coin)
        if flow is not None:
            for fill in fills:
                if not fill.maker.lots:
                    flow.forget(fill.maker)
            for each in own:
                flow.forget(each)
        return fills, own

    def _hash(self, coin: str) -> str:
        text = f"{self.options.seed}/{coin}/{self.number}/{self._actions}"
        return "0x" + blake2b(text.encode(), digest_size=32).hexdigest()

    def _print(self, coin: str, fill: Fill, digest: str) -> None:
        """Print a fill on the tape of its coin and, for an outcome, mirrored on that of the other one."""
        instrument = self.instruments[coin]
        is_buy = fill.taker.is_buy
        buy, sell = (fill.taker, fill.maker) if is_buy else (fill.maker, fill.taker)
        trade = Trade(
            coin, is_buy, fill.px, fill.lots, self.time_ms, digest, _tid(buy.oid, sell.oid), buy.owner, sell.owner
        )
        self._publish(trade)
        if instrument.mirror is not None:
            # Who buys one side sells the other: the roles swap, and with them the id, a hash of (buyer, seller).
            tid = _tid(sell.oid, buy.oid)
            px = instrument.one - fill.px
            self._publish(
                Trade(instrument.mirror, not is_buy, px, fill.lots, self.time_ms, digest, tid, sell.owner, buy.owner)
            )
        if coin in self.perps:
            self.perps[coin].traded(fill.px, fill.lots, fill.taker.oid)
        for participant in self.participants:
            participant.filled(coin, fill, trade)

    def _publish(self, trade: Trade) -> None:
        self._trades.setdefault(trade.coin, []).append(trade)
        self.history[trade.coin].append(trade)
        if trade.coin in self.spots:
            self.spots[trade.coin].traded(trade.px, trade.lots)


def _tid(buyer_oid: int, seller_oid: int) -> int:
    """The trade id: 50 bits of a hash of (buyer's order id, seller's order id)."""
    value = (buyer_oid * 0x9E3779B97F4A7C15 + seller_oid * 0xC2B2AE3D27D4EB4F) & _MASK
    value = (value ^ (value >> 29)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 32)) * 0x94D049BB133111EB & _MASK
    return (value ^ (value >> 31)) >> 14
