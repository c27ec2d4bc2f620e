"""The orders of one or several accounts, from one stream of messages: active, done and not yet known ones."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.account_messages import Fill, OrderUpdate
from toolkit.accounts.orders import InFlightOrder
from toolkit.borders import Shown
from toolkit.errors import ConfigError, SymbolError

__all__ = ["ClientOrderTracker"]

#: Venue, account, the venue's id of the order, and how many orders had that id before.
_Key = tuple[str, str, str, int]


class ClientOrderTracker(Shown):
    """
    Follows every order that messages speak of.

    Orders that have ended are kept, because fills come late; the oldest are forgotten when there are more than
    `done_max`. Orders known by their fills alone wait, as unknown, for the update that describes them.

    Args:
        done_max: Ended orders that are kept.
        unknown_max: Unknown orders that are kept.

    Attributes:
        forgotten_count: Orders that were forgotten to keep within these limits.
        repeated_fill_count: Fills that had been counted before.
    """

    def __init__(self, *, done_max: int = 10_000, unknown_max: int = 10_000) -> None:
        if done_max < 1 or unknown_max < 1:
            raise ConfigError(f"at least one order is kept, not {done_max} done and {unknown_max} unknown")
        self._done_max = done_max
        self._unknown_max = unknown_max
        self._active: dict[_Key, InFlightOrder] = {}
        self._done: dict[_Key, InFlightOrder] = {}
        self._unknown: dict[_Key, InFlightOrder] = {}
        self._pending: dict[tuple[str, str, str], InFlightOrder] = {}
        self.forgotten_count = 0
        self.repeated_fill_count = 0

    # -- what there is -----------------------------------------------------------------------------------------

    def _shown(self) -> str:
        return f"{len(self.active)} active, {len(self.done)} ended, {len(self.unknown)} unknown"

    @property
    def active(self) -> list[InFlightOrder]:
        """Orders that have not ended, in the order they first appeared; those of our own that wait come last."""
        return [*self._active.values(), *self._pending.values()]

    @property
    def done(self) -> list[InFlightOrder]:
        """Orders that have ended, in the order they did."""
        return list(self._done.values())

    @property
    def unknown(self) -> list[InFlightOrder]:
        """Orders known by their fills alone, oldest first."""
        return list(self._unknown.values())

    def __iter__(self) -> Iterator[InFlightOrder]:
        yield from self.active
        yield from self._done.values()
        yield from self._unknown.values()

    def __len__(self) -> int:
        return len(self._active) + len(self._pending) + len(self._done) + len(self._unknown)

    def find(self, order_id: str, *, venue: str | None = None, account: str | None = None) -> InFlightOrder | None:
        """
        The order of that id, by the venue's or its owner's: the last to have it; of several such, an active one.

        Raises SymbolError for an id that orders of several venues have, if `venue` does not say which.
        """
        found: InFlightOrder | None = None
        for order in self:
            if order_id not in (order.order_id, order.client_order_id):
                continue
            if venue not in (None, order.venue) or account not in (None, order.account):
                continue
            if found is not None and found.venue != order.venue:
                raise SymbolError(
                    f"orders of {' and '.join(sorted((found.venue, order.venue)))} have the id {order_id}: say which venue"
                )
            if (
                found is None
                or order.generation > found.generation
                or (order.generation == found.generation and found.is_done)
            ):
                found = order
        return found

    # -- what is received -----------------------------------------------------------------------------------------

    def start(self, order: InFlightOrder) -> None:
        """
        Follow an order of our own before the venue has an id for it; updates find it by its `client_order_id`.

        Raises ConfigError for one without.
        """
        if not order.client_order_id:
            raise ConfigError("an order that is followed before the venue knows it needs a client_order_id")
        if order.order_id:
            self._active[order.venue, order.account, order.order_id, order.generation] = order
        else:
            self._pending[order.venue, order.account, order.client_order_id] = order

    def on_order(self, update: OrderUpdate) -> tuple[InFlightOrder, bool, bool]:
        """Take in an update; returns the order, whether it was described for the first time, and whether its state changed."""
        key = (update.venue, update.account, update.order_id, update.generation or 0)
        order = self._find(key) or self._adopt(key, update.client_order_id) or InFlightOrder.of(update)
        is_new = not order.is_known
        has_changed = order.update(update)
        self._file(key, order)
        return order, is_new, has_changed

    def on_fill(self, fill: Fill) -> tuple[InFlightOrder, bool, bool]:
        """Take in a fill; returns the order, whether the fill was new, and whether the order's state changed."""
        key = (fill.venue, fill.account, fill.order_id, fill.generation or 0)
        order = self._find(key) or self._adopt(key, fill.client_order_id) or InFlightOrder.of(fill)
        before = order.state
        is_new = order.fill(fill)
        if not is_new:
            self.repeated_fill_count += 1
        self._file(key, order)
        return order, is_new, order.state is not before

    def fail(self, order: InFlightOrder) -> bool:
        """An order of our own never reached the venue; returns whether that ended it."""
        if not order.fail():
            return False
        client_key = (order.venue, order.account, order.client_order_id or "")
        self._pending.pop(client_key, None)
        self._file((order.venue, order.account, order.order_id or client_key[2], order.generation), order)
        return True

    def _find(self, key: _Key) -> InFlightOrder | None:
        return self._active.get(key) or self._done.get(key) or self._unknown.get(key)

    def _adopt(self, key: _Key, client_order_id: str | None) -> InFlightOrder | None:
        """An order of our own that the venue has given its id now."""
        if client_order_id is None:
            return None
        order = self._pending.pop((key[0], key[1], client_order_id), None)
        if order is not None:
            order.order_id, order.generation = key[2:]
        return order

    def _file(self, key: _Key, order: InFlightOrder) -> None:
        """Put an order where it belongs; one that stays there keeps its place."""
        if order.is_done:
            if key not in self._done:
                self._active.pop(key, None)
                self._unknown.pop(key, None)
                self._done[key] = order
                self._forget(self._done, self._done_max)
        elif order.is_known or order.size is not None:
            if key not in self._active:
                self._done.pop(key, None)
                self._unknown.pop(key, None)
                self._active[key] = order
        elif key not in self._unknown:
            self._unknown[key] = order
            self._forget(self._unknown, self._unknown_max)

    def _forget(self, orders: dict[_Key, InFlightOrder], limit: int) -> None:
        while len(orders) > limit:
            del orders[next(iter(orders))]
            self.forgotten_count += 1
