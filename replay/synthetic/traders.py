"""
The people behind the known accounts: seeded habits that exercise whatever an account stream can say.

Each acts once in every block through the exchange, like anybody: a market maker who modifies his quotes, a taker with
every kind of refusal, a gambler who is liquidated at a known block, a sub-account that trades a little.
"""

from __future__ import annotations

from dataclasses import dataclass

from replay.market.engine.accounts import Account
from replay.market.engine.book import Side
from replay.market.engine.exchange import Exchange
from replay.market.engine.orders import OrderRecord, Origin, Tif, Trigger
from replay.synthetic.flow import Flow
from replay.synthetic.instruments import SyntheticInstrument
from replay.synthetic.market import Market
from toolkit.rng import seeded

__all__ = ["AccountsOptions", "Gambler", "Maker", "SubAccount", "Taker", "Trader", "settle_traders"]

_USD = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsOptions:
    """
    What happens to the known accounts, in blocks.

    Attributes:
        liquidation_block: The block in which the price begins to run against the gambler; he is liquidated when the
            mark price has followed, within about a hundred blocks.
        liquidation_every: Blocks until it happens to him again.
        transfer_every: Blocks between transfers from the maker to his sub-account.
    """

    liquidation_block: int = 450
    liquidation_every: int = 1_500
    transfer_every: int = 400


class Trader:
    """Somebody with an account; subclasses say what he does."""

    def __init__(self, market: Market, exchange: Exchange, account: Account, seed: str) -> None:
        self.market = market
        self.exchange = exchange
        self.account = account
        self.random = seeded(f"{seed}/{account.name}")

    def act(self, block: int) -> None:
        """One block of his life."""
        raise NotImplementedError

    def instrument(self, symbol: str) -> SyntheticInstrument:
        """What the market lists under that symbol."""
        return self.market.listed[symbol]

    def side(self, symbol: str, *, buys: bool) -> Side:
        """The side of the book that a buyer joins, or a seller."""
        book = self.market.books[symbol]
        return book.bids if buys else book.asks

    def position(self, symbol: str) -> int:
        """His signed size, in lots."""
        instrument = self.instrument(symbol)
        return self.account.clearinghouse(instrument).position(instrument).lots

    def client_id(self) -> str:
        """A client order id: 128 bits."""
        return f"0x{self.random.getrandbits(128):032x}"

    def through(self, symbol: str, *, is_buy: bool, ticks: int) -> int | None:
        """A price that many ticks through the best opposite one; None if there is none."""
        best = self.side(symbol, buys=not is_buy).best
        if best is None:
            return None
        px = best + ticks * self.instrument(symbol).tick(best) * (1 if is_buy else -1)
        return px - px % self.instrument(symbol).tick(px)

    def take(self, symbol: str, is_buy: bool, lots: int, *, reduce_only: bool = False) -> OrderRecord | None:
        """Send an order that trades at once or not at all."""
        px = self.through(symbol, is_buy=is_buy, ticks=4)
        if px is None:
            return None
        return self.exchange.place(
            self.account, symbol, is_buy, px, lots, tif=Tif.IOC, reduce_only=reduce_only, client_id=self.client_id()
        )

    def lots(self, symbol: str, mean: float) -> int:
        """A size around `mean` times the symbol's typical one."""
        return max(1, int(self.instrument(symbol).mean_lots * mean * (0.5 + self.random.random())))


class Maker(Trader):
    """Quotes both sides of three perpetuals, moves his quotes with the market and keeps his inventory small."""

    SYMBOLS = ("BTC", "ETH", "SP500")

    def __init__(self, market: Market, exchange: Exchange, account: Account, seed: str) -> None:
        super().__init__(market, exchange, account, seed)
        self._quotes: dict[tuple[str, bool], OrderRecord] = {}

    def act(self, block: int) -> None:
        for turn, symbol in enumerate(self.SYMBOLS):
            if block % 6 == turn:
                self._flatten(symbol)
                for is_buy in (True, False):
                    self._quote(symbol, is_buy, block)

    def _quote(self, symbol: str, is_buy: bool, block: int) -> None:
        best = self.side(symbol, buys=is_buy).best
        if best is None:
            return
        instrument = self.instrument(symbol)
        tick = instrument.tick(best)
        behind = int(self.random.random() * 3.0) * tick
        px = best - behind if is_buy else best + behind
        px -= px % instrument.tick(px)
        quote = self._quotes.get((symbol, is_buy))
        if quote is not None and quote.is_open:
            if block % 97 < 6:
                self.exchange.cancel(self.account, quote.order.oid)
            elif abs(quote.order.px - px) > 2 * tick:
                changed = self.exchange.replace(self.account, quote.order.oid, px, self.lots(symbol, 0.8))
                if changed is not None:
                    self._quotes[symbol, is_buy] = changed
            return
        if self.random.random() < 0.04:
            # Too late: the price he wanted to join has become one he would trade at.
            px = self.side(symbol, buys=not is_buy).best or px
        self._quotes[symbol, is_buy] = self.exchange.place(
            self.account, symbol, is_buy, px, self.lots(symbol, 0.8), tif=Tif.POST_ONLY, client_id=self.client_id()
        )

    def _flatten(self, symbol: str) -> None:
        lots = self.position(symbol)
        if abs(lots) > 6 * self.instrument(symbol).mean_lots:
            self.take(symbol, lots < 0, abs(lots) // 2, reduce_only=True)


class Taker(Trader):
    """Opens and closes positions, protects them, trades a spot pair, and makes every mistake there is."""

    PERPS = ("SOL", "kPEPE", "BTC")
    SPOT = "HYPE/USDC"

    def act(self, block: int) -> None:
        if block % 9:
            return
        symbol = self.PERPS[int(self.random.random() * len(self.PERPS))]
        is_buy = self.random.random() < 0.5
        choice = self.random.random()
        held = self.position(symbol)
        if choice < 0.22:
            self._open(symbol, is_buy)
        elif choice < 0.40 and held:
            self.take(
                symbol, held < 0, abs(held) if self.random.random() < 0.6 else abs(held) // 2 + 1, reduce_only=True
            )
        elif choice < 0.58:
            self._rest(symbol, is_buy)
        elif choice < 0.68 and self.account.open:
            self._withdraw_oldest()
        elif choice < 0.82:
            self._spot(is_buy)
        else:
            self._err(symbol, is_buy, held)

    def _open(self, symbol: str, is_buy: bool) -> None:
        if abs(self.position(symbol)) > 4 * self.instrument(symbol).mean_lots:
            return
        self.take(symbol, is_buy, self.lots(symbol, 1.0))
        held = self.position(symbol)
        if held and not any(each.trigger for each in self.account.open.values() if each.instrument.symbol == symbol):
            self._protect(symbol, held)

    def _protect(self, symbol: str, held: int) -> None:
        """A stop and a take-profit around a new position."""
        instrument = self.instrument(symbol)
        mark = self.market.mark(symbol)
        for is_stop, share in ((True, 600), (False, 400)):
            above = (held < 0) == is_stop
            trigger_px = mark + mark // share if above else mark - mark // share
            trigger_px -= trigger_px % instrument.tick(trigger_px)
            limit = mark + mark // 20 if held < 0 else mark - mark // 20
            limit -= limit % instrument.tick(limit)
            self.exchange.place(
                self.account,
                symbol,
                held < 0,
                limit,
                abs(held),
                reduce_only=True,
                trigger=Trigger(trigger_px, above, is_stop),
            )

    def _rest(self, symbol: str, is_buy: bool) -> None:
        """Join the best price and be filled in parts."""
        best = self.side(symbol, buys=is_buy).best
        if best is not None and len(self.account.open) < 12:
            self.exchange.place(self.account, symbol, is_buy, best, self.lots(symbol, 0.7), client_id=self.client_id())

    def _withdraw_oldest(self) -> None:
        oldest = next((oid for oid, each in self.account.open.items() if each.trigger is None), None)
        if oldest is not None:
            self.exchange.cancel(self.account, oldest)

    def _spot(self, is_buy: bool) -> None:
        symbol = self.SPOT
        if self.random.random() < 0.6:
            self.take(symbol, is_buy, self.lots(symbol, 0.6))
        else:
            self._rest(symbol, is_buy)

    def _err(self, symbol: str, is_buy: bool, held: int) -> None:
        """One of the orders that the venue does not take."""
        exchange, account, instrument = self.exchange, self.account, self.instrument(symbol)
        best = self.side(symbol, buys=is_buy).best
        if best is None:
            return
        tick = instrument.tick(best)
        match int(self.random.random() * 6.0):
            case 0:  # too small
                exchange.place(account, symbol, is_buy, best, 1)
            case 1:  # no counterparty
                exchange.place(account, symbol, is_buy, best, self.lots(symbol, 0.5), tif=Tif.IOC)
            case 2:  # nothing to reduce
                exchange.place(account, symbol, held >= 0, best, self.lots(symbol, 0.5), reduce_only=True)
            case 3 if tick > 1:  # between two ticks
                exchange.place(account, symbol, is_buy, best + tick // 2, self.lots(symbol, 0.5))
            case 4:  # more than the account can carry
                exchange.place(account, symbol, is_buy, best, instrument.mean_lots * 10**5)
            case _:  # spot without the balance
                spot = self.instrument(self.SPOT)
                exchange.place(account, self.SPOT, False, spot.base_units, spot.mean_lots * 10**4)


class Gambler(Trader):
    """Bets everything at the highest leverage, and the price runs against him."""

    SYMBOL = "SOL"
    STAKE = 2_500 * _USD
    #: Share of the price that it runs, in how many blocks; and how much more, if that was not enough.
    RUN = 0.03
    RUN_BLOCKS = 15
    MORE = 0.008
    MORE_EVERY = 60

    def __init__(
        self, market: Market, exchange: Exchange, account: Account, seed: str, flow: Flow, options: AccountsOptions
    ) -> None:
        super().__init__(market, exchange, account, seed)
        self.flow = flow
        self.options = options
        self._is_long = True

    def act(self, block: int) -> None:
        options = self.options
        since = (block - options.liquidation_block) % options.liquidation_every
        if block >= options.liquidation_block - 60 and since == options.liquidation_every - 60:
            self._bet()
        elif block >= options.liquidation_block and since < self.RUN_BLOCKS:
            share = self.RUN / self.RUN_BLOCKS
            self.flow.jump(-share if self._is_long else share)
        elif block >= options.liquidation_block and since < 400 and since % self.MORE_EVERY == 0 and self._is_in():
            # Oracle and mark follow every few seconds only: look, and look again.
            self.flow.jump(-self.MORE if self._is_long else self.MORE)

    def _is_in(self) -> bool:
        return self.position(self.SYMBOL) != 0

    def _bet(self) -> None:
        """Pay in, then buy or sell as much as the margin carries, away from where the price will run."""
        symbol, exchange, account = self.SYMBOL, self.exchange, self.account
        instrument = self.instrument(symbol)
        if self.position(symbol):
            return
        house = account.clearinghouse(instrument)
        if house.balance < self.STAKE:
            exchange.deposit(account, instrument, self.STAKE - house.balance)
        # The run must stay within the range of the fair price, so it goes towards the base.
        self._is_long = self.flow.fair >= instrument.base_units
        px = self.through(symbol, is_buy=self._is_long, ticks=12)
        if px is None:
            return
        lots = house.balance * instrument.max_leverage * 92 // 100 // px
        exchange.place(account, symbol, self._is_long, px, lots, tif=Tif.IOC, origin=Origin.MARKET)
        far = px * 7 // 10 if self._is_long else px * 13 // 10
        far -= far % instrument.tick(far)
        exchange.place(account, symbol, self._is_long, far, instrument.mean_lots // 100, client_id=self.client_id())


class SubAccount(Trader):
    """Rests small orders in a quiet symbol, and cancels those that are not filled."""

    SYMBOL = "kPEPE"

    def __init__(
        self,
        market: Market,
        exchange: Exchange,
        account: Account,
        seed: str,
        master: Account,
        options: AccountsOptions,
    ) -> None:
        super().__init__(market, exchange, account, seed)
        self.master = master
        self.options = options

    def act(self, block: int) -> None:
        if block % self.options.transfer_every == self.options.transfer_every // 2:
            self.exchange.to_sub_account(self.master, self.account, self.instrument(self.SYMBOL), 250 * _USD)
        if block % 25 != 11:
            return
        if self.account.open:
            self.exchange.cancel(self.account, next(iter(self.account.open)))
            return
        held = self.position(self.SYMBOL)
        is_buy = held < 0 if held else self.random.random() < 0.5
        best = self.side(self.SYMBOL, buys=is_buy).best
        if best is not None:
            self.exchange.place(
                self.account, self.SYMBOL, is_buy, best, self.lots(self.SYMBOL, 0.4), client_id=self.client_id()
            )


def settle_traders(market: Market, exchange: Exchange, options: AccountsOptions) -> None:
    """Open the accounts, pay in and set their owners to work."""
    text = str(market.options.seed)
    usdc, usdh = market.instruments["BTC"], market.instruments["SP500"]
    maker, taker = exchange.open_account("maker"), exchange.open_account("taker")
    gambler = exchange.open_account("gambler")
    sub = exchange.open_account("sub", master=maker.address)
    exchange.add_agent(maker)
    exchange.deposit(maker, usdc, 1_000_000 * _USD)
    exchange.deposit(maker, usdh, 200_000 * _USD)
    exchange.deposit(taker, usdc, 400_000 * _USD)
    exchange.to_spot(taker, usdc, 50_000 * _USD)
    traders = [
        Maker(market, exchange, maker, text),
        Taker(market, exchange, taker, text),
        Gambler(market, exchange, gambler, text, market.flows[Gambler.SYMBOL], options),
        SubAccount(market, exchange, sub, text, maker, options),
    ]
    exchange.owners.extend(trader.act for trader in traders)
