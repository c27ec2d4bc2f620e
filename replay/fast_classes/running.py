"""A strategy of Python on recordings, over the compiled engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import ColumnBatch
from replay.backtest.contracts import is_known, missing_said
from replay.column_tape import ColumnTape
from replay.fast.backtesting import Feeder, TradesOnce, look_ahead, with_frames_of_notices
from replay.fast.compiled_step import note_engine, say_compiling
from replay.fast.level_columns import count_from, refine_for, uncounted
from replay.fast_classes.class_run import ClassRun
from replay.results.run_record import RunRecord
from replay.strategy.backtesting import missing_error, told_of, window_of
from replay.strategy.plan import RunPlan
from replay.tape import Tape
from toolkit.gc_tuning import rare_collections

__all__ = ["feed", "run_class"]


def run_class(
    plan: RunPlan,
    tape: Tape,
    *,
    end_ns: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunRecord:
    """
    Run a class on a tape.

    Args:
        plan: Plan of a run that is suitable, see `replay.fast_classes.suitable`.
        tape: Plays the plan's pairs.
        end_ns: Nothing is played from the first frame of that time on.
        progress: Called after each batch with its number of messages and the time of the last one.

    Raises:
        ConfigError: Tick or lot are not known; the strategy does what could not be seen before, and the engine does not do.
        StrategyError: The strategy failed.
    """
    say_compiling("strategies")
    first_ns, last_ns = window_of(tape, None, end_ns)
    once = TradesOnce() if len(tape.recordings) > 1 else None
    # Of books and quotes nobody is given the message.
    is_given = once is not None or plan.loaded.cls.wakes.trades
    columns = ColumnTape(tape, batch_rows=tape.batch_rows, whole=("trades",) if is_given else ())
    session = plan.open(first_ns, recordings=told_of(tape), waits=True, compiled=False)
    run = ClassRun(plan, columns.names, session, end_ns=end_ns)
    look_ahead(tape, [run])
    unknown = [place for place, market in enumerate(run.markets) if not is_known(market)]
    if unknown:
        names = [plan.pairs.names[place] for place in unknown]
        raise missing_error(missing_said(names, [run.markets[place] for place in unknown]))
    feeder = Feeder(plan.pairs.keys, [run])
    batches = columns.batches()
    try:
        with rare_collections():
            for read in batches:
                batch = read if once is None else once.marked(with_frames_of_notices(read))
                places = feeder.places(columns.names.pairs)
                feed(run, feeder, batch, places)
                if progress is not None and batch.messages:
                    progress(batch.messages, int(batch.rows["ts_recv"][-1]))
                if run.has_ended:
                    break
            record = run.finish(last_ns)
        if session.house is not None:
            session.house.check_prices()
    finally:
        batches.close()
        session.watch.close()
    note_engine()
    return record


def feed(run: ClassRun, feeder: Feeder, batch: ColumnBatch, places: npt.NDArray[np.int64]) -> None:
    """
    Have a run take in a batch, part by part: a message off its market's grid makes it finer then, and not before, since a
    strategy's requests are written down as they are counted.
    """
    levels = uncounted(batch)
    start = begin = 0
    while True:
        stop = count_from(batch, begin, places, feeder.markets, levels)
        is_over = stop == batch.messages
        run.take(batch if is_over else batch.part(0, stop), places, levels, start)
        if is_over or run.has_ended:
            return
        start = begin = stop
        row = batch.rows[stop]
        place = int(places[row["pair"]])
        run.begin_frame(row)  # what is due before it is done in the steps of before
        if not run.counts(row, place):
            begin = stop + 1
        elif count_from(batch, stop, places, feeder.markets, levels) == stop:  # and no instrument has said it meanwhile
            refine_for(batch, stop, place, feeder.markets[place], feeder.rescale)
