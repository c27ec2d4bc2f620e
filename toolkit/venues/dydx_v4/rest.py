"""dYdX v4's REST requests, and the answers that need nothing but themselves to be understood."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from toolkit.frames import Frame
from toolkit.messages import BookSnapshot
from toolkit.protocol import RestCall
from toolkit.venues.dydx_v4.books import DEPTH_CAP, read_levels
from toolkit.venues.dydx_v4.pages import FIELDS, PAGE_ROWS, Page
from toolkit.venues.dydx_v4.wire import decode_book_levels

__all__ = [
    "FORM_REST",
    "book_call",
    "book_of",
    "funding_call",
    "markets_call",
    "terms_call",
    "time_call",
    "trades_call",
    "trades_page",
]

#: Form of a book from REST.
FORM_REST = "rest"


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


def terms_call(ticker: str = "") -> RestCall:
    """The terms of one market, or of all, as they are now."""
    call = markets_call(ticker)
    return RestCall(f"terms:{ticker}" if ticker else "terms", call.method, call.path)


def trades_call(ticker: str, page: Page) -> RestCall:
    """A page of a market's trades."""
    part = f"&page={page.part}" if page.part > 1 else ""
    query = f"limit={PAGE_ROWS}{part}&createdBeforeOrAtHeight={page.height}"
    return RestCall(f"trades:{page.text}:{ticker}", "GET", f"/trades/perpetualMarket/{_quoted(ticker)}?{query}")


def trades_page(text: str) -> tuple[Page | None, str]:
    """The page and the market that a tag of `trades_call` says, after its first word; None where it says none."""
    words = text.split(":", FIELDS)
    if len(words) <= FIELDS or not all(word.isascii() and word.isdigit() for word in words[:FIELDS]):
        return None, text
    return Page.parse(":".join(words[:FIELDS]), 0), words[FIELDS]


def funding_call(ticker: str, count: int, before: datetime | None = None) -> RestCall:
    """A market's settled funding rates: the newest, or those up to a time."""
    until = f"&effectiveBeforeOrAt={_iso(before)}" if before is not None else ""
    path = f"/historicalFunding/{_quoted(ticker)}?limit={count}{until}"
    return RestCall(f"historicalFunding:{ticker}", "GET", path)


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


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
