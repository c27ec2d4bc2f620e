"""What a step function may call, compiled: numba takes these forms of the functions of `actions.py`."""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import overload

from replay.fast import kernel_view
from replay.fast.actions import (
    GTC,
    IOC,
    POST_ONLY,
    WHOLE_MAX,
    amend,
    cancel,
    cancel_all,
    keep,
    level,
    open_count,
    own,
    price_to_fill,
    send,
    size_within,
    take,
    whole,
    woken_pair,
)

__all__: list[str] = []

# numba compares names and annotations of these with those of what they return: they have none.


@overload(whole)
def _whole_of(value):
    if isinstance(value, types.Float):
        return _whole_of_float
    return lambda value: np.int64(value)  # noqa: PLW0108  # numba compiles this one


def _whole_of_float(value):
    if not (np.floor(value) == value and abs(value) < WHOLE_MAX):
        raise ValueError("no whole number")
    return np.int64(value)


@overload(send)
def _send(act, pair, side, tick, lots, tif=GTC, tag=0, reduce=0):
    made = kernel_view.send_order
    return lambda act, pair, side, tick, lots, tif=GTC, tag=0, reduce=0: made(
        act,
        whole(pair),
        whole(side),
        whole(tick),
        whole(lots),
        whole(tif),
        np.int64(0),
        whole(reduce),
        whole(tag),
    )


@overload(take)
def _take(act, pair, side, lots, tag=0, reduce=0):
    made = kernel_view.send_order
    return lambda act, pair, side, lots, tag=0, reduce=0: made(
        act,
        whole(pair),
        whole(side),
        np.int64(0),
        whole(lots),
        np.int64(IOC),
        np.int64(1),
        whole(reduce),
        whole(tag),
    )


@overload(keep)
def _keep(act, pair, tag, side, tick, lots, tif=POST_ONLY):
    made = kernel_view.keep_order
    return lambda act, pair, tag, side, tick, lots, tif=POST_ONLY: made(
        act, whole(pair), whole(tag), whole(side), whole(tick), whole(lots), whole(tif)
    )


@overload(amend)
def _amend(act, place, tick, lots):
    made = kernel_view.amend_order
    return lambda act, place, tick, lots: made(act, whole(place), whole(tick), whole(lots))


@overload(cancel)
def _cancel(act, place):
    made = kernel_view.cancel_order
    return lambda act, place: made(act, whole(place))


@overload(cancel_all)
def _cancel_all(act, pair=-1):
    made = kernel_view.cancel_all_orders
    return lambda act, pair=-1: made(act, whole(pair))


@overload(open_count)
def _open_count(act):
    made = kernel_view.order_count
    return lambda act: made(act)  # noqa: PLW0108  # numba compiles this one


@overload(own)
def _own(act, place):
    made = kernel_view.order_at
    return lambda act, place: made(act, whole(place))


@overload(woken_pair)
def _woken_pair(act):
    return lambda act: act.clock[0]["pair"]


@overload(level)
def _level(act, pair, side, place):
    made = kernel_view.level_of
    return lambda act, pair, side, place: made(act, whole(pair), whole(side), whole(place))


@overload(size_within)
def _size_within(act, pair, side, ticks):
    made = kernel_view.size_near
    return lambda act, pair, side, ticks: made(act, whole(pair), whole(side), whole(ticks))


@overload(price_to_fill)
def _price_to_fill(act, pair, side, lots):
    made = kernel_view.price_of_fill
    return lambda act, pair, side, lots: made(act, whole(pair), whole(side), whole(lots))
