"""Spreads, delays and coverage of recordings, in DuckDB and Polars: columns from file to answer."""

from __future__ import annotations

from analysis.connection import VIEWS, connect
from analysis.evidence import FeedEvidence, evidence_of
from analysis.holding import Clock, State, stretches
from analysis.orders import ORDERS_SCHEMA, order_report
from analysis.plots import PANELS_MAX, SpreadPlot, plot_spreads
from analysis.pnl import PNL_CHECK_SCHEMA, PNL_SCHEMA, PNL_SERIES_SCHEMA, pnl_check, pnl_report, pnl_series
from analysis.pnl_plot import plot_pnl
from analysis.reception import COVERAGE_SCHEMA, LATENCY_SCHEMA, coverage, latency
from analysis.scanning import scan
from analysis.series import SERIES_SCHEMA, spread_series
from analysis.source import RecordingLike, open_recording
from analysis.summary import SPREAD_SCHEMA, mid_price, quoted_spread, spread_bps, spreads
from analysis.window import REPORT_SCHEMA, SpreadWindow, spread_window
from toolkit.errors import UnsealedWarning
from toolkit.times import duration_ns, time_ns

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
