"""
`from toolkit.books.tracker import OrderBookTracker`, for programs outside of this project: the module is `toolkit.books.tracker`.

Code that drives a protocol by hand needs it beside `toolkit.protocol` and `toolkit.venue`.
"""

from toolkit.books.tracker import OrderBookTracker, PairState, TrackerState

__all__ = ["OrderBookTracker", "PairState", "TrackerState"]
