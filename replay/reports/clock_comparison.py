"""
The orders of a run as a list, on our clock and on the venue's: what the choice of the clock alone makes of them.

A strategy can run on our clock only, where it knows nothing before it was received. The requests that it made can be played
on both, as `tickdeck backtest --script` plays a list of orders; what it would have asked for after other answers is not in
them, so the two are compared with each other and not with the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from recordings.recording import Recording
from replay.backtest.latency_settings import parse_latency
from replay.backtest.running import Clock, ScriptRun, run_script
from replay.ledger.money import SIZE_DECIMALS, Arithmetic, Fees, amount, price_units, units_of
from replay.market.layout import Role
from replay.results.result import Result
from replay.results.run_info import RunInfo
from replay.results.run_record import RunRecord
from replay.results.run_study import Rerun
from replay.strategy.plan import RunPlan
from toolkit.account_messages import OrderState
from toolkit.errors import TickdeckError

__all__ = ["clocks", "orders_of"]

_FREE: Final = Fees(maker=Decimal(0), taker=Decimal(0))
_SIDES: Final = ("buy", "sell")
#: What a decision may have that is no request.
_NOTES: Final = ("log", "timer", "cancel_timer")
#: Where the row of an order ends that waits for nothing and is not worked off by the venue.
_PLAIN_FIELDS: Final = 10


class _NoList(Exception):
    """Why a run's requests are no list of orders."""


def orders_of(record: RunRecord) -> list[dict[str, Any]]:
    """
    The requests of a run of one pair as rows of a script, in the order they were sent.

    Raises _NoList for what a script has no word for.
    """
    market = record.markets[0]
    if len(record.markets) > 1:
        raise _NoList(f"a list of orders is for one pair, and the run has {len(record.markets)}")
    if market.lot is None:
        raise _NoList("the lot of the pair is not known")
    unsent = set(Result.of(record).orders.filter(state=OrderState.FAILED.value)["order_id"])
    return [row for now_ns, act in _acts(record) for row in _row(now_ns, act, market.lot, unsent)]


def _acts(record: RunRecord) -> Iterator[tuple[int, list[Any]]]:
    for *_, row in record.decisions:
        if row.kind in ("response", "money", "failure"):
            continue
        # The number of draws of a callback stands behind what it did.
        yield from ((row.now_ns, act) for act in msgspec.json.decode(row.text) if isinstance(act, list))


def _row(now_ns: int, act: list[Any], lot: Decimal, unsent: set[str]) -> Iterator[dict[str, Any]]:
    what = act[0]
    if what in _NOTES:
        return
    if what in _SIDES:
        _, number, _, tick, lots, tif, post_only, reduce_only, _, expires_ns = act[:_PLAIN_FIELDS]
        if len(act) > _PLAIN_FIELDS:
            raise _NoList("a list of orders has neither stops nor orders that the venue works off")
        if str(number) not in unsent:
            kind = {"type": "market"} if tick is None else {"price_ticks": tick}
            more = {} if expires_ns is None else {"expires_ns": expires_ns}
            word = "GTX" if post_only else "GTC" if tif == "GTD" else tif
            sent = {"local_ns": now_ns, "what": what, "id": number, "qty": float(lots * lot), "tif": word}
            yield {**sent, **kind, **more, **({"reduce_only": True} if reduce_only else {})}
    elif what == "amend":
        _, number, tick, lots, forbidden = act
        if not forbidden:
            yield {"local_ns": now_ns, "what": "modify", "id": number, "price_ticks": tick, "qty": float(lots * lot)}
    elif what == "cancel":
        yield {"local_ns": now_ns, "what": "cancel", "id": act[1]}
    else:
        raise _NoList(f"a list of orders has no {what}")


def clocks(
    record: RunRecord, base: RunInfo, plan: RunPlan, recordings: Sequence[Recording], *, is_whole: bool = True
) -> Iterator[Rerun]:
    """
    The run's orders on both clocks.

    Args:
        record: The run.
        base: Figures of the run.
        plan: With which it was made.
        recordings: Recordings that were played.
        is_whole: Whether they were played to their end.

    Yields:
        One for each clock; profit is by the mark at the end, and with the fees of the end, without funding. Where the orders
        cannot be played the second one says why.
    """
    titles = {Clock.RECEIVE: "its orders alone, our clock", Clock.VENUE: "its orders alone, the venue's clock"}
    settings, key = plan.settings, plan.pairs.keys[0]
    try:
        if settings.leverage:
            raise _NoList("a list of orders knows no margin")
        if not is_whole:
            raise _NoList("a list of orders is played to the end of the tape, and the run ended before")
        rows = orders_of(record)
        if not rows:
            raise _NoList("the run has sent no order")
        found = []
        with TemporaryDirectory() as folder:
            script = Path(folder) / "orders.json"
            script.write_text(json.dumps(rows))
            for clock, title in titles.items():
                run = run_script(
                    recordings,
                    key,
                    script,
                    clock=clock,
                    rules=plan.rules[key.venue],
                    latency=parse_latency(settings.latency),
                    clock_offset_ns=settings.clock_offset_ns or None,
                    gap_policy=settings.gap_policy,
                    assumed=settings.assumed,
                )
                found.append(
                    Rerun(
                        name=f"orders_{clock.value}",
                        title=title,
                        setting=f"--script --clock {clock.value}",
                        nets={base.accounts[0].name: _net(run, base)},
                        fills=len(run.fills),
                    )
                )
    except (_NoList, TickdeckError) as exc:
        yield Rerun(name="orders_venue", title=titles[Clock.VENUE], setting="--clock venue", why_not=str(exc))
        return
    yield from found


def _net(run: ScriptRun, base: RunInfo) -> Decimal:
    """Cash and the position at the mark of the run's end, less fees by the shares of its end."""
    [pair] = base.pairs
    sums = Arithmetic(run.contract, _FREE, run.scale.tick, run.scale.lot)
    worth = [sums.worth(fill.lots * sums.lot, fill.tick * sums.tick) for fill in run.fills]
    rates = {Role.MAKER: pair.maker_fee or Decimal(0), Role.TAKER: pair.taker_fee or Decimal(0)}
    fees = sum(
        (abs(amount(each)) * rates[Role(fill.role)] for each, fill in zip(worth, run.fills, strict=True)), Decimal(0)
    )
    held = units_of(run.position, SIZE_DECIMALS)
    mark = None if pair.mark_price is None else price_units(pair.mark_price)
    return run.cash + (Decimal(0) if mark is None or not held else amount(sums.worth(held, mark))) - fees
