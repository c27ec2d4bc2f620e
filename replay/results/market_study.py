"""
Measures the market that a run met, from the columns of the recordings that it played.

Read in batches, so that memory does not depend on how long a recording is; the run itself is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from recordings.queries.lazy_tables import scan_table
from recordings.recording import Recording
from replay.results.profit_parts import profit_parts
from replay.results.result_frames import fill_frame, tables_of
from replay.results.run_info import PairInfo, RunInfo, run_info
from replay.results.run_record import RunRecord
from replay.results.run_study import (
    COURSES_MAX,
    HORIZONS_S,
    OWN_SHARE_MAX,
    DelayInfo,
    MarketInfo,
    PriceCourse,
    RunStudy,
)
from toolkit.clock import NS_PER_S
from toolkit.pictures.vega_lite import bucket_ns

__all__ = ["study_of", "study_run"]

_BATCH_ROWS: Final = 1 << 18
_MINUTE: Final = 60 * NS_PER_S
_SIZE_UNITS: Final = 1e9
#: Up to so many pairs are picked while a table is read; of more all rows are looked at.
_PICKED_MAX: Final = 16
_QUANTILES: Final = (50, 90, 99)
#: Steps of time of a course of prices, at most.
_COURSE_STEPS: Final = 800
_PAIR: Final = ("venue", "trading_pair")

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def study_run(record: RunRecord, recordings: Sequence[Recording]) -> RunStudy:
    """That of a run that is just over."""
    return study_of(run_info(record), fill_frame(tables_of(record)), recordings)


def study_of(info: RunInfo, fills: pl.DataFrame, recordings: Sequence[Recording]) -> RunStudy:
    """
    Measure what a run met.

    Args:
        info: Figures of the run.
        fills: `Result.fills`.
        recordings: Recordings that were played, in the order of time.

    Returns:
        Without reruns. Of a pair that the recordings do not hold nothing but own fills is known.

    Raises RecordingDamaged, and what Polars does.
    """
    busiest = sorted(info.pairs, key=lambda pair: -pair.turnover)[:COURSES_MAX]
    books = {
        (pair.venue, pair.trading_pair): _BookCourse(info, fills, pair, is_drawn=pair in busiest) for pair in info.pairs
    }
    wanted = _picked(list(books))
    top_delays, trade_delays = _Delays(), _Delays()
    for recording in recordings:
        for part in _batches(recording, info, wanted):
            for key, rows in part:
                if key in books:
                    books[key].take(rows)
        top_delays.take(_window(scan_table(recording, "top"), info, wanted))
    for book in books.values():
        book.finish()
    found = []
    for recording in recordings:
        trades = _window(scan_table(recording, "trades"), info, wanted)
        trades = trades.filter(~pl.col("is_history"), ~pl.col("is_duplicate"))
        trade_delays.take(trades)
        found.append(_minutes(trades))
    volumes = dict(_by_pair(pl.concat(found))) if found else {}
    parts, markets = [], []
    for pair in info.pairs:
        key = (pair.venue, pair.trading_pair)
        own = _of(fills, pair)
        parts += profit_parts(pair, own, books[key].mids)
        delays = [
            each for delays, table in ((trade_delays, "trades"), (top_delays, "top")) for each in delays.of(key, table)
        ]
        markets.append(_market(pair, own, volumes.get(key), books[key], delays))
    courses = [
        book.course(pair) for pair in busiest if (book := books[pair.venue, pair.trading_pair]).known_ns and book.drawn
    ]
    return RunStudy(parts=parts, markets=markets, courses=courses)


def _of(frame: pl.DataFrame, pair: PairInfo) -> pl.DataFrame:
    return frame.filter(pl.col("venue") == pair.venue, pl.col("trading_pair") == pair.trading_pair)


# -- reading ------------------------------------------------------------------------------------------------------------


def _picked(keys: Sequence[tuple[str, str]]) -> pl.Expr | None:
    if len(keys) > _PICKED_MAX:
        return None
    return pl.any_horizontal([(pl.col("venue") == venue) & (pl.col("trading_pair") == name) for venue, name in keys])


def _time(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Int64)


def _window(rows: pl.LazyFrame, info: RunInfo, wanted: pl.Expr | None, *, from_ns: int | None = None) -> pl.LazyFrame:
    """Rows of the run's time and pairs."""
    since = info.start_ns if from_ns is None else from_ns
    inside = _time("ts_recv").is_between(since, info.end_ns)
    return rows.filter(inside) if wanted is None else rows.filter(inside, wanted)


def _batches(
    recording: Recording, info: RunInfo, wanted: pl.Expr | None
) -> Iterator[Iterator[tuple[tuple[str, str], pl.DataFrame]]]:
    """Rows of each pair, in the order of capture, from the beginning of the recording on."""
    # What stood when the run began may have been said long before.
    rows = _window(scan_table(recording, "top"), info, wanted, from_ns=0).select(
        *_PAIR,
        _time("ts_recv").alias("at"),
        ((pl.col("bid_price") + pl.col("ask_price")) / 2).round_sig_figs(15).alias("mid"),
        "is_stale",
        "is_crossed",
        (pl.col("bid_price").is_null() | pl.col("ask_price").is_null()).alias("is_one_sided"),
    )
    for part in rows.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
        yield _by_pair(part)


def _by_pair(rows: pl.DataFrame) -> Iterator[tuple[tuple[str, str], pl.DataFrame]]:
    found = rows.partition_by(_PAIR, as_dict=True, maintain_order=True)
    return iter([((str(venue), str(name)), part) for (venue, name), part in found.items()])


# -- books --------------------------------------------------------------------------------------------------------------


class _BookCourse:
    """
    The best prices of a pair as time goes by: the middle at the times that are asked for, and how long it was what.

    Attributes:
        mids: A row for each fill of the pair: just before it, and each horizon after it.
    """

    def __init__(self, info: RunInfo, fills: pl.DataFrame, pair: PairInfo, *, is_drawn: bool = False) -> None:
        at = _of(fills, pair)["ts_event"].cast(pl.Int64).to_numpy()
        self.mids: _Floats = np.full((len(at), 1 + len(HORIZONS_S)), np.nan)
        # Just before it: what stands at the nanosecond before.
        times = np.concatenate([at - 1, *(at + seconds * NS_PER_S for seconds in HORIZONS_S)])
        self._order = np.argsort(times, kind="stable")
        self._times: _Ints = times[self._order]
        self._found: _Floats = np.full(len(times), np.nan)
        self._start, self._end = info.start_ns, info.end_ns
        self._now: int | None = None
        self._state = (False, False, False)
        self._mid = np.nan
        self._step = bucket_ns(max(info.end_ns - info.start_ns, 1), _COURSE_STEPS)
        count = (info.end_ns - info.start_ns) // self._step + 1 if is_drawn else 0
        #: Last, lowest and highest middle of each step; where nothing happened in one, NaN.
        self.drawn: tuple[_Floats, ...] = tuple(np.full(count, np.nan) for _ in range(3)) if is_drawn else ()
        #: Steps that ended with a book that could not be believed.
        self._ends_unknown = np.zeros(count, np.bool_)
        self._first_mid = np.nan
        #: How long it was stale, crossed, one-sided.
        self.lengths = [0, 0, 0]
        self.known_ns = 0

    def take(self, rows: pl.DataFrame) -> None:
        """The next rows of the pair."""
        # A clock that steps back goes on at the time that it had reached, as it does in a run.
        at: _Ints = np.maximum.accumulate(rows["at"].to_numpy())
        if self._now is not None:
            at = np.maximum(at, self._now)
        is_known = ~rows["is_stale"].to_numpy()
        mids = np.where(is_known, rows["mid"].fill_null(np.nan).to_numpy(), np.nan)
        if self.drawn:
            self._draw(at, mids)
        # What is not known for a while was last what it was before.
        known = np.where(np.isnan(mids), 0, np.arange(1, len(mids) + 1))
        last = np.maximum.accumulate(known)
        mids = np.where(last > 0, mids[np.maximum(last - 1, 0)], self._mid)
        since = np.searchsorted(self._times, at[0])
        rows_at = np.searchsorted(at, self._times[since:], side="right") - 1
        self._found[since:] = mids[rows_at]
        self._measure(
            at, [~is_known, is_known & rows["is_crossed"].to_numpy(), is_known & rows["is_one_sided"].to_numpy()]
        )
        self._now, self._mid = int(at[-1]), float(mids[-1])

    def _draw(self, at: _Ints, mids: _Floats) -> None:
        """Gather the middles of each step of time."""
        before = np.searchsorted(at, self._start)
        known = mids[:before][~np.isnan(mids[:before])]
        if len(known):
            self._first_mid = float(known[-1])
        if before == len(at):
            return
        steps = (at[before:] - self._start) // self._step
        values = mids[before:]
        firsts = np.flatnonzero(np.r_[True, steps[1:] != steps[:-1]])
        places = steps[firsts]
        lasts = np.r_[firsts[1:], len(steps)] - 1
        last, low, high = self.drawn
        last[places] = values[lasts]
        self._ends_unknown[places] = np.isnan(values[lasts])
        low[places] = np.fmin(low[places], np.fmin.reduceat(values, firsts))
        high[places] = np.fmax(high[places], np.fmax.reduceat(values, firsts))

    def course(self, pair: PairInfo) -> PriceCourse:
        """What was gathered: in a step in which nothing happened the price is that of the one before."""
        last, low, high = (each.copy() for each in self.drawn)
        now = self._first_mid
        for place in range(len(last)):
            if np.isnan(last[place]) and not self._ends_unknown[place]:
                last[place] = now
            now = last[place]
        for each in (low, high):
            quiet = np.isnan(each)
            each[quiet] = last[quiet]

        def told(values: _Floats) -> list[float | None]:
            return [None if value != value else value for value in values.tolist()]

        return PriceCourse(
            venue=pair.venue,
            trading_pair=pair.trading_pair,
            start_ns=self._start,
            step_ns=self._step,
            last=told(last),
            low=told(low),
            high=told(high),
        )

    def _measure(self, at: _Ints, states: list[npt.NDArray[np.bool_]]) -> None:
        first = int(at[0])
        if self._now is not None:
            self._add(max(self._now, self._start), first, self._state)
        inside = np.maximum(at, self._start)
        lengths = np.diff(inside)
        for place, state in enumerate(states):
            self.lengths[place] += int(lengths[state[:-1]].sum())
        self.known_ns += int(lengths.sum())
        self._state = (bool(states[0][-1]), bool(states[1][-1]), bool(states[2][-1]))

    def _add(self, since: int, until: int, state: tuple[bool, bool, bool]) -> None:
        length = max(0, until - since)
        self.known_ns += length
        for place, is_so in enumerate(state):
            self.lengths[place] += length if is_so else 0

    def finish(self) -> None:
        """There are no more rows."""
        if self._now is not None:
            self._add(max(self._now, self._start), self._end, self._state)
        flat = np.empty(len(self._found))
        flat[self._order] = self._found
        self.mids = flat.reshape(1 + len(HORIZONS_S), -1).T


# -- trades and delays --------------------------------------------------------------------------------------------------


def _minutes(trades: pl.LazyFrame) -> pl.DataFrame:
    """What was traded of each pair in each minute: `minute`, `volume`, `trades`, `sideless`."""
    return (
        trades.group_by(*_PAIR, (_time("ts_recv") // _MINUTE).alias("minute"))
        .agg(
            # Whole numbers, since a sum of floats depends on the order in which threads come by.
            (pl.col("size") * _SIZE_UNITS).round().cast(pl.Int128).sum().alias("volume"),
            pl.len().cast(pl.Int64).alias("trades"),
            pl.col("aggressor_side").is_null().sum().cast(pl.Int64).alias("sideless"),
        )
        .collect(engine="streaming")
        .with_columns(pl.col("volume").cast(pl.Float64) / _SIZE_UNITS)
        .sort(*_PAIR, "minute")
    )


@dataclass
class _Delays:
    """How many messages of each pair took how long, to three digits."""

    counted: list[pl.DataFrame] = field(default_factory=list)

    def take(self, rows: pl.LazyFrame) -> None:
        """Count those of a recording."""
        delay = _time("ts_recv") - _time("ts_event")
        # Bounded whatever the length: so many delays differ in their first three digits.
        coarse = delay.cast(pl.Float64).round_sig_figs(3).cast(pl.Int64)
        self.counted.append(
            rows.group_by(*_PAIR, coarse.alias("delay"))
            .agg(pl.len().cast(pl.Int64).alias("count"))
            .collect(engine="streaming")
        )

    def of(self, key: tuple[str, str], table: str) -> Iterator[DelayInfo]:
        """Those of a pair, if any message of it was received."""
        venue, name = key
        rows = pl.concat(self.counted).filter(pl.col("venue") == venue, pl.col("trading_pair") == name)
        if rows.is_empty():
            return
        timed = rows.drop_nulls("delay").group_by("delay").agg(pl.col("count").sum()).sort("delay")
        until, total = timed["count"].cum_sum(), int(timed["count"].sum())
        found: list[int | None] = [
            int(timed.filter(until * 100 >= total * percent)["delay"][0]) if total else None for percent in _QUANTILES
        ]
        yield DelayInfo(
            table=table,
            messages=int(rows["count"].sum()),
            untimed=int(rows.filter(pl.col("delay").is_null())["count"].sum()),
            negative=int(timed.filter(pl.col("delay") < 0)["count"].sum()),
            p50=found[0],
            p90=found[1],
            p99=found[2],
        )


def _market(
    pair: PairInfo, fills: pl.DataFrame, minutes: pl.DataFrame | None, book: _BookCourse, delays: list[DelayInfo]
) -> MarketInfo:
    if minutes is None:
        minutes = pl.DataFrame(
            schema={"minute": pl.Int64, "volume": pl.Float64, "trades": pl.Int64, "sideless": pl.Int64}
        )
    minutes = minutes.group_by("minute").agg(pl.col("volume", "trades", "sideless").sum()).sort("minute")
    # By the venue's time of a fill, which on the clock of the recording is that of the trade that made it.
    own = fills.group_by((_time("ts_event") // _MINUTE).alias("minute")).agg(
        pl.col("size").sum().alias("own"), pl.len().cast(pl.Int64).alias("fills")
    )
    both = own.join(minutes, on="minute", how="left").with_columns(pl.col("volume").fill_null(0.0))
    # Fills in a minute without a trade, as by a level that reached them, are more than all of it.
    shares = both.filter(pl.col("volume") > 0).select((pl.col("own") / pl.col("volume")).max()).item()
    large = both.filter(pl.col("own") > OWN_SHARE_MAX * pl.col("volume"))
    stale, crossed, one_sided = book.lengths
    return MarketInfo(
        venue=pair.venue,
        trading_pair=pair.trading_pair,
        volume=_tidy(minutes["volume"].sum()),
        trades=int(minutes["trades"].sum()),
        sideless=int(minutes["sideless"].sum()),
        own_volume=_tidy(fills["size"].sum()),
        own_share_max=None if shares is None else _tidy(shares),
        large_fills=int(large["fills"].sum()),
        known_ns=book.known_ns,
        stale_ns=stale,
        crossed_ns=crossed,
        one_sided_ns=one_sided,
        delays=delays,
    )


def _tidy(value: Any) -> float:
    """A sum without what float64 and the order of adding make of its last digits."""
    return float(f"{float(value):.12g}")
