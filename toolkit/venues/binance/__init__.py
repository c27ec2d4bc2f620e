"""Binance: spot, USD-M and COIN-M futures."""

from toolkit.venue import VenueSpec
from toolkit.venues.binance.market import (
    BinanceCoinMProtocol,
    BinanceMarketProtocol,
    BinanceSpotProtocol,
    BinanceUsdMProtocol,
)
from toolkit.venues.binance.whose_frames import venue_of

__all__ = ["SPECS", "BinanceCoinMProtocol", "BinanceMarketProtocol", "BinanceSpotProtocol", "BinanceUsdMProtocol"]

SPECS = tuple(
    VenueSpec(
        name=protocol.product.venue,
        title=protocol.product.title,
        ws_url=protocol.product.ws_url,
        rest_url=protocol.product.rest_url,
        limits=protocol.product.limits,
        make_protocol=protocol,
        channels=protocol.product.channels,
        default_channels=protocol.product.default_channels,
        venue_of=venue_of,
    )
    for protocol in (BinanceSpotProtocol, BinanceUsdMProtocol, BinanceCoinMProtocol)
)
