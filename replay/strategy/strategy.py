"""
What a strategy is: a class that is called when something happens, and asks a `Context` for what it wants.

A strategy knows logical time alone: that of the frame, response or timer which called it. So the same class makes the
same decisions on a live feed and on the recording of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from toolkit.clock import NS_PER_MS
from toolkit.errors import ConfigError
from toolkit.timing.times import Length, duration_ns, length_ns

if TYPE_CHECKING:
    from replay.strategy.context import Context
    from replay.strategy.views import BookView, Gap, OwnFill, OwnOrder, Quote
    from toolkit.messages import FundingInfo, Trade

__all__ = ["EVERY", "HOOKS", "Strategy", "Wakes", "interval_ns"]

#: The name of the timer that `Wakes.every` sets.
EVERY: Final = "every"
#: Least length between two calls of a timer. Each is a call of Python, also where nothing happens in between: a thousand of
#: them for each second of a market are done in milliseconds, a million take longer than the second itself.
_INTERVAL_NS_MIN: Final = NS_PER_MS


def interval_ns(name: str, length: Length) -> int:
    """The length of time between two calls of a timer. Raises ConfigError for none, and for one that is too short."""
    ns = length_ns(length, name)
    if ns < _INTERVAL_NS_MIN:
        raise ConfigError(
            f"{name} is {length!r}, expected 1ms or more: a timer is called at each multiple, whether anything happens or"
            " not; on_quote, on_book and on_trade are called when something does"
        )
    return ns


class Wakes(msgspec.Struct, frozen=True):
    """
    What calls a strategy; it is not called for what is not declared.

    Orders, fills, timers that it has set and gaps always call it.

    Attributes:
        pairs: Pairs whose market calls it; none for all pairs of the run.
        quotes: `on_quote`, when the best price or size of a side of the fused book changes.
        books: `on_book`, after any message that changed the fused book.
        trades: `on_trade`, for every new trade; not for history or what is repeated.
        funding: `on_funding`, for every statement of funding, mark or index price.
        every: `on_timer` with the name `every`, at the multiples of this length of time since the epoch: `100ms`; 1 ms
            or more.
        min_gap: At most one `on_quote` of a pair within each such length of time since the epoch, the first.

    Raises ConfigError for what is no length of time, and for timers that are too close together.
    """

    pairs: tuple[str, ...] = ()
    quotes: bool = False
    books: bool = False
    trades: bool = False
    funding: bool = False
    every: str | None = None
    min_gap: str | None = None

    def __post_init__(self) -> None:
        if self.every is not None:
            interval_ns("Wakes: every", self.every)
        if self.min_gap is not None:
            duration_ns(self.min_gap)
        if isinstance(self.pairs, str):
            raise ConfigError(f"Wakes(pairs={self.pairs!r}): expected a tuple of pairs, such as ({self.pairs!r},)")
        if self.min_gap is not None and not self.quotes:
            raise ConfigError(f"Wakes(min_gap={self.min_gap!r}) spaces quotes, which are not declared: say quotes=True")


class Strategy:
    """
    Base of all strategies.

    Annotated attributes are parameters, and can be set from outside by name. Every method may be left out. A method
    whose call has to be declared is only called where `wakes` declares it.

    Attributes:
        wakes: Events that call it.
    """

    wakes: ClassVar[Wakes] = Wakes()

    def on_start(self, ctx: Context) -> None:
        """The session begins: tick and lot of every pair are known; books may be stale still."""

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        """The best price or size of a side changed."""

    def on_book(self, ctx: Context, book: BookView) -> None:
        """The book changed."""

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        """Somebody traded."""

    def on_funding(self, ctx: Context, funding: FundingInfo) -> None:
        """The venue reported funding, mark or index price."""

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        """An own order changed its state; one that was refused has the venue's words in `reason` and `text`."""

    def on_fill(self, ctx: Context, fill: OwnFill) -> None:
        """An own order was executed, in full or in part; after `on_order` of the same response."""

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        """A timer is due."""

    def on_gap(self, ctx: Context, gap: Gap) -> None:
        """The book of a pair no longer holds, or (`gap.is_over`) it holds again."""

    def on_stop(self, ctx: Context) -> None:
        """The session has ended: what rested is cancelled, and nothing that is sent now arrives."""


#: Methods whose call has to be declared, and by which field of `Wakes`.
HOOKS: Final = {"on_quote": "quotes", "on_book": "books", "on_trade": "trades", "on_funding": "funding"}
