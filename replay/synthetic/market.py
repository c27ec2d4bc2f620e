"""
The seeded market: every book, block after block, without I/O and without a clock.

A block is a function of the seed and its number alone; the genesis time only decides what time is printed on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from replay.market.engine.book import Fill
from replay.market.engine.facts import FundingSettled, Trade
from replay.market.engine.instruments import Kind
from replay.market.engine.matching import Marketplace
from replay.market.engine.orders import Order
from replay.synthetic.context import Contexts, PerpContext, SpotContext
from replay.synthetic.flow import Flow
from replay.synthetic.instruments import DEFAULT_INSTRUMENTS, SyntheticInstrument
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.rng import seeded

__all__ = ["Block", "Market", "MarketOptions"]

_MASK = (1 << 64) - 1


class Block(NamedTuple):
    """What one block changed that is not visible in the books: its trades by symbol, in order, and any settlement."""

    number: int
    time_ms: int
    trades: dict[str, list[Trade]]
    fundings: list[FundingSettled]


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
        instruments: Instruments of the market, in this order.
    """

    seed: int | str = 0
    genesis_ns: int = 1_790_000_000 * NS_PER_S
    block_ns: int = 70 * NS_PER_MS
    oracle_every: int = 43
    premium_every: int = 71
    funding_every_ns: int = 3600 * NS_PER_S
    funding_phase_ns: int | None = None
    funding_history: int = 800
    instruments: Sequence[SyntheticInstrument] = field(default=DEFAULT_INSTRUMENTS)


class Market(Marketplace):
    """
    All instruments of the seeded market: books, a crowd that trades in each, and what is known of them.

    Attributes:
        flows: The crowd of each book, by the symbol in whose prices it is kept.
        perps: Figures of the perpetuals, by symbol.
        spots: Figures of everything else, by symbol.
        listed: Instruments that the seed trades, by symbol: the same as `instruments`, with how lively each is.
    """

    def __init__(self, options: MarketOptions | None = None) -> None:
        self.options = options = options or MarketOptions()
        self._mix = seeded(f"{options.seed}/blocks").getrandbits(64)
        super().__init__(options.seed, first_oid=90_000_000_000 + self._mix % 1_000_000_000)
        contexts = Contexts()
        self.participants.append(contexts)
        self.flows: dict[str, Flow] = {}
        self.perps = contexts.perps
        self.spots = contexts.spots
        self.listed: dict[str, SyntheticInstrument] = {each.symbol: each for each in options.instruments}
        self.time_ms = self.block_time_ns(0) // NS_PER_MS
        phase = options.funding_phase_ns
        self._funding_at_ns = options.funding_every_ns if phase is None else phase
        for instrument in options.instruments:
            self._open(instrument)

    def _open(self, instrument: SyntheticInstrument) -> None:
        symbol, seed = instrument.symbol, f"{self.options.seed}/{instrument.key}"
        if instrument.kind is Kind.PERPETUAL:
            self.perps[symbol] = PerpContext(instrument, seed, self.options.genesis_ns, self.options.funding_history)
        else:
            self.spots[symbol] = SpotContext(instrument, seed)
        book = self.list_instrument(instrument)
        if self.primary(symbol) == symbol and not instrument.delisted:
            self.flows[symbol] = Flow(instrument, book, seed, self.next_oid, self._taker(symbol))

    def _taker(self, symbol: str) -> Callable[[Order], object]:
        return lambda order: self.take(symbol, order)

    def mark(self, symbol: str) -> int:
        return self.perps[symbol].mark

    def take(self, symbol: str, order: Order, *, tx_hash: str | None = None) -> tuple[list[Fill], list[Order]]:
        fills, own = super().take(symbol, order, tx_hash=tx_hash)
        flow = self.flows.get(symbol)
        if flow is not None:
            for fill in fills:
                if not fill.maker.lots:
                    flow.forget(fill.maker)
            for each in own:
                flow.forget(each)
        return fills, own

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
        # Each instrument gets an early history, so that a new subscriber has old trades to be sent.
        forced = number < 300 and number % 20 == 7
        for flow in self.flows.values():
            flow.step(time_ms, force_trade=forced)
        for participant in self.participants:
            participant.act(self, number, time_ms)
        fundings = self._contexts(number, time_ms)
        return Block(number, time_ms, self._trades, fundings)

    def _contexts(self, number: int, time_ms: int) -> list[FundingSettled]:
        options = self.options
        oracle, premium = number % options.oracle_every == 0, number % options.premium_every == 0
        # Settlement follows the number of the block, not its printed time, which is a little early or late.
        settle = number * options.block_ns >= self._funding_at_ns
        if settle:
            self._funding_at_ns += options.funding_every_ns
        rows: list[FundingSettled] = []
        if not (oracle or premium or settle):
            return rows
        for symbol, context in self.perps.items():
            if context.instrument.delisted:
                continue
            book = self.books[symbol]
            if oracle:
                context.update_oracle(self.flows[symbol].fair, book)
            if premium:
                context.sample_premium(book)
            if settle:
                rows.append(context.settle(book, time_ms))
        for row in rows:
            for participant in self.participants:
                participant.funded(row)
        return rows
