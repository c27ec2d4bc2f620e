"""The known accounts as the synthetic dYdX shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from replay.synthetic.dydx_chain import Chain, ChainBlock
from replay.synthetic.dydx_listing import Listed
from replay.synthetic.dydx_rest import NotFound
from replay.synthetic.exchange import Exchange, News
from replay.synthetic.market import Market

__all__ = ["DydxAccounts"]


class DydxAccounts:
    """Nobody is shown anything yet: any address is a subaccount that never existed."""

    def __init__(self, exchange: Exchange, market: Market, chain: Chain, listed: dict[str, Listed]) -> None:
        self._exchange = exchange

    def names(self) -> dict[str, str]:
        return {}

    def is_valid(self, channel: str, id: str) -> bool:
        return True

    def snapshot(self, channel: str, id: str) -> Any:
        return {}

    def note(self, news: dict[str, News]) -> None:
        pass

    def updates(self, block: ChainBlock | None) -> Iterator[tuple[str, str, Any, int | None]]:
        yield from ()

    def answer(self, path: str, query: Mapping[str, str]) -> Any:
        raise NotFound("Not Found")
