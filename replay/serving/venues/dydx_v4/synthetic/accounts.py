"""
The known accounts as the synthetic dYdX shows them to anybody: subscriptions, snapshots and REST.

An order that is not on the chain is reported at once and to the best of its knowledge; fills, positions, balances and
whatever else is final come with the next block of the chain. Every owner trades from subaccount 0, his sub-account is
subaccount 1, and what is traded from another pool is isolated in a child of either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from replay.market.engine.accounts import Account
from replay.market.engine.exchange import RATE_DECIMALS, Exchange
from replay.market.engine.facts import Amended, Cancelled, Fact, Filled, OrderFact, TransferKind, Transferred
from replay.market.engine.orders import Origin, Reason
from replay.serving.venues.dydx_v4.names import bech32, derived_id, iso
from replay.serving.venues.dydx_v4.requests import PARENT_SUBACCOUNTS, SUBACCOUNTS
from replay.serving.venues.dydx_v4.rest_rules import ROWS_MAX, not_found, number, page
from replay.serving.venues.dydx_v4.synthetic.chain import Chain, ChainBlock
from replay.serving.venues.dydx_v4.synthetic.listing import Listed, plain
from replay.serving.venues.dydx_v4.synthetic.subaccount import GOOD_BLOCKS, Subaccount, money
from replay.synthetic.market import Market

__all__ = ["PARENTS", "DydxAccounts", "Update"]

#: Numbers below it are parents; children have their parent's plus a multiple of it.
PARENTS = 128
_NUMBERS = 128_000
_ID = re.compile(r"(dydx1[02-9ac-hj-np-z]{38})/(\d{1,6})")
_OPEN = ("OPEN", "UNTRIGGERED", "BEST_EFFORT_OPENED")

#: Channel, id, contents, and the subaccount that changed where the channel says so.
Update = tuple[str, str, Any, int | None]


class DydxAccounts:
    """
    The known accounts.

    Args:
        exchange: Holds them.
        market: Where they trade.
        chain: Makes what they do final.
        listed: The venue's markets, by what the seeded market calls them.
    """

    def __init__(self, exchange: Exchange, market: Market, chain: Chain, listed: dict[str, Listed]) -> None:
        self._exchange = exchange
        self._market = market
        self._chain = chain
        self._listed = listed
        self._subaccounts: dict[tuple[str, int], Subaccount] = {}
        self._at_once: list[tuple[Subaccount, dict[str, Any]]] = []
        self._transfers: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._reads: dict[str, Callable[[list[Subaccount], Mapping[str, str]], Any]] = {
            "orders": self._read_orders,
            "fills": self._read_fills,
            "perpetualPositions": self._read_positions,
            "assetPositions": lambda subs, query: {"positions": [sub.asset() for sub in subs]},
            "transfers": lambda subs, query: {"transfers": _newest((sub.transfers for sub in subs), query)},
            "fundingPayments": self._read_payments,
        }

    # Who there is --------------------------------------------------------------------------------------------------

    def names(self) -> dict[str, str]:
        """Subaccounts as subscriptions name them, by our names."""
        return {each.name: "{}/{}".format(*self._base(each)) for each in self._exchange.accounts.values()}

    def _base(self, account: Account) -> tuple[str, int]:
        """Address of the owner, and number of the subaccount that he trades from."""
        owner = account.address if account.master is None else account.master
        return bech32("dydx", bytes.fromhex(owner[2:])), 0 if account.master is None else 1

    def _subaccount(self, account: Account, pool: str) -> Subaccount:
        address, base = self._base(account)
        key = (address, base + PARENTS if pool else base)
        found = self._subaccounts.get(key)
        if found is None:
            found = self._subaccounts[key] = Subaccount(*key, account, account.clearinghouses[pool])
        return found

    def _all(self) -> list[Subaccount]:
        """Every subaccount that ever had anything."""
        return [
            self._subaccount(account, pool)
            for account in self._exchange.accounts.values()
            for pool in account.clearinghouses
        ]

    def is_valid(self, channel: str, id: str) -> bool:
        """Whether an id has the form of one; it need not be an account."""
        match = _ID.fullmatch(id)
        return match is not None and int(match[2]) < (PARENTS if channel == PARENT_SUBACCOUNTS else _NUMBERS)

    # The stream ----------------------------------------------------------------------------------------------------

    def note(self, facts: Mapping[str, list[Fact]]) -> None:
        """Take in what happened in a block of the market."""
        for address, each in facts.items():
            account = self._exchange.accounts[address]
            for fact in each:
                match fact:
                    case Filled():
                        self._note_fill(account, fact)
                    case OrderFact():
                        self._note_order(account, fact)
                    case Transferred():
                        self._note_transfer(account, fact)
                    case _:
                        pass

    def _note_fill(self, account: Account, fact: Filled) -> None:
        instrument = fact.order.instrument
        if instrument.symbol in self._listed:
            self._subaccount(account, instrument.pool).matched.append(fact)

    def _note_order(self, account: Account, fact: OrderFact) -> None:
        if isinstance(fact, Amended):
            # The venue replaces an order by cancelling it and placing another one.
            self._note_order(account, Cancelled(fact.time_ms, fact.before, Reason.REQUESTED))
        record = account.orders.get(fact.order.oid)
        listed = self._listed.get(fact.order.instrument.symbol)
        # A liquidation is no order of its owner's; spot there is none.
        if record is None or listed is None or record.order.origin is Origin.LIQUIDATION:
            return
        sub = self._subaccount(account, record.instrument.pool)
        self._at_once.extend((sub, row) for row in sub.changed(fact, record, listed, self._chain))

    def _note_transfer(self, account: Account, fact: Transferred) -> None:
        sub = self._subaccount(account, "")
        outside = {"address": bech32("dydx", bytes(20))}
        ends = {"sender": outside, "recipient": outside}
        match fact.kind:
            case TransferKind.DEPOSIT:
                kind, ends["recipient"] = "DEPOSIT", _end(sub)
            case TransferKind.BETWEEN_ACCOUNTS:
                sender, other = (self._exchange.accounts[name] for name in (fact.sender, fact.recipient))
                kind = "TRANSFER_OUT" if account is sender else "TRANSFER_IN"
                ends = {"sender": _end(self._subaccount(sender, "")), "recipient": _end(self._subaccount(other, ""))}
            case TransferKind.TO_SPOT:
                return
        transfer = ends | {
            "symbol": "USDC",
            "size": money(fact.amount),
            "type": kind,
            "transactionHash": fact.hash[2:].upper(),
        }
        self._transfers.setdefault((sub.address, sub.number), []).append(transfer)

    def updates(self, block: ChainBlock | None) -> Iterator[Update]:
        """What to tell now: orders at once, and everything else once a block has made it final."""
        at_once, self._at_once = self._at_once, []
        for sub, row in at_once:
            yield from self._updates(sub, {"orders": [row]})
        if block is None:
            return
        for sub in self._all():
            # A transfer is one object, so each has a frame of its own.
            for transfer in self._transfers.pop((sub.address, sub.number), []):
                stamp = {"createdAt": iso(block.time_ms), "createdAtHeight": str(block.height)}
                asset = {"asset": transfer["symbol"], "amount": transfer["size"]}
                sub.transfers.append(
                    {"id": derived_id("transfer", sub.id, len(sub.transfers))} | transfer | asset | stamp
                )
                yield from self._updates(sub, {"assetPositions": [self._asset(sub)], "transfers": transfer | stamp})
            contents = self._final(sub, block)
            if contents:
                yield from self._updates(sub, contents)
            for row in sub.renewed(self._listed, self._chain):
                yield from self._updates(sub, {"orders": [row]})

    def _updates(self, sub: Subaccount, contents: dict[str, Any]) -> Iterator[Update]:
        contents = contents | {"blockHeight": str(self._chain.height)}
        yield SUBACCOUNTS, sub.id, contents, None
        yield PARENT_SUBACCOUNTS, f"{sub.address}/{sub.number % PARENTS}", contents, sub.number

    def _final(self, sub: Subaccount, block: ChainBlock) -> dict[str, Any]:
        """What a block made final for a subaccount."""
        matched, sub.matched = sub.matched, []
        waiting, sub.waiting = sub.waiting, {}
        touched: dict[int, None] = dict.fromkeys(waiting)
        fills = []
        for fact in matched:
            listed = self._listed[fact.order.instrument.symbol]
            fills.append(sub.fill(fact, block.events[fact.trade.tid], listed, self._chain))
            touched[fact.order.oid] = None
        orders = []
        for oid in touched:
            record = sub.account.orders.get(oid)
            if record is None or record.order.origin is Origin.LIQUIDATION:
                continue
            before = sub.orders.get(oid, {})
            status, reason = waiting.get(oid, (before.get("status", "OPEN"), before.get("removalReason", "")))
            if status == "BEST_EFFORT_OPENED":
                status = "OPEN"
            orders.append(sub.row(record, status, self._listed[record.instrument.symbol], self._chain, reason))
        contents: dict[str, Any] = {}
        if orders:
            contents["orders"] = orders
        if fills:
            perps = self._market.perps
            symbols = dict.fromkeys(fact.order.instrument.symbol for fact in matched)
            contents["fills"] = fills
            contents["perpetualPositions"] = [
                sub.position_update(self._listed[symbol], perps[symbol].oracle) for symbol in symbols
            ]
            contents["assetPositions"] = [self._asset(sub)]
        return contents

    @staticmethod
    def _asset(sub: Subaccount) -> dict[str, Any]:
        return {"address": sub.address, "positionId": derived_id("asset", sub.id)} | sub.asset()

    # Snapshots and REST --------------------------------------------------------------------------------------------

    def snapshot(self, channel: str, id: str) -> Any:
        """What a subscription begins with; nothing of a subaccount that never existed."""
        address, _, text = id.partition("/")
        is_parent = channel == PARENT_SUBACCOUNTS
        subs = self._of(address, int(text), is_parent=is_parent)
        if not subs:
            return {}
        height = self._chain.height
        rows = [
            row | {"subaccountNumber": sub.number}
            for sub in subs
            for row in sub.orders.values()
            if row["status"] in _OPEN
            or (row["status"] == "BEST_EFFORT_CANCELED" and int(row["goodTilBlock"]) > height - GOOD_BLOCKS)
        ]
        about = self._parent(subs, int(text)) if is_parent else self._describe(subs[0])
        return {"subaccount": about, "orders": rows, "blockHeight": str(height)}

    def _of(self, address: str, wanted: int, *, is_parent: bool) -> list[Subaccount]:
        return [
            sub
            for sub in self._all()
            if sub.address == address and (sub.number % PARENTS if is_parent else sub.number) == wanted
        ]

    def _describe(self, sub: Subaccount) -> dict[str, Any]:
        return sub.describe(self._exchange, self._listed, self._chain.height, self._oracle)

    def _oracle(self, symbol: str) -> int:
        return self._market.perps[symbol].oracle

    def _parent(self, subs: list[Subaccount], parent: int) -> dict[str, Any]:
        value = sum(sub.house.value(self._market.mark) for sub in subs)
        free = value - sum(sub.house.margin_used(self._market.mark) for sub in subs)
        return {
            "address": subs[0].address,
            "parentSubaccountNumber": parent,
            "equity": money(value),
            "freeCollateral": money(free),
            "childSubaccounts": [self._describe(sub) for sub in subs],
        }

    def answer(self, path: str, query: Mapping[str, str]) -> Any:
        """The answer of a path below `/v4`. Raises Refused."""
        parts = path.split("/")
        if parts[0] == "addresses":
            return self._read_address(parts[1:])
        read = self._reads.get(parts[0])
        is_parent = parts[1:] in (["parentSubaccount"], ["parentSubaccountNumber"])
        if read is None or not (is_parent or len(parts) == 1):
            raise not_found()
        wanted = number(query, "parentSubaccountNumber" if is_parent else "subaccountNumber", 0)
        return read(self._of(query.get("address", ""), wanted, is_parent=is_parent), query)

    def _read_address(self, parts: list[str]) -> Any:
        if len(parts) == 1:
            subs = [sub for sub in self._all() if sub.address == parts[0]]
            if subs:
                return {"subaccounts": [self._describe(sub) for sub in subs]}
        elif len(parts) == 3 and parts[2].isdecimal() and parts[1] in ("subaccountNumber", "parentSubaccountNumber"):
            is_parent = parts[1].startswith("parent")
            subs = self._of(parts[0], int(parts[2]), is_parent=is_parent)
            if subs:
                return {"subaccount": self._parent(subs, int(parts[2])) if is_parent else self._describe(subs[0])}
        raise not_found("No subaccount found with address and subaccountNumber")

    def _read_orders(self, subs: list[Subaccount], query: Mapping[str, str]) -> Any:
        rows = [
            row | {"subaccountNumber": sub.number}
            for sub in subs
            for row in reversed(sub.orders.values())
            if query.get("status", row["status"]) == row["status"]
            and query.get("ticker", row["ticker"]) == row["ticker"]
        ]
        return rows[: number(query, "limit", ROWS_MAX)]

    def _read_fills(self, subs: list[Subaccount], query: Mapping[str, str]) -> Any:
        market = query.get("market")
        height = number(query, "createdBeforeOrAtHeight", 1 << 62)
        rows = (
            [row for row in sub.fills if market in (None, row["market"]) and int(row["createdAtHeight"]) <= height]
            for sub in subs
        )
        return {"fills": _newest(rows, query)}

    def _read_positions(self, subs: list[Subaccount], query: Mapping[str, str]) -> Any:
        perps = self._market.perps
        rows = [sub.position(self._listed[symbol], perps[symbol].oracle) for sub in subs for symbol in sub.holdings]
        status = query.get("status")
        return {"positions": [row for row in rows if status in (None, row["status"])]}

    def _read_payments(self, subs: list[Subaccount], query: Mapping[str, str]) -> Any:
        rows = []
        for sub in subs:
            for fact in sub.account.fundings:
                listed = self._listed.get(fact.instrument.symbol)
                if listed is None or fact.instrument.pool != sub.house.pool:
                    continue
                rows.append(
                    {
                        "createdAt": iso(fact.time_ms),
                        "createdAtHeight": str(self._chain.height_at(fact.time_ms)),
                        "perpetualId": str(listed.pair_id),
                        "ticker": listed.ticker,
                        "oraclePrice": listed.px_text(self._oracle(listed.symbol)),
                        "size": listed.sz_text(abs(fact.lots)),
                        "side": "SHORT" if fact.lots < 0 else "LONG",
                        "rate": plain(fact.rate, RATE_DECIMALS),
                        "payment": money(-fact.amount),
                        "subaccountNumber": sub.number,
                        "fundingIndex": "0",
                    }
                )
        return {"fundingPayments": _newest([rows], query)}


def _end(sub: Subaccount) -> dict[str, Any]:
    return {"address": sub.address, "subaccountNumber": sub.number}


def _newest(rows: Iterable[Iterable[dict[str, Any]]], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of several subaccounts, newest first, one page of them."""
    merged = sorted((row for part in rows for row in part), key=lambda row: str(row["createdAt"]), reverse=True)
    return page(merged, query)
