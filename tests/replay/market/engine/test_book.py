from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replay.market.engine.book import Book, Level
from replay.market.engine.orders import Order

ORDERS = st.lists(
    st.tuples(
        st.booleans(),  # buys
        st.integers(95, 105),  # limit price
        st.integers(1, 20),  # lots
        st.sampled_from(["gtc", "ioc", "cancel"]),
        st.sampled_from(["0xa", "0xb", "0xc"]),
    ),
    max_size=60,
)


def run(steps: list[tuple[bool, int, int, str, str]]) -> tuple[Book, list[Order], int, int]:
    """Send orders to a book; returns it, all orders, lots traded and lots cancelled."""
    book, traded, cancelled = Book(), 0, 0
    orders: list[Order] = []
    for number, (is_buy, px, lots, what, owner) in enumerate(steps):
        if what == "cancel" and orders:
            gone = book.cancel(orders[px % len(orders)].oid)
            cancelled += gone.lots if gone else 0
            continue
        order = Order(number, owner, is_buy, px, lots)
        orders.append(order)
        fills, own = book.match(order)
        traded += sum(fill.lots for fill in fills)
        cancelled += sum(each.lots for each in own)
        if order.lots and what == "gtc":
            book.rest(order)
        elif order.lots:
            cancelled += order.lots
            order.lots = 0
    return book, orders, traded, cancelled


@given(ORDERS)
def test_a_book_never_crosses(steps: list[tuple[bool, int, int, str, str]]) -> None:
    book = run(steps)[0]
    bid, ask = book.bids.best, book.asks.best
    assert bid is None or ask is None or bid < ask


@given(ORDERS)
def test_size_is_neither_made_nor_lost(steps: list[tuple[bool, int, int, str, str]]) -> None:
    book, orders, traded, cancelled = run(steps)
    sent = sum(order.orig_lots for order in orders)
    resting = sum(level.lots for side in (book.bids, book.asks) for level in side.levels())
    assert sent == 2 * traded + cancelled + resting


@given(ORDERS)
def test_levels_are_the_sums_of_their_orders_in_order_of_price(steps: list[tuple[bool, int, int, str, str]]) -> None:
    book = run(steps)[0]
    for side, sign in ((book.bids, -1), (book.asks, 1)):
        by_px: dict[int, list[int]] = {}
        for order in side.orders():
            by_px.setdefault(order.px, []).append(order.lots)
        expected = [
            Level(px, sum(lots), len(lots)) for px, lots in sorted(by_px.items(), key=lambda each: sign * each[0])
        ]
        assert side.levels() == expected
        assert side.best_level() == (expected[0] if expected else None)


@given(ORDERS, st.integers(1, 60))
def test_fills_go_to_the_best_price_and_there_to_the_oldest(
    steps: list[tuple[bool, int, int, str, str]], lots: int
) -> None:
    book = run(steps)[0]
    queue = [(order.px, order.oid, order.lots) for order in book.asks.orders()]
    assert queue == sorted(queue)  # order ids are given in order of arrival
    fills, _ = book.match(Order(10_000, "0xtaker", True, 200, lots))
    left, expected = lots, []
    for px, oid, size in queue:
        if not left:
            break
        expected.append((px, oid, min(size, left)))
        left -= min(size, left)
    assert [(fill.px, fill.maker.oid, fill.lots) for fill in fills] == expected


def test_a_limit_is_not_traded_through() -> None:
    book = Book()
    book.rest(Order(1, "0xa", False, 100, 5))
    book.rest(Order(2, "0xa", False, 101, 5))
    taker = Order(3, "0xb", True, 100, 8)
    fills, _ = book.match(taker)
    assert [(fill.px, fill.lots) for fill in fills] == [(100, 5)]
    assert taker.lots == 3


def test_an_owner_does_not_trade_with_himself() -> None:
    book = Book()
    book.rest(Order(1, "0xa", False, 100, 5))
    book.rest(Order(2, "0xb", False, 100, 5))
    fills, own = book.match(Order(3, "0xa", True, 100, 4))
    assert [fill.maker.oid for fill in fills] == [2]
    assert [order.oid for order in own] == [1]


def test_a_partly_filled_order_keeps_its_place() -> None:
    book = Book()
    for oid in (1, 2):
        book.rest(Order(oid, "0xa", False, 100, 5))
    book.match(Order(3, "0xb", True, 100, 2))
    fills, _ = book.match(Order(4, "0xb", True, 100, 4))
    assert [(fill.maker.oid, fill.lots) for fill in fills] == [(1, 3), (2, 1)]


def test_the_native_best_counts_only_orders_of_one_coin() -> None:
    book = Book()
    book.rest(Order(1, "0xa", True, 60, 5, mirrored=True))
    book.rest(Order(2, "0xa", True, 59, 7))
    book.rest(Order(3, "0xb", True, 59, 1, mirrored=True))
    assert book.bids.native_best(False) == Level(59, 7, 1)
    assert book.bids.native_best(True) == Level(60, 5, 1)
    assert book.asks.native_best(True) is None
