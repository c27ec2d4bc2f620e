"""
The people behind the known accounts: seeded habits that exercise whatever an account stream can say.

Each acts once in every block through the exchange, like anybody: a market maker who modifies his quotes, a taker with
every kind of refusal, a gambler who is liquidated at a known block, a sub-account that trades a little.
"""

from __future__ import annotations

from dataclasses import dataclass

from replay.synthetic.account import Account, OrderRecord, Trigger
from replay.synthetic.book import Side
from replay.synthetic.coins import Instrument
from replay.synthetic.exchange import Exchange
from replay.synthetic.flow import Flow
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

    def __init__(self, exchange: Exchange, account: Account, seed: str) -> None:
        self.exchange = exchange
        self.market = exchange.market
        self.account = account
        self.random = seeded(f"{seed}/{account.name}")

    def act(self, block: int) -> None:
        """One block of his life."""
        raise NotImplementedError

    def instrument(self, coin: str) -> Instrument:
        """What the venue lists under that name."""
        return self.market.instruments[coin]

    def side(self, coin: str, *, buys: bool) -> Side:
        """The side of the book that a buyer joins, or a seller."""
        book = self.market.books[coin]
        return book.bids if buys else book.asks

    def position(self, coin: str) -> int:
        """His signed size, in lots."""
        instrument = self.instrument(coin)
        return self.account.clearinghouse(instrument).position(instrument).lots

    def cloid(self) -> str:
        """A client order id: 128 bits."""
        return f"0x{self.random.getrandbits(128):032x}"

    def through(self, coin: str, *, is_buy: bool, ticks: int) -> int | None:
        """A price that many ticks through the best opposite one; None if there is none."""
        best = self.side(coin, buys=not is_buy).best
        if best is None:
            return None
        px = best + ticks * self.instrument(coin).tick(best) * (1 if is_buy else -1)
        return px - px % self.instrument(coin).tick(px)

    def take(self, coin: str, is_buy: bool, lots: int, *, reduce_only: bool = False) -> OrderRecord | None:
        """Send an order that trades at once or not at all."""
        px = self.through(coin, is_buy=is_buy, ticks=4)
        if px is None:
            return None
        return self.exchange.place(
            self.account, coin, is_buy, px, lots, tif="Ioc", reduce_only=reduce_only, cloid=self.cloid()
        )

    def lots(self, coin: str, mean: float) -> int:
        """A size around `mean` times the coin's typical one."""
        return max(1, int(self.instrument(coin).mean_lots * mean * (0.5 + self.random.random())))


class Maker(Trader):
    """Quotes both sides of two perpetuals, moves his quotes with the market and keeps his inventory small."""

    COINS = ("BTC", "ETH", "xyz:SP500")

    def __init__(self, exchange: Exchange, account: Account, seed: str) -> None:
        super().__init__(exchange, account, seed)
        self._quotes: dict[tuple[str, bool], OrderRecord] = {}

    def act(self, block: int) -> None:
        for turn, coin in enumerate(self.COINS):
            if block % 6 == turn:
                self._flatten(coin)
                for is_buy in (True, False):
                    self._quote(coin, is_buy, block)

    def _quote(self, coin: str, is_buy: bool, block: int) -> None:
        best = self.side(coin, buys=is_buy).best
        if best is None:
            return
        instrument = self.instrument(coin)
        tick = instrument.tick(best)
        behind = int(self.random.random() * 3.0) * tick
        px = best - behind if is_buy else best + behind
        px -= px % instrument.tick(px)
        quote = self._quotes.get((coin, is_buy))
        if quote is not None and quote.is_open:
            if block % 97 < 6:
                self.exchange.cancel(self.account, quote.order.oid)
            elif abs(quote.order.px - px) > 2 * tick:
                changed = self.exchange.modify(self.account, quote.order.oid, px, self.lots(coin, 0.8))
                if changed is not None:
                    self._quotes[coin, is_buy] = changed
            return
        if self.random.random() < 0.04:
            # Too late: the price he wanted to join has become one he would trade at.
            px = self.side(coin, buys=not is_buy).best or px
        self._quotes[coin, is_buy] = self.exchange.place(
            self.account, coin, is_buy, px, self.lots(coin, 0.8), tif="Alo", cloid=self.cloid()
        )

    def _flatten(self, coin: str) -> None:
        lots = self.position(coin)
        if abs(lots) > 6 * self.instrument(coin).mean_lots:
            self.take(coin, lots < 0, abs(lots) // 2, reduce_only=True)


class Taker(Trader):
    """Opens and closes positions, protects them, trades a spot pair, and makes every mistake there is."""

    PERPS = ("SOL", "kPEPE", "BTC")
    SPOT = "@107"

    def act(self, block: int) -> None:
        if block % 9:
            return
        coin = self.PERPS[int(self.random.random() * len(self.PERPS))]
        is_buy = self.random.random() < 0.5
        choice = self.random.random()
        held = self.position(coin)
        if choice < 0.22:
            self._open(coin, is_buy)
        elif choice < 0.40 and held:
            self.take(coin, held < 0, abs(held) if self.random.random() < 0.6 else abs(held) // 2 + 1, reduce_only=True)
        elif choice < 0.58:
            self._rest(coin, is_buy)
        elif choice < 0.68 and self.account.open:
            self._withdraw_oldest()
        elif choice < 0.82:
            self._spot(is_buy)
        else:
            self._err(coin, is_buy, held)

    def _open(self, coin: str, is_buy: bool) -> None:
        if abs(self.position(coin)) > 4 * self.instrument(coin).mean_lots:
            return
        self.take(coin, is_buy, self.lots(coin, 1.0))
        held = self.position(coin)
        if held and not any(each.trigger for each in self.account.open.values() if each.instrument.coin == coin):
            self._protect(coin, held)

    def _protect(self, coin: str, held: int) -> None:
        """A stop and a take-profit around a new position."""
        instrument = self.instrument(coin)
        mark = self.market.perps[coin].mark
        for order_type, share in (("Stop Market", 600), ("Take Profit Market", 400)):
            above = (held < 0) == (order_type == "Stop Market")
            trigger_px = mark + mark // share if above else mark - mark // share
            trigger_px -= trigger_px % instrument.tick(trigger_px)
            limit = mark + mark // 20 if held < 0 else mark - mark // 20
            limit -= limit % instrument.tick(limit)
            self.exchange.place(
                self.account,
                coin,
                held < 0,
                limit,
                abs(held),
                reduce_only=True,
                trigger=Trigger(trigger_px, above, order_type),
            )

    def _rest(self, coin: str, is_buy: bool) -> None:
        """Join the best price and be filled in parts."""
        best = self.side(coin, buys=is_buy).best
        if best is not None and len(self.account.open) < 12:
            self.exchange.place(self.account, coin, is_buy, best, self.lots(coin, 0.7), cloid=self.cloid())

    def _withdraw_oldest(self) -> None:
        oldest = next((oid for oid, each in self.account.open.items() if each.trigger is None), None)
        if oldest is not None:
            self.exchange.cancel(self.account, oldest)

    def _spot(self, is_buy: bool) -> None:
        coin = self.SPOT
        if self.random.random() < 0.6:
            self.take(coin, is_buy, self.lots(coin, 0.6))
        else:
            self._rest(coin, is_buy)

    def _err(self, coin: str, is_buy: bool, held: int) -> None:
        """One of the orders that the venue does not take."""
        exchange, account, instrument = self.exchange, self.account, self.instrument(coin)
        best = self.side(coin, buys=is_buy).best
        if best is None:
            return
        tick = instrument.tick(best)
        match int(self.random.random() * 6.0):
            case 0:  # too small
                exchange.place(account, coin, is_buy, best, 1)
            case 1:  # nobody there to trade with
                exchange.place(account, coin, is_buy, best, self.lots(coin, 0.5), tif="Ioc")
            case 2:  # nothing to reduce
                exchange.place(account, coin, held >= 0, best, self.lots(coin, 0.5), reduce_only=True)
            case 3 if tick > 1:  # between two ticks
                exchange.place(account, coin, is_buy, best + tick // 2, self.lots(coin, 0.5))
            case 4:  # more than the account can carry
                exchange.place(account, coin, is_buy, best, instrument.mean_lots * 10**5)
            case _:  # spot without the balance
                spot = self.instrument(self.SPOT)
                exchange.place(account, self.SPOT, False, spot.base_units, spot.mean_lots * 10**4)


class Gambler(Trader):
    """Bets everything at the highest leverage, and the price runs against him."""

    COIN = "SOL"
    STAKE = 2_500 * _USD
    #: Share of the price that it runs, in how many blocks; and how much more, if that was not enough.
    RUN = 0.03
    RUN_BLOCKS = 15
    MORE = 0.008
    MORE_EVERY = 60

    def __init__(self, exchange: Exchange, account: Account, seed: str, flow: Flow, options: AccountsOptions) -> None:
        super().__init__(exchange, account, seed)
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
        return self.position(self.COIN) != 0

    def _bet(self) -> None:
        """Pay in, then buy or sell as much as the margin carries, away from where the price will run."""
        coin, exchange, account = self.COIN, self.exchange, self.account
        instrument = self.instrument(coin)
        if self.position(coin):
            return
        house = account.clearinghouse(instrument)
        if house.balance < self.STAKE:
            exchange.deposit(account, instrument, self.STAKE - house.balance)
        # The run must stay within the range of the fair price, so it goes towards the base.
        self._is_long = self.flow.fair >= instrument.base_units
        px = self.through(coin, is_buy=self._is_long, ticks=12)
        if px is None:
            return
        lots = house.balance * instrument.max_leverage * 92 // 100 // px
        exchange.place(account, coin, self._is_long, px, lots, tif="FrontendMarket")
        far = px * 7 // 10 if self._is_long else px * 13 // 10
        far -= far % instrument.tick(far)
        exchange.place(account, coin, self._is_long, far, instrument.mean_lots // 100, cloid=self.cloid())


class SubAccount(Trader):
    """Rests small orders in a quiet coin, and cancels those that are not filled."""

    COIN = "kPEPE"

    def __init__(
        self, exchange: Exchange, account: Account, seed: str, master: Account, options: AccountsOptions
    ) -> None:
        super().__init__(exchange, account, seed)
        self.master = master
        self.options = options

    def act(self, block: int) -> None:
        if block % self.options.transfer_every == self.options.transfer_every // 2:
            self.exchange.to_sub_account(self.master, self.account, self.instrument(self.COIN), 250 * _USD)
        if block % 25 != 11:
            return
        if self.account.open:
            self.exchange.cancel(self.account, next(iter(self.account.open)))
            return
        held = self.position(self.COIN)
        is_buy = held < 0 if held else self.random.random() < 0.5
        best = self.side(self.COIN, buys=is_buy).best
        if best is not None:
            self.exchange.place(self.account, self.COIN, is_buy, best, self.lots(self.COIN, 0.4), cloid=self.cloid())


def settle_traders(exchange: Exchange, flows: dict[str, Flow], seed: int | str, options: AccountsOptions) -> None:
    """Open the accounts, pay in and set their owners to work."""
    market, text = exchange.market, str(seed)
    usdc, usdh = market.instruments["BTC"], market.instruments["xyz:SP500"]
    maker, taker = exchange.open_account("maker"), exchange.open_account("taker")
    gambler = exchange.open_account("gambler")
    sub = exchange.open_account("sub", master=maker.address)
    exchange.add_agent(maker)
    exchange.deposit(maker, usdc, 1_000_000 * _USD)
    exchange.deposit(maker, usdh, 200_000 * _USD)
    exchange.deposit(taker, usdc, 400_000 * _USD)
    exchange.to_spot(taker, usdc, 50_000 * _USD)
    traders = [
        Maker(exchange, maker, text),
        Taker(exchange, taker, text),
        Gambler(exchange, gambler, text, flows[Gambler.COIN], options),
        SubAccount(exchange, sub, text, maker, options),
    ]
    exchange.owners.extend(trader.act for trader in traders)
