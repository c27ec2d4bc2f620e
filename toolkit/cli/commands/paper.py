"""`tickdeck paper`: a strategy on live feeds, recorded, with a simulated exchange in between."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.commands.backtest_strategy import write_run
from toolkit.cli.commands.record import asked_for, run_with_page
from toolkit.cli.options.record_settings import RecordSettings
from toolkit.cli.options.run_options import market_options, run_options, run_settings
from toolkit.cli.options.settings import setting_options
from toolkit.cli.options.shared_options import venue_option
from toolkit.cli.output.results import Output, examples, say
from toolkit.cli.output.status_line import StatusLine
from toolkit.clock import SystemClock
from toolkit.errors import TickdeckError

if TYPE_CHECKING:
    from replay.paper.trader import PaperTrader
    from replay.results.run_record import RunRecord

__all__ = ["paper"]


@click.command(
    epilog=examples(
        "tickdeck paper maker.py hyperliquid BTC-USD --out tapes/paper --duration 10m",
        "tickdeck backtest maker.py tapes/paper --compare",
        "tickdeck paper maker.py hyperliquid BTC-USD --set half_spread=3 --limit position=0.5 --limit loss=100",
    )
)
@click.argument("strategy", type=click.Path(path_type=Path))
@click.argument("what", nargs=-1, required=True, metavar="VENUE PAIR... [VENUE PAIR...]...")
@venue_option
@market_options
@run_options
@setting_options
def paper(
    strategy: Path,
    what: tuple[str, ...],
    venues: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> int:
    """
    Run a strategy on live feeds and record them; its orders go to a simulated exchange and nowhere else.

    The recording is that of `tickdeck record`, and continues if the strategy fails. The first Ctrl-C ends the session:
    resting orders are cancelled, the recording is sealed, and the result is written into it below paper/.
    `tickdeck backtest STRATEGY RECORDING --compare` then checks that a backtest makes the same decisions.
    """
    import asyncio

    from recordings.recorder import Recorder
    from replay.paper.trader import PaperTrader
    from replay.strategy.backtesting import declared_pairs
    from replay.strategy.loading import load_strategy
    from replay.strategy.plan import RunPlan
    from toolkit.keys import PairKey

    loaded = load_strategy(strategy)
    settings = run_settings(given)
    clock = SystemClock()
    recorded = RecordSettings.of({**given, "json": as_json})
    options, seconds = asked_for(what, venues, recorded, clock)
    there = [PairKey(venue.spec.name, pair) for venue in options.venues for pair in venue.options.pairs]
    plan = RunPlan(loaded, declared_pairs(loaded, there), settings)
    line = StatusLine(sys.stderr)
    recorder = Recorder(options=options, clock=clock, log=line.log)
    trader = PaperTrader(plan, recorder, clock, line.log)
    line.log(f"{loaded.cls.__name__} trades {', '.join(plan.pairs.names)} on paper, recorded into {options.folder}")
    try:
        asyncio.run(run_with_page(recorder, line, seconds, recorded.status_port, trader.parts))
    finally:
        # Whatever ended the recording, what the strategy did is worth as much.
        record = trader.finish()
    return _report(trader, record, options.folder, as_json=as_json)


def _report(trader: PaperTrader, record: RunRecord | None, folder: Path, *, as_json: bool) -> int:
    """Write the result into the recording, and say what came of the session."""
    from replay.results.result import Result
    from replay.results.result_writing import write_result

    session = trader.session
    if trader.failure is not None and session is None:
        raise trader.failure
    if record is None or session is None or trader.path is None:
        say(f"{folder}: no frame was received, so the strategy was never called", err=True)
        return 1
    result = trader.path.with_suffix("")
    try:
        write_result(record, result)
    except TickdeckError as exc:
        say(f"the result cannot be written: {exc}", err=True)
    write_run(Result.of(record, result), Output(format="json" if as_json else "table"))
    say(f"recording  {folder}", err=as_json)
    say(f"result     {result}", err=as_json)
    if session.failure is not None:
        raise session.failure
    return 0
