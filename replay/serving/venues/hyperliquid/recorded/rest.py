"""
`POST /info` over a recording: recorded replies, and what the tape's streams say at its present.

A stream that tells a whole state (a book, mids, open orders, margin) is fresher than a recorded reply and answers first;
otherwise the newest recorded reply to the very same question. What neither can answer is refused with HTTP 503 and a line
that says what is missing: the venue itself never answers so, and a client sees that it is the recording that does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import InvalidOperation
from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE, as_json
from replay.serving.recorded_answers import RecordedAnswers
from replay.serving.venues.hyperliquid.recorded.accounts import Accounts
from replay.serving.venues.hyperliquid.recorded.books import joined_book, mid
from replay.serving.venues.hyperliquid.recorded.funding import FundingRows
from replay.serving.venues.hyperliquid.recorded.listing import Listing
from replay.serving.venues.hyperliquid.recorded.state import TapeState, decoded
from replay.serving.venues.hyperliquid.requests import INTERVALS_MS
from replay.serving.venues.hyperliquid.rest_rules import (
    ROWS_MAX,
    InfoDesk,
    Unknowable,
    Unprocessable,
    VenueFault,
    field,
)
from toolkit.clock import NS_PER_MS, Clock

__all__ = ["TapeInfo"]

_RECENT_TRADES: Final = 10
#: What a context is where the tape has none: nothing in it is known.
_NO_CONTEXT: Final = dict.fromkeys(
    ("funding", "openInterest", "prevDayPx", "dayNtlVlm", "premium", "oraclePx", "markPx", "midPx", "impactPxs")
)
#: Requests that the venue answers and that only a recorded reply can.
_RECORDED_ONLY: Final = (
    "userRole",
    "userFees",
    "userRateLimit",
    "subAccounts",
    "extraAgents",
    "predictedFundings",
    "outcomeMeta",
    "referral",
    "delegations",
    "delegatorSummary",
    "delegatorHistory",
    "delegatorRewards",
    "userVaultEquities",
    "vaultDetails",
    "portfolio",
    "twapHistory",
    "userTwapSliceFills",
    "userTwapSliceFillsByTime",
    "perpDeployAuctionStatus",
    "perpsAtOpenInterestCap",
    "spotDeployState",
    "tokenDetails",
    "maxBuilderFee",
    "userToMultiSigSigners",
)


class TapeInfo(InfoDesk):
    """Answers from the tape's present."""

    def __init__(
        self,
        state: TapeState,
        listing: Listing,
        answers: RecordedAnswers,
        fundings: FundingRows,
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        super().__init__()
        self._state = state
        self._listing = listing
        self._answers = answers
        self._fundings = fundings
        self._clock = clock
        own: dict[str, Callable[[dict[str, Any]], Any]] = {
            "meta": lambda request: listing.meta(self._dex(request)),
            "allPerpMetas": lambda request: [listing.meta(dex) for dex in listing.dexes],
            "perpDexs": lambda request: listing.perp_dexs(),
            "metaAndAssetCtxs": self._meta_and_contexts,
            "spotMeta": lambda request: listing.spot_meta(),
            "spotMetaAndAssetCtxs": self._spot_meta_and_contexts,
            "allMids": self._all_mids,
            "l2Book": self._book,
            "recentTrades": self._recent_trades,
            "fundingHistory": self._funding_history,
            "candleSnapshot": self._candle_snapshot,
            "exchangeStatus": lambda request: {"specialStatuses": None, "time": self._now_ms},
            **dict.fromkeys(_RECORDED_ONLY, self._recorded_only),
            **accounts.handlers(self.recorded),
        }
        self.handlers |= own

    @property
    def _now_ms(self) -> int:
        return self._clock.time_ns() // NS_PER_MS

    def recorded(self, request: dict[str, Any]) -> msgspec.Raw | None:
        """The newest recorded reply to that very question."""
        # The first dex is also named by leaving it out.
        asked = {key: value for key, value in request.items() if value is not None and (key, value) != ("dex", "")}
        if isinstance(asked.get("user"), str):
            asked["user"] = asked["user"].lower()
        found = self._answers.find("POST", "/info", as_json(asked), primed=True)
        if found is None or not found.body:
            return None
        if found.status != 200:
            raise VenueFault
        return msgspec.Raw(found.body)

    def _recorded_only(self, request: dict[str, Any]) -> Any:
        found = self.recorded(request)
        if found is None:
            raise Unknowable(f"the recording holds no reply to {as_json(request).decode()} up to this point")
        return found

    def answer(self, request: object) -> Any:
        try:
            return msgspec.Raw(as_json(super().answer(request)))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, *UNREADABLE):
            # Of frames and replies only what was needed to tell them apart has been checked.
            raise Unknowable("what was recorded is of another shape than documented") from None

    def _dex(self, request: dict[str, Any]) -> str:
        dex = str(field(request, "dex", str, optional=True) or "")
        if dex not in self._listing.dexes:
            raise VenueFault
        return dex

    def _coin(self, request: dict[str, Any]) -> str:
        return str(field(request, "coin", str))

    # Contexts ----------------------------------------------------------------------------------------------------------

    def _context(self, coin: str) -> dict[str, Any] | None:
        data = decoded(self._state.last.get(("activeAssetCtx", coin)))
        context = data.get("ctx") if isinstance(data, dict) else None
        return context if isinstance(context, dict) else None

    def _meta_and_contexts(self, request: dict[str, Any]) -> Any:
        meta = self._listing.meta(self._dex(request))
        older = self._older_contexts(request)
        names = [each.get("name") for each in meta["universe"]]
        return [meta, [self._context(name) or older.get(name) or _NO_CONTEXT for name in names]]

    def _spot_meta_and_contexts(self, request: dict[str, Any]) -> Any:
        meta = self._listing.spot_meta()
        older = self._older_contexts(request)
        names = [each.get("name") for each in meta["universe"]]
        return [meta, [{**(self._context(name) or older.get(name) or _NO_CONTEXT), "coin": name} for name in names]]

    def _older_contexts(self, request: dict[str, Any]) -> dict[str, Any]:
        """Contexts of the recorded reply to that question, by coin."""
        found = self.recorded(request)
        try:
            meta, contexts = msgspec.json.decode(found) if found is not None else ({"universe": []}, [])
            return {each["name"]: ctx for each, ctx in zip(meta["universe"], contexts, strict=False)}
        except (*UNREADABLE, ValueError, TypeError, LookupError):
            return {}

    # Prices ------------------------------------------------------------------------------------------------------------

    def _all_mids(self, request: dict[str, Any]) -> Any:
        dex = self._dex(request)
        data = decoded(self._state.last.get(("allMids", dex)))
        mids: dict[str, Any] = dict(data["mids"]) if isinstance(data, dict) and "mids" in data else {}
        if not mids and (found := self.recorded(request)) is not None:
            mids = msgspec.json.decode(found)
        for coin in self._state.coins():
            if (coin.partition(":")[0] if ":" in coin else "") == dex and (price := mid(self._state, coin)) is not None:
                mids[coin] = price
        if not mids:
            raise Unknowable("the recording holds no prices up to this point")
        return mids

    def _book(self, request: dict[str, Any]) -> Any:
        coin = self._coin(request)
        figures = field(request, "nSigFigs", int, optional=True)
        mantissa = field(request, "mantissa", int, optional=True)
        if coin not in self._listing.coins:
            return None
        if figures not in (None, 2, 3, 4, 5) or mantissa not in (None, 2, 5) or (mantissa and figures != 5):
            raise VenueFault
        try:
            if figures is None:
                book = joined_book(self._state, coin)
            else:
                book = decoded(self._state.last.get(("l2Book", coin, False, figures, mantissa)))
        except (InvalidOperation, LookupError, TypeError, ValueError) as exc:
            raise Unknowable(f"the recorded book of {coin} cannot be read: {exc}") from None
        found = book if book is not None else self.recorded(request)
        if found is None:
            rounding = "" if figures is None else f" rounded to {figures} figures"
            raise Unknowable(f"the recording holds no book of {coin}{rounding} up to this point")
        return found

    def _recent_trades(self, request: dict[str, Any]) -> Any:
        coin = self._coin(request)
        if coin not in self._listing.coins:
            raise VenueFault
        trades = self._state.trades(coin, _RECENT_TRADES)
        if trades is not None:
            return trades[::-1]
        return self._recorded_only(request)

    def _candle_snapshot(self, request: dict[str, Any]) -> Any:
        wanted = field(request, "req", dict)
        coin, interval = self._coin(wanted), field(wanted, "interval", str)
        start, end = field(wanted, "startTime", int), field(wanted, "endTime", int, optional=True)
        if interval not in INTERVALS_MS:
            raise Unprocessable
        if coin not in self._listing.coins:
            raise VenueFault
        found = self._state.candles.between(coin, interval, start, self._now_ms if end is None else end)
        return found or self._recorded_only(request)

    def _funding_history(self, request: dict[str, Any]) -> Any:
        coin, start = self._coin(request), field(request, "startTime", int)
        end = field(request, "endTime", int, optional=True)
        if coin not in self._listing.coins:
            raise VenueFault
        rows = self._fundings.rows(coin, self._now_ms)
        if rows is None:
            raise Unknowable(f"the recording holds no settled funding of {coin} up to this point")
        return [row for row in rows if row["time"] >= start and (end is None or row["time"] <= end)][:ROWS_MAX]
