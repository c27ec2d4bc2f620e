"""What came of a run: frames, numbers and a picture, of a run that was just made or of a folder."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from recordings.recording import Recording
from replay.ledger.daily_returns import daily_returns
from replay.results.money_metrics import money_metrics
from replay.results.order_lives import Lives, lives_of
from replay.results.result_frames import (
    Tables,
    equity_frame,
    fill_frame,
    order_frame,
    position_frame,
    tables_of,
    tables_on_disk,
)
from replay.results.result_metrics import Metric, as_json, money, percent
from replay.results.result_plot import result_chart
from replay.results.run_info import AccountInfo, RunInfo, read_run, run_info
from replay.results.run_record import RunRecord
from replay.results.run_study import RunStudy
from replay.results.trading_metrics import trading_metrics
from toolkit.borders import html_text, one_line
from toolkit.errors import ConfigError
from toolkit.pictures.vega_lite import check_ending, png, write_chart

__all__ = ["Result", "summary_table", "titled"]


class ForkInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where a run parted from others.

    Attributes:
        at_ns: The instant: what happened before it is common, ns since the epoch, UTC.
        state: Digest of the state there, the same in all runs that parted there.
        strategy: Strategy until then; likewise the rest.
        parameters: Its parameters.
        latency: Latency in words.
        rules: Rules of matching by venue.
    """

    at_ns: int
    state: str
    strategy: str
    parameters: dict[str, Any]
    latency: str
    rules: dict[str, Any]


class Result:
    """
    The result of a run. Made by `Result.of` or `Result.open`.

    Frames are made when they are first asked for. Prices and sizes are Float64, times Datetime("ns") without a zone, in
    UTC; `ts_recv` is when the strategy learned of something, `ts_event` when it happened at the simulated venue.

    Attributes:
        info: Settings and figures of the run, in exact numbers.
        path: Its folder; None where it was not written.
    """

    def __init__(
        self, info: RunInfo, tables: Tables, path: Path | None = None, recordings: Sequence[Recording] = ()
    ) -> None:
        self.info = info
        self.path = path
        # Made once: of a run that is in memory each is put together from its messages.
        self._tables: Tables = cache(tables)
        self._recordings = recordings

    @classmethod
    def of(cls, record: RunRecord, path: Path | None = None, recordings: Sequence[Recording] = ()) -> Result:
        """
        That of a run.

        Args:
            record: The run.
            path: Where it was written, if it was.
            recordings: Recordings that it played, which are measured when that is asked for, if they were not before.
        """
        return cls(run_info(record), tables_of(record), path, recordings)

    @classmethod
    def open(cls, folder: str | Path, recordings: Sequence[Recording] = ()) -> Result:
        """
        That of a folder.

        Args:
            folder: Where it is.
            recordings: Recordings that were played, for a result that was written before they were measured.

        Raises:
            ConfigError: The recording there is not the result of a run.
            NotARecording, FormatTooNew, RecordingDamaged: The folder cannot be used.
        """
        recording = Recording.open(folder, sealed=True)
        if not recording.manifest.is_result:
            raise ConfigError(
                f"{folder} is no result but a recording of its own: run a strategy on it, then open what that wrote"
            )
        info = read_run(recording.manifest.run, str(folder))
        return cls(info, tables_on_disk(recording), recording.path, recordings)

    # -- frames ----------------------------------------------------------------------------------------------------

    @cached_property
    def orders(self) -> pl.DataFrame:
        """A row for each order, as it was in the end; see `result_frames.ORDER_COLUMNS`."""
        return order_frame(self._tables)

    @cached_property
    def fills(self) -> pl.DataFrame:
        """A row for each execution; see `result_frames.FILL_COLUMNS`."""
        return fill_frame(self._tables)

    @cached_property
    def equity(self) -> pl.DataFrame:
        """What accounts were worth: at each execution, and now and then besides; see `result_frames.EQUITY_COLUMNS`."""
        return equity_frame(self._tables)

    @cached_property
    def positions(self) -> pl.DataFrame:
        """The position in each pair whenever it changed; see `result_frames.POSITION_COLUMNS`."""
        return position_frame(self._tables)

    @cached_property
    def decisions(self) -> pl.DataFrame:
        """The decision log: `ts_recv`, `kind`, `cause`, `cause_seq`, `cause_sub`, `text` (JSON) and `chain`."""
        return self._tables("decisions").select("ts_recv", "kind", "cause", "cause_seq", "cause_sub", "text", "chain")

    @cached_property
    def series(self) -> pl.DataFrame:
        """What the strategy recorded: `ts_recv`, `name`, `value`."""
        return self._tables("series").select("ts_recv", "name", "value")

    @cached_property
    def top(self) -> pl.DataFrame:
        """Best prices around what happened; the columns of the table `top`."""
        return self._tables("top")

    def table(self, name: str) -> pl.DataFrame:
        """Any table of the result, with all its columns, in the order of the run. Raises ConfigError if there is none."""
        return self._tables(name)

    # -- numbers ---------------------------------------------------------------------------------------------------

    @cached_property
    def study(self) -> RunStudy | None:
        """What was measured of the market that the run met; None where its recordings are not at hand."""
        if self.info.study is not None or not self._recordings:
            return self.info.study
        from replay.results.market_study import study_of

        return study_of(self.info, self.fills, self._recordings)

    @cached_property
    def lives(self) -> Lives:
        """How orders fared: latency, time to fill, rejections."""
        return lives_of(self._tables, self.info.late_requests)

    @cached_property
    def metrics(self) -> list[Metric]:
        """All numbers, each with its unit, what it means and what it is computed from; what may be doubted first."""
        info, study = self.info, self.study
        return [
            *money_metrics(info, study, self.fills, self.equity),
            *trading_metrics(info, study, self.orders, self.positions, self.lives),
        ]

    def returns(self, wallet: str | None = None) -> pl.DataFrame:
        """
        What became of an account from day to day, UTC; see `daily_returns.daily_returns`.

        Args:
            wallet: Name of the account; None for the only one.

        Raises ConfigError where there is none, or not one.
        """
        account = self.account if wallet is None else self.accounts.get(wallet)
        if account is None:
            raise ConfigError(f"no account {wallet!r}, expected one of {', '.join(self.accounts) or 'none'}")
        return daily_returns(self.equity, account.name, self.info.start_ns, self.info.end_ns)

    @property
    def accounts(self) -> Mapping[str, AccountInfo]:
        """What became of each account, by its name: the currency, with the venue before it where there are several."""
        return {account.name: account for account in self.info.accounts}

    @property
    def account(self) -> AccountInfo:
        """The only account. Raises ConfigError where there are several, or none."""
        if len(self.info.accounts) != 1:
            names = ", ".join(self.accounts) or "none"
            raise ConfigError(f"the run has {len(self.info.accounts)} accounts ({names}): choose one of `accounts`")
        return self.info.accounts[0]

    @property
    def fork(self) -> ForkInfo | None:
        """Where the run parted from others, and the state that all of them had there; None where it did not."""
        said = self.info.settings.get("fork")
        return None if said is None else msgspec.convert(said, ForkInfo)

    @property
    def net_profit(self) -> Decimal:
        """Of the only account, exactly; see `account`."""
        return self.account.net

    @property
    def fees(self) -> Decimal:
        """Likewise; positive: paid."""
        return self.account.fees

    @property
    def max_drawdown(self) -> Decimal:
        """Likewise: deepest fall of equity below its highest value before, positive."""
        return self.account.drawdown_max

    @property
    def doubtful_time_share(self) -> float:
        """Share of the time that rests on doubtful data."""
        return self.info.doubtful_time_share

    def summary(self) -> dict[str, Any]:
        """What was run and every number, for programs: JSON values, exact amounts as text."""
        return {
            "strategy": self.info.strategy,
            "kind": self.info.kind,
            "result": None if self.path is None else str(self.path),
            "parameters": dict(self.info.parameters),
            "seed": self.info.seed,
            "log_digest": self.info.log_digest,
            "metrics": [as_json(metric) for metric in self.metrics],
        }

    # -- pictures --------------------------------------------------------------------------------------------------

    def plot(self, path: str | Path | None = None) -> Picture:
        """
        Draw fills on the price, the position and the profit.

        Args:
            path: Where to write it, `.png` or `.html`; None to look at it in a notebook.

        Raises ConfigError for another ending, or a file that cannot be written.
        """
        if path is not None:
            check_ending(Path(path))
        picture = Picture(result_chart(self))
        if path is not None:
            picture.save(path)
        return picture

    def report(self, path: str | Path, picture: str | Path | None = None, *, beside: Sequence[Result] = ()) -> None:
        """
        Write a report: a web page with everything in it, which loads nothing.

        Args:
            path: The page, `.html`.
            picture: Its charts, `.png`; None: only the page.
            beside: Other results to set beside this one.

        Raises ConfigError for another ending, or a file that cannot be written.
        """
        from replay.results.report_page import write_report

        write_report([self, *beside], Path(path), None if picture is None else Path(picture))

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr title="{html_text(metric.definition)}"><td>{html_text(title)}</td>'
            f'<td style="text-align:right">{html_text(metric.text)}</td></tr>'
            for title, metric in titled(self.metrics)
        )
        from replay.results.report_sections import doubt_line, gap_lines

        first = [doubt_line(self.info), *gap_lines(self)]
        doubt = "".join(f"<p><b>{html_text(line)}</b></p>" for line in first)
        image = b64encode(self.plot().png()).decode()
        return (
            f"<div>{doubt}<p>{html_text(repr(self))}</p><table>{rows}</table>"
            f'<img alt="fills, position and profit" style="max-width:100%" src="data:image/png;base64,{image}"></div>'
        )

    def _mime_(self) -> tuple[str, str]:
        """As marimo asks for it."""
        return "text/html", self._repr_html_()

    def __repr__(self) -> str:
        info = self.info
        nets = ", ".join(f"net {money(account.net)} {account.asset}" for account in info.accounts) or "no account"
        doubt = f"{percent(info.doubtful_time_share)} of time doubtful"
        return one_line(f"<Result {info.strategy} {info.kind}: {nets}, {info.fill_count:,} fills, {doubt}>")


class Picture:
    """A picture that shows itself in a notebook. `chart` is its Vega-Lite specification."""

    def __init__(self, chart: dict[str, Any]) -> None:
        self.chart = chart

    def png(self) -> bytes:
        """As a PNG."""
        return png(self.chart)

    def save(self, path: str | Path) -> None:
        """Write it; the name ends in `.png` or `.html`. Raises ConfigError."""
        write_chart(self.chart, Path(path))

    def _repr_png_(self) -> bytes:
        return self.png()

    def __repr__(self) -> str:
        return f"<Picture of {len(self.chart['vconcat'])} panels>"


def summary_table(result: Result) -> list[tuple[str, str]]:
    """Names and values of the numbers, as lines of text; what may be doubted first."""
    head = [("strategy", _run(result.info))]
    tail = [("decision log", f"{result.info.decisions:,} rows, digest {result.info.log_digest}")]
    lines = [(title, metric.text) for title, metric in titled(result.metrics)]
    return [*head, *lines, *(tail if result.info.decisions else [])]


def _run(info: RunInfo) -> str:
    parameters = ", ".join(f"{name}={value}" for name, value in info.parameters.items())
    return f"{info.strategy} ({parameters})" if parameters else info.strategy


def titled(metrics: Sequence[Metric]) -> list[tuple[str, Metric]]:
    """Metrics by their titles, with the account's name, where a number is of one of several."""
    wallets = {metric.wallet for metric in metrics if metric.name == "net_profit"}
    return [
        (f"{metric.title}, {metric.wallet}" if metric.wallet in wallets and len(wallets) > 1 else metric.title, metric)
        for metric in metrics
    ]
