"""Spreads of a recording: which pairs, which window, and how many updates they rest on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import polars as pl

from analysis.feed_evidence import evidence_of
from analysis.instrument_choice import choose
from analysis.quote_durations import Clock, Progress, pairs_of, quote_end_ns, ts_column
from analysis.spread_buckets import spread_series
from analysis.spread_summary import SPREAD_SCHEMA, spreads
from analysis.table_source import KEY, RecordingLike, only, recording_end_ns, rows_of, sealed_part
from recordings.recording import Recording
from toolkit.borders import one_line
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.keys import PairKey, PairName
from toolkit.timing.times import Instant, Length, instant_ns

__all__ = ["REPORT_SCHEMA", "SpreadWindow", "spread_window"]

_COUNTS: Final = ("book_messages", "quotes", "trades_new", "trades_history", "trades_duplicate")

#: Columns of `SpreadWindow.report`, in their order.
REPORT_SCHEMA: Final = pl.Schema(
    {**SPREAD_SCHEMA, **dict.fromkeys(_COUNTS, pl.Int64()), "ts_book_last": pl.Datetime("ns")}
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SpreadWindow:
    """
    The quotes of some pairs of a recording, in a window of time; made by `spread_window`.

    Attributes:
        recording: The recording.
        pairs: `venue`, `symbol`, `trading_pair` (String) of the instruments looked at.
        clock: Clock whose time counts.
        start_ns: Start of the window, ns; None: each pair's first quote.
        end_ns: End of it: until then the last quote holds.
        counts_end: Whether a row at `end_ns` itself is counted as an update.
    """

    recording: Recording
    pairs: pl.DataFrame
    clock: Clock
    start_ns: int | None
    end_ns: int
    counts_end: bool

    def __repr__(self) -> str:
        start = "the first quote" if self.start_ns is None else format_ns(self.start_ns)
        names = ", ".join(map(str, map(PairKey._make, self.pairs.select("venue", "trading_pair").iter_rows())))
        of = f"{self.pairs.height} instruments ({names})"
        return one_line(f"<SpreadWindow of {self.recording.path}: {of}, {start} to {format_ns(self.end_ns)}>")

    def rows(self, table: str) -> pl.LazyFrame:
        """The rows of the chosen pairs in any table, not cut to the window. Symbols select the row groups to read."""
        return only(rows_of(self.recording, table), self.pairs)

    def report(self, progress: Progress | None = None) -> pl.DataFrame:
        """
        Describe the spread of each pair, and what was received.

        Returns:
            The columns of `analysis.spreads`, and (Int64, all within the window): `book_messages`, of any form;
            `quotes`: messages of the best bid and offer; `trades_new`, `trades_history` (from before the
            subscription), `trades_duplicate` (repeated); `ts_book_last` (Datetime ns, UTC): the newest of the book's
            messages. Where that is long before the end, the last quote was held although nothing spoke for it, as
            happens when files of an import end early.
        """
        described = spreads(
            self._top(),
            instruments=self.rows("instruments"),
            book=self.rows("book"),
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            counts_end=self.counts_end,
            clock=self.clock,
            evidence=evidence_of(self.recording),
            progress=progress,
        )
        for counts in (self._book_counts(), self._quote_counts(), self._trade_counts()):
            described = described.join(counts.collect(engine="streaming"), on=KEY, how="left", maintain_order="left")
        lasts = pl.max_horizontal("book_last", "quote_last").alias("ts_book_last")
        return described.with_columns(pl.col(_COUNTS).fill_null(0).cast(pl.Int64), lasts).select(REPORT_SCHEMA.names())

    def series(self, every: Length, progress: Progress | None = None) -> pl.LazyFrame:
        """The spread of each pair in buckets of time (ns, a timedelta, or text such as `1m`): see `analysis.spread_series`."""
        return spread_series(
            self._top(),
            every_ns=every,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            counts_end=self.counts_end,
            clock=self.clock,
            evidence=evidence_of(self.recording),
            progress=progress,
        )

    def row_count(self) -> int:
        """Rows of `top` that one reading goes through."""
        return int(self._top().select(pl.len()).collect(engine="streaming").item())

    def _top(self) -> pl.LazyFrame:
        return self.rows("top")

    def _book_counts(self) -> pl.LazyFrame:
        rows = self._within(self.rows("book")).filter("is_first")
        return rows.group_by(KEY).agg(pl.len().alias("book_messages"), self._newest("book_last"))

    def _quote_counts(self) -> pl.LazyFrame:
        rows = self._within(self.rows("bbo"))
        return rows.group_by(KEY).agg(pl.len().alias("quotes"), self._newest("quote_last"))

    def _trade_counts(self) -> pl.LazyFrame:
        history, duplicate = pl.col("is_history"), pl.col("is_duplicate") & ~pl.col("is_history")
        return (
            self._within(self.rows("trades"))
            .group_by(KEY)
            .agg(
                (~history & ~duplicate).sum().alias("trades_new"),
                history.sum().alias("trades_history"),
                duplicate.sum().alias("trades_duplicate"),
            )
        )

    def _newest(self, name: str) -> pl.Expr:
        # Quotes of another book, and books of aggregated prices, say nothing about this one.
        return pl.col(ts_column(self.clock)).filter("fused").max().alias(name)

    def _within(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        time = pl.col(ts_column(self.clock)).cast(pl.Int64)
        inside = (time <= self.end_ns) if self.counts_end else (time < self.end_ns)
        return rows.filter(inside if self.start_ns is None else inside & (time >= self.start_ns))


def spread_window(
    recording: RecordingLike,
    *,
    pairs: Collection[PairName] | PairName = (),
    venues: Collection[str] | str = (),
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    clock: Clock = "recv",
) -> SpreadWindow:
    """
    Choose pairs and a window of a recording to look at the spreads of.

    Args:
        recording: An open recording, or its folder.
        pairs: Trading pairs, by name or key (`PairKey`), or symbols as the venue spells them; empty: all that have a book.
            A name that several venues have means all of them, a row for each.
        venues: Only of these; empty: all.
        start_ns: Where to start: ns since the Unix epoch, a datetime (without a zone: UTC), or text.
        end_ns: Where to end, likewise; the recording's end if that is earlier, or if None.
        clock: `recv` for our receive time, `event` for the venue's own.

    Raises:
        SymbolError: A pair, or a venue, that has no book in the recording.
        ConfigError: The window is empty, outside of the recording, or no quote has a time on that clock; a venue that the
            recording is not of.
        NotARecording, FormatTooNew, RecordingDamaged: The folder cannot be used.
    """
    start_ns = None if start_ns is None else instant_ns(start_ns, "start_ns")
    end_ns = None if end_ns is None else instant_ns(end_ns, "end_ns")
    opened = sealed_part(recording)
    top = rows_of(opened, "top")
    known = pairs_of(top)
    chosen = choose(known, opened, pairs, venues, error="no book of {} in the recording; pairs with one:")
    last_ns = _last_ns(opened, clock)
    if known.is_empty():
        return SpreadWindow(recording=opened, pairs=known, clock=clock, start_ns=None, end_ns=0, counts_end=True)
    if last_ns is None or (clock == "event" and quote_end_ns(top, clock) is None):
        raise ConfigError(f"no quote of {opened.path} has a time on the {clock} clock")
    if start_ns is not None and start_ns >= last_ns:
        raise ConfigError(f"the window starts at {format_ns(start_ns)}, but the recording ends at {format_ns(last_ns)}")
    is_cut = end_ns is not None and end_ns <= last_ns
    stop_ns = end_ns if end_ns is not None and is_cut else last_ns
    if start_ns is not None and start_ns >= stop_ns:
        raise ConfigError(f"the window ends at {format_ns(stop_ns)}, not after its start at {format_ns(start_ns)}")
    return SpreadWindow(
        recording=opened, pairs=chosen, clock=clock, start_ns=start_ns, end_ns=stop_ns, counts_end=not is_cut
    )


def _last_ns(recording: Recording, clock: Clock) -> int | None:
    """Where the recording ends on a clock: with its last frame, or with the newest thing that the venue spoke of."""
    if clock == "recv":
        return recording_end_ns(recording)
    ends = [quote_end_ns(rows_of(recording, table), clock) for table in ("top", "book", "bbo", "trades")]
    return max((end for end in ends if end is not None), default=None)
