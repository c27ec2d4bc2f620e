"""
What differs between Binance's three markets: addresses, limits, rules of the book, and which streams there are.

Since 2026-04-23 the streams of USD-M futures are split over two routes, and one connection is one route. A stream
asked for on the wrong one is acknowledged and never sends anything, so every channel says here which route is its
own. COIN-M and spot have one route.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from toolkit.errors import ConfigError
from toolkit.protocol import Heartbeat
from toolkit.venue import VenueLimits

__all__ = ["COINM", "PRODUCTS", "SPOT", "USDM", "Channel", "Product", "parse_channels"]

PUBLIC: Final = "public"
MARKET: Final = "market"


@dataclass(frozen=True, slots=True)
class Channel:
    """
    A kind of subscription of one instrument.

    Attributes:
        name: Name in the user's words: `full:0ms`, `depth20`, `bbo`, ...
        stream: Name of the stream in messages: `full`, `depth20`, `bbo`, ...
        suffix: The venue's words for it, after the symbol; empty for what is asked for by REST.
        route: Route that carries it.
        first_s_max: Longest normal wait for its first frame, seconds; 0 where silence says nothing.
        silence_s_max: Longest normal silence after that, seconds; 0 likewise.
    """

    name: str
    stream: str
    suffix: str
    route: str
    first_s_max: float
    silence_s_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """
    One of the markets.

    Attributes:
        venue: Name of the venue here.
        title: Name that people use.
        ws_url: Its WebSocket.
        rest_url: Its REST interface.
        rest_prefix: Path of the requests on it.
        paths: Path of the combined streams of each route.
        is_spot: Spot, or else futures.
        product_class: The `st` of its messages: arrays of the whole market hold both kinds of futures.
        snapshot_levels: Levels a side of the snapshot that diffs are joined to.
        snapshot_weight: Weight of that request.
        diff_speeds: Suffix of the diff stream by its speed, the default first.
        partial_speeds: Speeds of the partial books, the default first.
        default_channels: Recorded by default.
        limits: Limits of the venue.
    """

    venue: str
    title: str
    ws_url: str
    rest_url: str
    rest_prefix: str
    paths: dict[str, str]
    is_spot: bool
    product_class: int
    snapshot_levels: int
    snapshot_weight: int
    diff_speeds: dict[str, str]
    partial_speeds: tuple[str, ...]
    default_channels: tuple[str, ...]
    limits: VenueLimits

    @property
    def channels(self) -> dict[str, str]:
        """Every channel, and what it is, for people."""
        speeds = ", ".join(f"full:{speed}" for speed in self.diff_speeds)
        known = {
            "full": f"diffs of the whole book, joined to a REST snapshot; by speed {speeds}",
            "depth5": "the best 5 levels, whole (also depth10, depth20, depth20:500ms, ...)",
            "bbo": "bookTicker: best bid and ask, on every change",
            "trades": "trades, one by one",
            "agg_trades": "aggTrade: trades of one taker order at one price as one",
        }
        if not self.is_spot:
            known |= {
                "funding": "markPrice@1s: mark and index price, funding rate",
                "liquidations": "forceOrder: the latest liquidation order of each second",
                "open_interest": "open interest, asked for every minute",
            }
        return known


#: The venue pings every 20 s (spot) or 3 min (futures), which the transport answers; ours show sooner that it is gone.
#: A ping counts as one of the 5 messages a second.
HEARTBEAT: Final = Heartbeat(ping_text=None, interval_s=20.0, idle_s_max=45.0)

#: "IP bans are tracked and scale in duration for repeat offenders, from 2 minutes to 3 days" (the venue's page of limits).
BAN_S_MAX: Final = 3 * 24 * 3600.0

SPOT: Final = Product(
    venue="binance-spot",
    title="Binance spot",
    ws_url="wss://stream.binance.com:9443",
    rest_url="https://api.binance.com",
    rest_prefix="/api/v3",
    paths={PUBLIC: "/stream"},
    is_spot=True,
    product_class=0,
    snapshot_levels=5000,
    snapshot_weight=250,
    diff_speeds={"100ms": "depth@100ms", "1000ms": "depth"},
    partial_speeds=("100ms", "1000ms"),
    default_channels=("full", "bbo", "trades"),
    # 300 connection attempts in 5 minutes per address; 5 messages a second per connection, and one is kept free
    # for the answer to a ping; 6000 of weight a minute.
    limits=VenueLimits(
        connections_max=100,
        connects_per_minute=50,
        messages_per_minute=12_000,
        messages_per_second=4,
        rest_weight_per_minute=5000,
        ban_s_max=BAN_S_MAX,
    ),
)
_FUTURES_DIFFS: Final = {"100ms": "depth@100ms", "0ms": "depth@0ms", "250ms": "depth", "500ms": "depth@500ms"}
# aggTrade and not trade: the latter is undocumented on futures, and sources disagree on the route that carries it.
_FUTURES_CHANNELS: Final = ("full", "bbo", "agg_trades", "funding", "liquidations")
_FUTURES_LIMITS: Final = VenueLimits(
    connections_max=100,
    connects_per_minute=50,
    messages_per_minute=12_000,
    messages_per_second=8,
    rest_weight_per_minute=2000,
    ban_s_max=BAN_S_MAX,
)
USDM: Final = Product(
    venue="binance-usdm",
    title="Binance USD-M futures",
    ws_url="wss://fstream.binance.com",
    rest_url="https://fapi.binance.com",
    rest_prefix="/fapi/v1",
    paths={PUBLIC: "/public/stream", MARKET: "/market/stream"},
    is_spot=False,
    product_class=1,
    snapshot_levels=1000,
    snapshot_weight=20,
    diff_speeds=_FUTURES_DIFFS,
    partial_speeds=("100ms", "250ms", "500ms"),
    default_channels=_FUTURES_CHANNELS,
    limits=_FUTURES_LIMITS,
)
COINM: Final = Product(
    venue="binance-coinm",
    title="Binance COIN-M futures",
    ws_url="wss://dstream.binance.com",
    rest_url="https://dapi.binance.com",
    rest_prefix="/dapi/v1",
    paths={PUBLIC: "/stream"},
    is_spot=False,
    product_class=2,
    snapshot_levels=1000,
    snapshot_weight=20,
    diff_speeds=_FUTURES_DIFFS,
    partial_speeds=("100ms", "250ms", "500ms"),
    default_channels=_FUTURES_CHANNELS,
    limits=_FUTURES_LIMITS,
)
PRODUCTS: Final = (SPOT, USDM, COINM)

#: First data of a quiet instrument may take its time; what is on the wrong route takes for ever.
_FIRST_S_MAX: Final = {"full": 60.0, "depth": 30.0, "bbo": 60.0, "trades": 600.0, "agg_trades": 600.0, "funding": 15.0}
#: Partial books and the mark price come at a steady pace. Diffs and quotes of a quiet instrument do not: a stream of
#: diffs that was silent for this long costs one snapshot more if it speaks again.
_SILENCE_S_MAX: Final = {"full": 60.0, "depth": 30.0, "funding": 15.0}
_WIRE: Final = {
    "bbo": ("bookTicker", PUBLIC),
    "trades": ("trade", PUBLIC),
    "agg_trades": ("aggTrade", MARKET),
    "funding": ("markPrice@1s", MARKET),
    "liquidations": ("forceOrder", MARKET),
    "open_interest": ("", MARKET),
}
_PARTIAL: Final = ("depth5", "depth10", "depth20")


def parse_channels(product: Product, names: Sequence[str]) -> tuple[Channel, ...]:
    """
    The channels of those names.

    Raises ConfigError for an unknown one, and for two that would fill the same stream.
    """
    channels = tuple(_channel(product, name) for name in names)
    taken: dict[str, str] = {}
    for channel in channels:
        other = taken.setdefault(channel.stream, channel.name)
        if other != channel.name:
            raise ConfigError(f"channels {other} and {channel.name} are one book at two speeds: record one of them")
    return tuple(dict.fromkeys(channels))


def _channel(product: Product, name: str) -> Channel:
    head, _, speed = name.partition(":")
    if head == "full" and (not speed or speed in product.diff_speeds):
        suffix = product.diff_speeds[speed or next(iter(product.diff_speeds))]
        return Channel(name, "full", suffix, PUBLIC, _FIRST_S_MAX["full"], _SILENCE_S_MAX["full"])
    if head in _PARTIAL and (not speed or speed in product.partial_speeds):
        speed = speed or product.partial_speeds[0]
        # 1000 ms on spot and 250 ms on futures are what the venue sends when no speed is said.
        is_plain = speed == ("1000ms" if product.is_spot else "250ms")
        suffix = head if is_plain else f"{head}@{speed}"
        return Channel(name, head, suffix, PUBLIC, _FIRST_S_MAX["depth"], _SILENCE_S_MAX["depth"])
    if name in product.channels and name in _WIRE:
        suffix, route = _WIRE[name]
        if route not in product.paths:
            route = PUBLIC
        return Channel(name, name, suffix, route, _FIRST_S_MAX.get(name, 0.0), _SILENCE_S_MAX.get(name, 0.0))
    known = ", ".join(product.channels)
    raise ConfigError(
        f"{product.venue} has no channel {name!r}, expected one of {known}, and full:<speed> with "
        f"{', '.join(product.diff_speeds)} or depth5|10|20:<speed> with {', '.join(product.partial_speeds)}"
    )
