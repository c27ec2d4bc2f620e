"""Spreads, delays and coverage of recordings, in DuckDB and Polars: columns from file to answer."""

from __future__ import annotations

from analysis.accounts.order_reports import ORDERS_SCHEMA, order_report
from analysis.accounts.pnl import PNL_CHECK_SCHEMA, PNL_SCHEMA, PNL_SERIES_SCHEMA, pnl_check, pnl_report, pnl_series
from analysis.accounts.pnl_plot import plot_pnl
from analysis.duckdb_views import VIEWS, connect
from analysis.feed_evidence import FeedEvidence, evidence_of
from analysis.feed_latency import COVERAGE_SCHEMA, LATENCY_SCHEMA, coverage, latency
from analysis.quote_durations import Clock, State, stretches
from analysis.scan_tables import scan
from analysis.spread_buckets import SERIES_SCHEMA, spread_series
from analysis.spread_plots import PANELS_MAX, SpreadPlot, plot_spreads
from analysis.spread_report import REPORT_SCHEMA, SpreadWindow, spread_window
from analysis.spread_summary import SPREAD_SCHEMA, mid_price, quoted_spread, spread_bps, spreads
from analysis.table_source import RecordingLike, open_recording
from toolkit.errors import UnsealedWarning
from toolkit.timing.times import duration_ns, time_ns

__all__ = [
    "COVERAGE_SCHEMA",
    "LATENCY_SCHEMA",
    "ORDERS_SCHEMA",
    "PANELS_MAX",
    "PNL_CHECK_SCHEMA",
    "PNL_SCHEMA",
    "PNL_SERIES_SCHEMA",
    "REPORT_SCHEMA",
    "SERIES_SCHEMA",
    "SPREAD_SCHEMA",
    "VIEWS",
    "Clock",
    "FeedEvidence",
    "RecordingLike",
    "SpreadPlot",
    "SpreadWindow",
    "State",
    "UnsealedWarning",
    "connect",
    "coverage",
    "duration_ns",
    "evidence_of",
    "latency",
    "mid_price",
    "open_recording",
    "order_report",
    "plot_pnl",
    "plot_spreads",
    "pnl_check",
    "pnl_report",
    "pnl_series",
    "quoted_spread",
    "scan",
    "spread_bps",
    "spread_series",
    "spread_window",
    "spreads",
    "stretches",
    "time_ns",
]
