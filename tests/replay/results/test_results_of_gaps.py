"""A gap cut into a tape: the first lines of the result name it, with the orders across it and the profit that rests on it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from recordings.care.verifying import verify
from recordings.queries.gaps import find_gaps
from recordings.recording import Recording
from replay.backtest.gap_policy import GapPolicy
from replay.results.report_sections import gap_lines
from replay.results.result import Result, summary_table
from replay.results.result_writing import write_result
from replay.results.run_info import QueueInfo
from replay.strategy.context import Context
from replay.strategy.limits import RiskLimits
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import BookView, OwnOrder
from tests.replay.backtest.market_messages import KEY, Messages
from tests.replay.strategy.sessions import market, opened
from toolkit.account_messages import OrderState
from toolkit.keys import PairKey
from toolkit.messages import EventKind, Message

SECOND = 1_000_000_000


class Rester(Strategy):
    """Has an order to buy 2 at 98 from the first book on, whatever happens."""

    wakes = Wakes(books=True)
    _went = False

    def on_book(self, ctx: Context, book: BookView) -> None:
        if not self._went and not book.is_stale:
            self._went = True
            ctx.buy(ctx.pairs[0], 2, 98.0)


def tape() -> list[Message]:
    """
    A book around 100 for ten seconds, nothing for ten, and then one around 104; 25 are sold at 98 two seconds later.

    The order behind 20 is not matched in the gap. After it 20 are still taken to be ahead, so 5 reach it, and it is filled.
    Its position is worth 104 then.
    """
    say = Messages()
    stale = say.event(10 * SECOND, EventKind.STALE)
    whole = [say.event(20 * SECOND, EventKind.GAP), say.snapshot(20 * SECOND, {103: 10, 98: 20}, {105: 10})]
    return [
        *market(say),
        say.diff(5 * SECOND, {97: 1}),
        stale,
        *whole,
        say.trade(22 * SECOND, "sell", 98, 25),
        say.diff(30 * SECOND, {97: 2}),
        say.diff(40 * SECOND, {97: 3}),
    ]


def result_of(policy: GapPolicy) -> Result:
    run = opened(Rester, gap_policy=policy)
    for message in tape():
        run.session.take(message)
    return Result.of(run.session.finish())


def test_what_rests_on_a_gap_is_said_first() -> None:
    """
    Ten seconds without a book, and from the fill at 22 to the end at 40 a position that is uncertain: 28 of 40 seconds.

    All of the profit is in them.
    """
    result = result_of(GapPolicy.KEEP)
    assert result.fills.select("price", "size", "is_uncertain").rows() == [(98.0, 2.0, True)]
    lines = dict(summary_table(result))
    assert list(lines)[1:4] == ["doubtful time", "doubtful profit", "uncertain fills"]
    assert result.doubtful_time_share == pytest.approx(28 / 40)
    assert (lines["uncertain fills"], lines["gaps"], lines["orders across gaps"]) == ("1", "1", "1")
    assert result.account.doubtful_profit_share == 1.0
    assert result.net_profit == 2 * (104 - 98)


def test_nothing_that_was_cancelled_rests_on_a_gap() -> None:
    """The ten seconds alone are doubtful."""
    result = result_of(GapPolicy.CANCEL)
    assert (result.fills.height, result.doubtful_time_share) == (0, 10 / 40)
    assert dict(summary_table(result))["doubtful profit"] == "0 %"


def test_the_gap_is_in_the_result_as_in_the_tape(tmp_path: Path) -> None:
    """So that `gaps` and `info` name it."""

    run = opened(Rester)
    for message in tape():
        run.session.take(message)
    write_result(run.session.finish(), tmp_path / "run")
    assert verify(tmp_path / "run").problems == []
    [gap] = find_gaps(Recording.open(tmp_path / "run")).rows(named=True)
    assert (gap["trading_pair"], gap["cause"]) == ("BTC-USD", "disconnect")


def test_the_result_names_each_gap_with_the_orders_across_it(tmp_path: Path) -> None:
    """The order's number is the one it has in the other tables, whatever its id at the exchange."""

    class Refused(Rester):
        """Has asked for something that a limit of risk forbids before: that has a number and was never sent."""

        def on_book(self, ctx: Context, book: BookView) -> None:
            if not self._went and not book.is_stale:
                ctx.buy(ctx.pairs[0], 5000, 98.0)
            super().on_book(ctx, book)

    run = opened(Refused, limits=RiskLimits(order_size_max=Decimal(1000)))
    for message in tape():
        run.session.take(message)
    record = run.session.finish()
    write_result(record, tmp_path / "run")
    for result in (Result.of(record), Result.open(tmp_path / "run")):
        [gap] = result.info.gaps
        assert (gap.trading_pair, gap.start_ns, gap.end_ns) == ("BTC-USD", 10 * SECOND, 20 * SECOND)
        assert (gap.cause, gap.orders) == ("disconnect", ("2",))
        assert result.orders.filter(order_id="2")["price"].to_list() == [98.0]


def unnoticed(*, missing_since: int) -> Result:
    """
    Something is missing from 4 s on, or not, which a message of 10 s shows. At 6 s 25 are sold at 98 and fill the order behind 20.

    The gap lasts to the end. At 5 s the middle goes from 100 to 102, at 7 s to 103: 2 bought at 98 have gained 10.
    """
    say = Messages()
    run = opened(Rester)
    for message in [
        *market(say),
        say.snapshot(5 * SECOND, {101: 10, 98: 20}, {103: 10}),
        say.trade(6 * SECOND, "sell", 98, 25),
        say.snapshot(7 * SECOND, {102: 10, 98: 20}, {104: 10}),
        msgspec.structs.replace(say.event(10 * SECOND, EventKind.STALE), ts_start=missing_since, cause="sequence"),
        say.diff(40 * SECOND, {97: 3}),
    ]:
        run.session.take(message)
    return Result.of(run.session.finish())


def test_what_was_filled_before_a_gap_was_noticed_is_said_and_counts_as_after_it() -> None:
    """A gap of numbers is known with the next one: nobody could know before, and the report does."""
    result = unnoticed(missing_since=4 * SECOND)
    [line] = gap_lines(result)
    assert line == (
        "BTC-USD on testing: a gap at 1970-01-01T00:00:10.000000000Z to the end (sequence), no order rested across it; data were"
        " missing since 1970-01-01T00:00:04.000000000Z, 1 fill rests on an old book until it was noticed; +10.00 USD net after it,"
        " 100 % of what was gained and lost"
    )
    # Known at once: the fill before it is no business of the gap's, and nothing was made after it.
    [line] = gap_lines(unnoticed(missing_since=10 * SECOND))
    assert line.endswith("no order rested across it; 0.00 USD net after it, 0 % of what was gained and lost")


def test_what_was_ahead_of_an_order_is_what_its_level_held() -> None:
    """20 at 98, as the book had it."""
    [pair] = result_of(GapPolicy.KEEP).info.pairs
    assert pair.queue == QueueInfo(orders=1, unseen=0, median=20.0, p90=20.0)


def test_what_is_ahead_outside_of_the_recorded_depth_is_not_known() -> None:
    """A book of three levels at most, as it was recorded: 90 is beyond the last one."""

    class Deep(Rester):
        def on_book(self, ctx: Context, book: BookView) -> None:
            if not self._went and not book.is_stale:
                self._went = True
                ctx.buy(ctx.pairs[0], 2, 90.0)

    say, run = Messages(), opened(Deep)
    start = [say.event(0, EventKind.SESSION_START, stream=""), say.instrument(0)]
    for message in [*start, say.snapshot(0, {99: 10, 98: 20}, {101: 4, 102: 5}, cap=2), say.diff(SECOND, {98: 21})]:
        run.session.take(message)
    [pair] = Result.of(run.session.finish()).info.pairs
    assert pair.queue == QueueInfo(orders=1, unseen=1, median=None, p90=None)


class Mover(Rester):
    """Amends its order once, to a level where there is nothing, and cancels it then."""

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        if order.state is OrderState.OPEN and order.price == 98.0:
            ctx.amend(order, price=97.0)


def test_an_amended_order_has_a_new_place_and_one_that_takes_has_none() -> None:
    say = Messages()

    class Taker(Rester):
        def on_book(self, ctx: Context, book: BookView) -> None:
            if not self._went and not book.is_stale:
                self._went = True
                ctx.buy(ctx.pairs[0], 1)

    for strategy, expected in ((Mover, (2, 0.0, 20.0)), (Taker, (0, None, None))):
        run = opened(strategy)
        for message in [*market(say), say.diff(5 * SECOND, {96: 1})]:
            run.session.take(message)
        [pair] = Result.of(run.session.finish()).info.pairs
        assert pair.queue is not None
        assert (pair.queue.orders, pair.queue.median, pair.queue.p90) == expected


class Hopeful(Strategy):
    """Has an order to buy 2 at 98 of its first pair from the beginning on."""

    def on_start(self, ctx: Context) -> None:
        ctx.buy(ctx.pairs[0], 2, 98.0)


def bookless(*, other: bool = False) -> list[Message]:
    """Trades and changes of a book that was never received whole for 40 seconds; another pair has one, if that is said."""
    say, also = Messages(), Messages(PairKey("testing", "ETH-USD"), start=100)
    quotes = [also.instrument(0), also.snapshot(SECOND)] if other else []
    changes = [say.diff(5 * SECOND, {98: 1}), say.trade(22 * SECOND, "sell", 97, 25), say.diff(40 * SECOND, {97: 3})]
    return [say.event(0, EventKind.SESSION_START, stream=""), say.instrument(0), *quotes, *changes]


def test_a_pair_that_never_has_a_book_makes_all_of_the_run_doubtful() -> None:
    """Nothing can be matched on it, so that no number of the run says anything."""
    run = opened(Hopeful)
    for message in bookless():
        run.session.take(message)
    result = Result.of(run.session.finish())
    [gap] = result.info.gaps
    assert (gap.cause, gap.start_ns, gap.end_ns, gap.orders) == ("no_book", result.info.start_ns, None, ("1",))
    assert (result.doubtful_time_share, result.fills.height) == (1.0, 0)
    assert dict(summary_table(result))["gaps"] == "1"


@pytest.mark.parametrize(("place", "share"), [(0, 1.0), (1, 0.0)])
def test_a_pair_without_a_book_is_doubtful_where_orders_go_to_it(place: int, share: float) -> None:
    """It is named in any case; what rests on another pair does not depend on it."""

    class Chooser(Strategy):
        def on_start(self, ctx: Context) -> None:
            ctx.buy(ctx.pairs[place], 2, 98.0)

    run = opened(Chooser, keys=(KEY, PairKey("testing", "ETH-USD")))
    for message in bookless(other=True):
        run.session.take(message)
    result = Result.of(run.session.finish())
    assert [(gap.trading_pair, gap.cause) for gap in result.info.gaps] == [("BTC-USD", "no_book")]
    assert result.doubtful_time_share == share


def test_what_came_before_the_first_book_is_no_gap() -> None:
    """Every tape begins without one, for an instant."""
    say = Messages()
    run = opened(Hopeful)
    for message in [*market(say, SECOND), say.diff(40 * SECOND, {97: 1})]:
        run.session.take(message)
    result = Result.of(run.session.finish())
    assert (result.info.gaps, result.doubtful_time_share) == ([], 0.0)
