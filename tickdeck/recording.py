"""A recording with everything that can be asked of it, and the functions that a program begins with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from os import PathLike
from typing import Any

import duckdb
import polars as pl

import analysis
from analysis.duckdb_views import check_single
from recordings.queries.gaps import find_gaps
from recordings.reading.selecting import select_in
from recordings.recording import Recording as StoredRecording
from replay.source import Fidelity, ReplayDataSource
from toolkit.clock import format_ns
from toolkit.dispatch import MessageCallback
from toolkit.errors import ConfigError
from toolkit.keys import PairName
from toolkit.timing.times import Instant, Pace, instant_ns

__all__ = ["Recording", "open", "replay"]

#: One recording: open, or its folder.
RecordingLike = StoredRecording | str | PathLike[str]


class Recording(StoredRecording):
    """
    A recording, opened by `tickdeck.open`.

    It is a `recordings.recording.Recording` as every function takes it, with the questions that people ask of one:

    - `pairs`, `venues`, `keys`, `span`, `gaps` say what is in it;
    - `quotes()`, `trades()` and `scan(table)` are its rows as Polars LazyFrames, `sql(query)` answers in SQL;
    - `replay()` is a data source that plays it.

    Attributes:
        path: Its folder.
        manifest: Manifest of the recording: of the sealed part.
    """

    @property
    def pairs(self) -> list[str]:
        """
        Names of its trading pairs, in alphabetical order, each once; `keys` has venue and pair of every instrument.

        A tail that is not sealed is played for it. Raises RecordingError.
        """
        return sorted({key.trading_pair for key in self.keys})

    @property
    def venues(self) -> list[str]:
        """Names of the venues that were recorded, in the order in which they were named."""
        return [source.venue for source in self.manifest.sources]

    @property
    def gaps(self) -> pl.DataFrame:
        """
        The stretches that it is missing, a row each, as `tickdeck.find_gaps` explains them; none: an empty frame.

        Raises RecordingError.
        """
        return find_gaps(self)

    def scan(
        self,
        table: str,
        *,
        pairs: Collection[PairName] | PairName = (),
        venues: Collection[str] | str = (),
        start_ns: Instant | None = None,
        end_ns: Instant | None = None,
    ) -> pl.LazyFrame:
        """
        One table, lazily: only the columns and row groups that a query needs are read.

        Args:
            table: `raw`, `book`, `trades`, `bbo`, `funding`, `events`, `top` or another table of the format, or `quotes`.
            pairs: Only these pairs, by name or key (`PairKey`), or symbols as the venue spells them; empty: all.
            venues: Only of these; empty: all.
            start_ns: Only rows received at this time or later: ns, a datetime (without a zone: UTC), or text.
            end_ns: Only rows received before this time.

        Returns:
            The columns of `recordings/FORMAT.md`, as `tickdeck.scan` gives them, without `recording`. Prices and sizes
            are Float64, times Datetime("ns") in UTC. Rows of one instrument are in the order of capture.

        Raises:
            ConfigError: There is no such table, its rows are of no pair, nothing is of a venue, or the recording has no
                time between start and end.
            SymbolError: A pair that is not in the recording.
            RecordingError: The recording cannot be used.
        """
        rows = analysis.scan(self, table).drop("recording")
        if pairs or venues:
            rows = rows.filter(_is_of(self, rows, table, pairs, venues))
        start, end = _window(self, start_ns, end_ns)
        received = pl.col("ts_recv").cast(pl.Int64)
        if start is not None:
            rows = rows.filter(received >= start)
        return rows if end is None else rows.filter(received < end)

    def quotes(
        self,
        *,
        pairs: Collection[PairName] | PairName = (),
        venues: Collection[str] | str = (),
        start_ns: Instant | None = None,
        end_ns: Instant | None = None,
    ) -> pl.LazyFrame:
        """
        Best bid and ask of the fused book at each change, with `mid`, `spread` (quote currency) and `spread_bps`.

        A row where `is_stale` says when the quote before it ceased to hold. The arguments, what is returned and what is
        raised are those of `scan`, which is asked for `quotes`.
        """
        return self.scan("quotes", pairs=pairs, venues=venues, start_ns=start_ns, end_ns=end_ns)

    def trades(
        self,
        *,
        pairs: Collection[PairName] | PairName = (),
        venues: Collection[str] | str = (),
        start_ns: Instant | None = None,
        end_ns: Instant | None = None,
        with_history: bool = False,
        with_duplicates: bool = False,
    ) -> pl.LazyFrame:
        """
        Trades with `price`, `size` and `aggressor_side`, the taker's.

        Args:
            pairs: Pairs as for `scan`, which says what is returned and raised; so are the next three.
            venues: Only of these.
            start_ns: Only those received at this time or later.
            end_ns: Only those received before this time.
            with_history: Also those from before the subscription, which the venue sent at its beginning.
            with_duplicates: Also those that were sent before.
        """
        rows = self.scan("trades", pairs=pairs, venues=venues, start_ns=start_ns, end_ns=end_ns)
        if not with_history:
            rows = rows.filter(~pl.col("is_history"))
        return rows if with_duplicates else rows.filter(~pl.col("is_duplicate"))

    def sql(self, query: str, /, **frames: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
        """
        The answer to a query in DuckDB's SQL.

        Args:
            query: One query over the views that `tickdeck.connect` explains: a view for each table, `quotes` and `gaps`.
            frames: Frames of your own, each under the name that the query has for it.

        Raises:
            ConfigError: The query has several statements with a result, or none; a frame has the name of a view.
            RecordingError: The recording cannot be used.
            duckdb.Error: DuckDB does not take the query; it says why.
        """
        with analysis.connect(self) as connection:
            views = {view.lower() for view in analysis.VIEWS}
            for name, frame in frames.items():
                if name.lower() in views:
                    raise ConfigError(
                        f"a frame is called {name!r}, as a view of the recording is: give it another name"
                    )
                connection.register(name, frame.collect() if isinstance(frame, pl.LazyFrame) else frame)
            check_single(connection, query)
            relation: duckdb.DuckDBPyRelation | None = connection.sql(query)
            answer: pl.DataFrame = pl.DataFrame() if relation is None else relation.pl()
            return answer

    def replay(
        self,
        on_message: MessageCallback | None = None,
        *,
        trading_pairs: Collection[PairName] | PairName | None = None,
        venues: Collection[str] | str | None = None,
        channels: Collection[str] | None = None,
        start_ns: Instant | None = None,
        end_ns: Instant | None = None,
        speed: Pace = None,
        fidelity: Fidelity = "normalized",
        **options: Any,
    ) -> ReplayDataSource:
        """
        A data source that plays this recording; `tickdeck.replay` explains the arguments.

        Raises as `ReplayDataSource` does.
        """
        return replay(
            self,
            on_message,
            trading_pairs=trading_pairs,
            venues=venues,
            channels=channels,
            start_ns=start_ns,
            end_ns=end_ns,
            speed=speed,
            fidelity=fidelity,
            **options,
        )


def _window(
    recording: StoredRecording, start_ns: Instant | None, end_ns: Instant | None
) -> tuple[int | None, int | None]:
    """Both ends of a window of receive times in ns. Raises ConfigError where the recording has nothing between them."""
    if start_ns is None and end_ns is None:
        return None, None
    span = recording.span
    near = None if span is None else span[1]
    start = None if start_ns is None else instant_ns(start_ns, "start_ns", near_ns=near)
    end = None if end_ns is None else instant_ns(end_ns, "end_ns", near_ns=near)
    if start is not None and end is not None and end <= start:
        raise ConfigError(f"the window ends at {format_ns(end)}, not after its start at {format_ns(start)}")
    if span is not None and ((start is not None and start > span[1]) or (end is not None and end <= span[0])):
        said = (
            f"starts at {format_ns(start)}"
            if start is not None and start > span[1]
            else f"ends at {format_ns(end or 0)}"
        )
        raise ConfigError(
            f"the window {said}, but the recording goes from {format_ns(span[0])} to {format_ns(span[1])}"
        )
    return start, end


def _is_of(
    recording: StoredRecording,
    rows: pl.LazyFrame,
    table: str,
    pairs: Collection[PairName] | PairName,
    venues: Collection[str] | str,
) -> pl.Expr:
    """Whether a row is of one of the instruments; symbols are compared, by which row groups are skipped."""
    selection = select_in([recording], trading_pairs=pairs or None, venues=venues or None)
    assert selection is not None  # something was named
    if "symbol" not in rows.collect_schema():
        if pairs:
            raise ConfigError(f"rows of {table} are of no instrument: scan it whole, or filter it by its own columns")
        return pl.col("venue").is_in(sorted(selection.venues))
    # Events without a symbol speak of a whole connection, and so of its pairs too.
    whole = [""] if table == "events" else []
    of_venue = {
        venue: sorted(symbol for of, symbol in selection.symbols if of == venue) + whole for venue in selection.venues
    }
    wanted = [(pl.col("venue") == venue) & pl.col("symbol").is_in(symbols) for venue, symbols in of_venue.items()]
    return pl.any_horizontal(wanted) if wanted else pl.lit(False)


def open(path: str | PathLike[str], *, sealed: bool = False) -> Recording:
    """
    Open the folder of a recording, finished or still being recorded.

    Args:
        path: The folder.
        sealed: Leave out what is not sealed yet.

    Raises:
        NotARecording: It is none.
        FormatTooNew: A newer tickdeck wrote it.
        RecordingDamaged: Its manifest cannot be read.
        ConfigError: It is no path, but a list of several, say.
    """
    return Recording.open(path, sealed=sealed)


def replay(
    recordings: RecordingLike | Sequence[RecordingLike],
    on_message: MessageCallback | None = None,
    *,
    trading_pairs: Collection[PairName] | PairName | None = None,
    venues: Collection[str] | str | None = None,
    channels: Collection[str] | None = None,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    speed: Pace = None,
    fidelity: Fidelity = "normalized",
    **options: Any,
) -> ReplayDataSource:
    """
    A data source that plays a recording, or several as one, through the code that ran live.

    `source.play()` plays it in a script, `async with source` in an event loop. `source.tracker` has the books, up to
    date before a callback receives a message, `source.clock` the time, and `source.player` pauses, steps and seeks.

    Args:
        recordings: The recording, open or its folder; or several, merged by receive time.
        on_message: Called with every message, in the order of capture.
        trading_pairs: Only these pairs, by name or key (`PairKey`), or symbols as the venue spells them; None: all.
        venues: Only of these; None: all.
        channels: Only these kinds of messages (`book`, `trades`, ...), and events; None: all.
        start_ns: Begin at this time, with the books as they are then: ns, a datetime (without a zone: UTC), or text.
        end_ns: End before this time.
        speed: How many times as fast as recorded, as a number or as text (`10x`); None: as fast as possible.
        fidelity: `normalized` reads the messages back from their columns, `raw` runs the protocols over the frames.
        options: Further ones of `ReplayDataSource`: `loop`, `sealed`, `with_digest`, `batch_rows`, `pacer`.

    Raises:
        ConfigError, SymbolError, RecordingError: As `ReplayDataSource` does, when it is first used.
    """
    source = ReplayDataSource(
        recordings,
        trading_pairs=trading_pairs,
        venues=venues,
        channels=channels,
        start_ns=start_ns,
        end_ns=end_ns,
        speed=speed,
        fidelity=fidelity,
        **options,
    )
    if on_message is not None:
        source.set_message_callback(on_message)
    return source
