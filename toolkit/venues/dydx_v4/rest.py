"""dYdX v4's REST requests, and the answers that need nothing but themselves to be understood."""

from __future__ import annotations

from urllib.parse import quote

from toolkit.frames import Frame
from toolkit.messages import BookSnapshot
from toolkit.protocol import RestCall
from toolkit.venues.dydx_v4.books import DEPTH_CAP, read_levels
from toolkit.venues.dydx_v4.wire import decode_book_levels

__all__ = ["FORM_REST", "book_call", "book_of", "funding_call", "markets_call", "time_call", "trades_call"]

#: Form of a book from REST.
FORM_REST = "rest"
#: Most rows of a page.
PAGE_ROWS = 1000


def markets_call(ticker: str = "") -> RestCall:
    """What there is to know of one market, or of all."""
    if not ticker:
        return RestCall("perpetualMarkets", "GET", "/perpetualMarkets")
    return RestCall(f"perpetualMarkets:{ticker}", "GET", f"/perpetualMarkets?ticker={_quoted(ticker)}")


def time_call() -> RestCall:
    """The venue's clock."""
    return RestCall("time", "GET", "/time")


def book_call(ticker: str) -> RestCall:
    """A market's book."""
    return RestCall(f"orderbook:{ticker}", "GET", f"/orderbooks/perpetualMarket/{_quoted(ticker)}")


def trades_call(ticker: str, height: int, tag: str) -> RestCall:
    """A market's trades in blocks up to that height."""
    path = f"/trades/perpetualMarket/{_quoted(ticker)}?limit={PAGE_ROWS}&createdBeforeOrAtHeight={height}"
    return RestCall(tag, "GET", path)


def funding_call(ticker: str, count: int) -> RestCall:
    """A market's newest settled funding rates."""
    return RestCall(f"historicalFunding:{ticker}", "GET", f"/historicalFunding/{_quoted(ticker)}?limit={count}")


def book_of(venue: str, ticker: str, frame: Frame) -> BookSnapshot:
    """
    The book in an answer. Raises ParseError.

    It comes from a cache, behind the stream by a second or more, so it is never put into the streamed book.
    """
    columns = read_levels(decode_book_levels(frame.payload))
    return BookSnapshot(
        venue,
        ticker,
        ticker,
        None,  # the answer has no time in it
        frame.ts_recv,
        frame.capture_seq,
        0,
        FORM_REST,
        False,
        DEPTH_CAP,
        *columns.bids,
        (),
        *columns.asks,
        (),
    )


def _quoted(ticker: str) -> str:
    # Tickers hold commas and slashes.
    return quote(ticker, safe="")
