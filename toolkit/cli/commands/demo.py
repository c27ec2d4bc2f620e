"""`tickdeck demo`: the whole road on the embedded venue."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from toolkit.cli.options.shared_options import duration_option, out_folder_option, seed_option, venue_name_option
from toolkit.cli.output.results import examples, say, say_facts
from toolkit.clock import NS_PER_S, Clock, SystemClock, utc_stamp
from toolkit.errors import ConfigError, RecordingError

if TYPE_CHECKING:
    from toolkit.books.orderbook import OrderBook
    from toolkit.books.tracker import OrderBookTracker

__all__ = ["demo", "until_quoted"]

#: How much longer it records on a machine that is too busy to have quotes by then, seconds at most.
LONGER_S: Final = 120.0
_LOOK_S: Final = 0.1
#: What of a result is shown.
_SHOWN: Final = (
    "strategy",
    "doubtful time",
    "net profit",
    "realized",
    "not realized",
    "fees",
    "fills as maker",
    "fills as taker",
    "orders",
    "deepest drawdown",
)


@click.command(
    epilog=examples(
        "tickdeck demo", "tickdeck demo --venue dydx_v4", "tickdeck demo --duration 30s --seed 3 --out tapes/demo"
    )
)
@venue_name_option()
@duration_option("15s")
@seed_option("7")
@out_folder_option()
def demo(venue: str | None, duration: float, seed: str, out: Path | None) -> None:
    """
    Record a synthetic exchange on this machine with the live code, replay the recording both ways, compare the
    digests, analyse the spreads, and run a market maker on it.

    The recording is below ./tapes unless --out says where. Needs no network: the exchange is a seeded random market
    behind the venue's own WebSocket and REST interface on a loopback port, which the live code reaches by URL like the
    real one. It records for longer, two minutes at most, where the machine is too busy to have a quote of each pair by
    then.
    """
    import asyncio

    from replay.serving.registry import default_synthetic, synthetic_venues

    venue = venue or default_synthetic()
    if venue not in synthetic_venues():
        raise ConfigError(f"unknown venue {venue!r}, the synthetic exchange can be {', '.join(synthetic_venues())}")
    clock = SystemClock()
    folder = out if out is not None else Path("tapes") / f"demo-{utc_stamp(clock.time_ns())}"
    asyncio.run(_record(venue, folder, duration, seed, clock))
    _prove(folder)
    _analyse(folder)
    _trade(folder, synthetic_venues()[venue].pairs[0])
    say()
    say(f'Go on with:  tickdeck sql {shlex.quote(str(folder))} "SELECT * FROM quotes LIMIT 5"')


async def _record(venue_name: str, folder: Path, duration: float, seed: str, clock: SystemClock) -> None:
    import asyncio

    from recordings.recorder import Recorder, RecorderOptions, VenueRequest
    from recordings.recording import Recording
    from replay.embedded import EmbeddedVenue
    from replay.serving.registry import synthetic_venues
    from toolkit.cli.commands.info import summary, write_summary
    from toolkit.cli.commands.record import run_recorder
    from toolkit.cli.output.status_line import StatusLine
    from toolkit.protocol import ProtocolOptions
    from toolkit.venue import find_venue

    line = StatusLine(sys.stderr)
    pairs = synthetic_venues()[venue_name].pairs
    async with EmbeddedVenue(clock=clock, venue=venue_name, seed=seed) as venue:
        request = VenueRequest(
            spec=find_venue(venue_name),
            options=ProtocolOptions(pairs=pairs),
            ws_url=venue.ws_url,
            rest_url=venue.rest_url,
        )
        recorder = Recorder(options=RecorderOptions(folder=folder, venues=(request,)), clock=clock, log=line.log)
        recorder.check()
        line.log(f"a synthetic exchange (seed {seed}) listens on {venue.ws_url}")
        line.log(f"recording for {duration:g} s with the live code")
        run = asyncio.get_running_loop().create_task(run_recorder(recorder, line, None))
        ending = asyncio.get_running_loop().create_task(
            until_quoted(lambda: recorder.tracker, clock, pairs, duration, line.log)
        )
        run.add_done_callback(lambda _: ending.cancel())  # a signal, or a failure, may have ended it before
        ending.add_done_callback(lambda _: recorder.stop())
        manifest = await run
        missing = ending.result() if ending.done() and not ending.cancelled() else ()
    _heading("1. The recording, made by the live code")
    write_summary(summary(Recording(folder, manifest)), as_json=False)
    if missing:
        raise RecordingError(
            f"{folder} has no quotes of {', '.join(missing)} after {duration + LONGER_S:g} s, so there is nothing to draw: "
            "the machine is too busy; try --duration 5m"
        )


async def until_quoted(
    tracker_now: Callable[[], OrderBookTracker],
    clock: Clock,
    pairs: Collection[str],
    seconds: float,
    log: Callable[[str], None],
    longer_s: float = LONGER_S,
) -> Sequence[str]:
    """
    Wait for so many seconds, or longer, until each pair has had a quote with both sides.

    Returns the pairs that have had none `longer_s` after that time.
    """
    began, quoted, is_late = clock.monotonic_ns(), set[str](), False
    while True:
        await clock.sleep(_LOOK_S)
        tracker = tracker_now()
        quoted |= {key.trading_pair for key in tracker.keys if _has_quote(tracker.book(key))}
        missing = [pair for pair in pairs if pair not in quoted]
        passed_s = (clock.monotonic_ns() - began) / NS_PER_S
        if passed_s >= seconds and (not missing or passed_s >= seconds + longer_s):
            if is_late:
                await clock.sleep(_LOOK_S)  # a quote has to stand for a while to have a spread
            return missing
        if passed_s >= seconds and not is_late:
            is_late = True
            log(
                f"no quotes of {', '.join(missing)} after {seconds:g} s: "
                f"recording on until there are, for {longer_s:g} s at most"
            )


def _has_quote(book: OrderBook) -> bool:
    return not book.is_stale and book.best_bid is not None and book.best_ask is not None


def _prove(folder: Path) -> None:
    from recordings.care.verifying import verify

    result = verify(folder)
    _heading("2. Replayed through the same code")
    say(f"digest while recording          {result.live_digest}")
    say(f"digest of the raw frames        {result.raw_digest}")
    say(f"digest of the normalized rows   {result.normalized_digest}")
    if not result.is_sound:
        raise RecordingError(f"{folder}: {result.problems[0]}")
    say("All equal: every message and every book after it is the same, live and replayed.")


def _analyse(folder: Path) -> None:
    from toolkit.cli.commands.analyze import analyze

    plot = folder / "spreads.png"
    _heading("3. Its spreads")
    analyze.main(["spreads", str(folder), "--plot", str(plot)], prog_name="tickdeck analyze", standalone_mode=False)
    say(f"recording  {folder}")
    say(f"plot       {plot}")


def _trade(folder: Path, pair: str) -> None:
    """Run the market maker of the examples on what was just recorded."""
    from replay.fast_classes.strategy_backtest import backtest
    from replay.results.result import summary_table

    _heading("4. What a market maker would have come to in it")
    strategy = _example("market_maker.py")
    result = backtest(
        strategy,
        folder,
        trading_pairs=pair,
        # The synthetic markets are calm: wider quotes are seldom met in so short a time.
        parameters={"half_spread_bps": 0.1, "stay_bps": 0.1},
        latency="entry=5ms,response=5ms",
        out=folder / "results" / "market_maker",
    )
    say_facts([(title, text) for title, text in summary_table(result) if title.strip() in _SHOWN])
    plot = folder / "fills.png"
    result.plot(plot)
    say()
    say(f"strategy   {strategy}")
    say(f"result     {result.path}")
    say(f"plot       {plot}")


def _example(name: str) -> Path:
    """A strategy of the examples: where it is installed, or in a checkout of the source."""
    import tickdeck

    package = Path(tickdeck.__file__).resolve().parent
    folders = (package / "example_strategies", package.parent / "examples" / "strategies")
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        raise ConfigError(f"the example {name} is in neither {folders[0]} nor {folders[1]}: install tickdeck again")
    return found


def _heading(text: str) -> None:
    say()
    say(text)
    say()
