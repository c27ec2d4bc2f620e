"""
dYdX v4's REST replies about markets: the list of them, their terms, settled rates, and the trades that were missed.

The stream is newer than REST, which is read from copies and kept for a second. So a reply gives what the stream does not
tell, and undoes nothing that it reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import SymbolError, VenueRefused
from toolkit.frames import Frame
from toolkit.messages import EventKind, Message, Trade
from toolkit.protocol import ProtocolOptions, RestCall
from toolkit.streams import Stream
from toolkit.venues.dydx_v4 import rest, wire
from toolkit.venues.dydx_v4.base import MISSED_TRADES, DydxV4Base
from toolkit.venues.dydx_v4.heights import ChainHeight
from toolkit.venues.dydx_v4.items import Finding
from toolkit.venues.dydx_v4.polls import FundingPolls, TermsPolls
from toolkit.venues.dydx_v4.symbols import (
    FINAL_STATUS,
    SETTLED,
    MarketChange,
    SymbolTable,
    funding_info,
    instrument,
    settled_funding,
)
from toolkit.venues.dydx_v4.trade_tape import TRADES, TradeMemory, blocks_of

__all__ = ["MARKETS_STREAM", "DydxV4Replies"]

#: The stream of all markets.
MARKETS_STREAM: Final = "markets"
#: A reply to a poll comes from a cache: a change of terms that the stream reported is newer for so long.
CACHE_S_MAX: Final = 60


class DydxV4Replies(DydxV4Base):
    """The part of the protocols that REST is about, and what both REST and the stream tell of markets."""

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(options)
        self.markets = SymbolTable()
        #: Height of the newest block seen, and its time in ns.
        self.block: tuple[int, int] | None = None
        self.chain = ChainHeight()
        self._wanted: tuple[str, ...] = ()
        self._is_awaited = False
        self._has_chosen = False
        self._trades = TradeMemory()
        self._polls = FundingPolls()
        self._terms = TermsPolls()
        self._vanished: dict[str, None] = {}
        self._termed: dict[str, int] = {}

    # -- which markets -----------------------------------------------------------------------------------------

    def _choose_markets(self, frame: Frame, messages: list[Message]) -> None:
        wanted: dict[str, None] = {}
        for name in self.options.pairs:
            try:
                ticker = self.markets.ticker(name)
            except SymbolError as exc:
                self.failure = exc
                return
            if self.markets.get(ticker).status == FINAL_STATUS:
                text = f"{ticker} is settled for good: its book is empty for ever, so it is not subscribed"
                messages.append(self.event(frame, EventKind.REFUSED, sub_seq=len(messages), detail=text))
                continue
            wanted[ticker] = None
        if self.options.pairs and not wanted:
            self.failure = VenueRefused(f"nothing to record: {', '.join(self.options.pairs)} settled for good")
        self._wanted = tuple(wanted)

    @property
    def has_market(self) -> bool:
        """Whether a market is recorded; accounts that are named without pairs want none."""
        return bool(self.options.pairs) or not self.options.accounts

    def _is_wanted(self, ticker: str) -> bool:
        return self.has_market and (not self.options.pairs or ticker in self._wanted)

    def _look_for_vanished(self, frame: Frame, changes: list[MarketChange], messages: list[Message]) -> None:
        """Say which of the pairs a list of all markets has no more, and which it has again; both go on as they are."""
        listed = {change.ticker for change in changes}
        for ticker in self._wanted:
            if (ticker in listed) != (ticker in self._vanished):
                continue
            if ticker in listed:
                del self._vanished[ticker]
                cause, text = "listed", f"{ticker} is in the venue's list of markets again"
            else:
                self._vanished[ticker] = None
                cause, text = "vanished", f"{ticker} is not in the venue's list of markets; it is recorded on"
            stream = Stream(ticker, ticker, "terms")
            messages.append(
                self.event(frame, EventKind.NOTICE, stream=stream, sub_seq=len(messages), cause=cause, detail=text)
            )

    def _emit_changes(self, frame: Frame, changes: list[MarketChange], messages: list[Message]) -> None:
        for change in changes:
            if change.has_terms:
                messages.append(instrument(self.venue, change.ticker, change.after, frame, len(messages)))
            if change.has_figures:
                messages.append(
                    funding_info(self.venue, change.ticker, change.after, frame, len(messages), change.ts_event)
                )

    # -- replies -----------------------------------------------------------------------------------------------

    def _calls_again(self, tag: str, mono_ns: int) -> list[RestCall]:
        """The request of that tag once more, as it is by now."""
        what, _, rest_of_tag = tag.partition(":")
        match what:
            case "historicalFunding":
                return [self._polls.again(rest_of_tag, mono_ns)]
            case "terms":
                return [rest.terms_call(rest_of_tag)]
            case "trades":
                page, ticker = rest.trades_page(rest_of_tag)
                return [rest.trades_call(ticker, page)] if page is not None else []
            case _:
                return []

    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        tag = str(context.get("tag", ""))
        what, _, ticker = tag.partition(":")
        status = context.get("status", 200)
        if status != 200:
            messages: list[Message] = [self.event(frame, EventKind.REQUEST_FAILED, detail=f"{tag}: HTTP {status}")]
            self._on_unanswered(frame, tag, messages)
            return messages
        match what:
            case "perpetualMarkets":
                return self._on_rest_markets(frame, ticker)
            case "terms":
                return self._on_rest_terms(frame, ticker)
            case "orderbook":
                return [rest.book_of(self.venue, ticker, frame)]
            case "trades":
                return self._on_rest_trades(frame, tag, ticker)
            case "historicalFunding":
                return self._on_funding_history(frame, tag, ticker)
            case "time":
                time = wire.time_ns(wire.decode_time(frame.payload).iso)
                text = f"the venue's clock reads {(time - frame.ts_recv) / NS_PER_S:+.3f} s against ours at receipt"
                notice = self.event(frame, EventKind.NOTICE, cause="venue clock", detail=text)
                return [msgspec.structs.replace(notice, ts_event=time)]
            case "height":
                self.block = wire.block_of(wire.decode_block(frame.payload))
                return []
            case _:
                return []

    def _on_rest_markets(self, frame: Frame, ticker: str) -> list[Message]:
        """The list that all begins with, or one market that somebody asked for."""
        contents = wire.MarketsContents(markets=wire.decode_market_list(frame.payload).markets)
        stream = self.streams.get("", MARKETS_STREAM)
        found: list[Finding] = []
        # While the stream tells prices and figures, those of REST are older.
        changes = self.markets.changes([contents], found, are_terms_only=stream is not None and stream.is_live)
        messages: list[Message] = []
        self.markets.take(changes)
        if not ticker:
            self._is_awaited = False
            # Read again while connections stand, a list decides nothing: a pair keeps its place for a recording's life.
            if not self._has_chosen or not self._roles:
                self._has_chosen = True
                self._choose_markets(frame, messages)
            self._look_for_vanished(frame, changes, messages)
        self._emit_changes(
            frame, [change for change in changes if change.ticker == ticker or self._is_wanted(change.ticker)], messages
        )
        self.say(frame, found, messages)
        return messages

    def _on_rest_terms(self, frame: Frame, ticker: str) -> list[Message]:
        """A look at terms: nothing but these is taken from it, and nothing that the stream may have changed since."""
        contents = wire.MarketsContents(markets=wire.decode_market_list(frame.payload).markets)
        found: list[Finding] = []
        messages: list[Message] = []
        self._repeats.answered("terms:" + ticker if ticker else "terms")
        self.meet_poll(frame, ticker, "terms", messages)
        changes = self.markets.changes([contents], found, are_terms_only=True)
        if not ticker:
            self._look_for_vanished(frame, changes, messages)
        newest = CACHE_S_MAX * NS_PER_S
        changes = [change for change in changes if abs(frame.ts_recv - self._termed.get(change.ticker, 0)) > newest]
        self.markets.take(changes)
        for change in changes:
            if change.has_terms and self._is_wanted(change.ticker):
                messages.append(instrument(self.venue, change.ticker, change.after, frame, len(messages)))
        self.say(frame, found, messages)
        return messages

    def _on_rest_trades(self, frame: Frame, tag: str, what: str) -> list[Message]:
        found: list[Finding] = []
        trades = TRADES.read_all(wire.decode_trades(frame.payload).trades, found)
        self._repeats.answered(tag)
        page, ticker = rest.trades_page(what)
        blocks = blocks_of(trades)
        messages = self._trades.messages(self.venue, ticker, trades, blocks, frame, 0, is_history=True)
        if page is not None:
            new_count = sum(isinstance(message, Trade) and not message.is_duplicate for message in messages)
            following = self._trades.page(ticker, page, blocks, new_count)
            if following is None and self.streams.get(ticker, MISSED_TRADES) is not None:
                self.received(frame, ticker, MISSED_TRADES, messages)
            if following is not None:
                self._queue.append(rest.trades_call(ticker, following))
            elif page.is_cut:
                text = f"more than {page.number} pages of trades since block {page.goal}: older ones were not asked for"
                stream = self.streams.get(ticker, "trades")
                messages.append(
                    self.event(
                        frame, EventKind.NOTICE, stream=stream, sub_seq=len(messages), cause="trades", detail=text
                    )
                )
        self.say(frame, found, messages, self.streams.get(ticker, "trades"))
        return messages

    def _on_funding_history(self, frame: Frame, tag: str, ticker: str) -> list[Message]:
        found: list[Finding] = []
        rows = SETTLED.read_all(wire.decode_funding_history(frame.payload).historicalFunding, found)
        self._repeats.answered(tag)
        messages: list[Message] = []
        self.meet_poll(frame, ticker, "settled", messages)
        fresh = self._polls.fresh(rows)
        for row in fresh:
            messages.append(settled_funding(self.venue, row, frame, len(messages)))
        self._queue += self._polls.note_reported(rows, fresh)
        self.say(frame, found, messages)
        return messages

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _export(self) -> Any:
        return {
            **super()._export(),
            "markets": self.markets.export(),
            "block": self.block,
            "chain": msgspec.to_builtins(self.chain),
            "wanted": self._wanted,
            "is_awaited": self._is_awaited,
            "has_chosen": self._has_chosen,
            "trades": self._trades.export(),
            "settled": self._polls.export(),
            "vanished": list(self._vanished),
            "termed": dict(self._termed),
        }

    def _import(self, state: Any) -> None:
        super()._import(state)
        self.markets.restore(state["markets"])
        self.block = tuple(state["block"]) if state["block"] is not None else None
        self.chain = msgspec.convert(state["chain"], ChainHeight)
        self._wanted = tuple(state["wanted"])
        self._is_awaited = state["is_awaited"]
        self._has_chosen = state["has_chosen"]
        self._trades.restore(state["trades"])
        self._polls.restore(state["settled"])
        self._vanished = dict.fromkeys(state["vanished"])
        self._termed = dict(state["termed"])
