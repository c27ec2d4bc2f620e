"""dYdX v4: perpetuals of the dYdX Chain, through its Indexer."""

from toolkit.venue import VenueLimits, VenueSpec
from toolkit.venues.dydx_v4.market import CHANNELS, DEFAULT_CHANNELS, DydxV4MarketProtocol
from toolkit.venues.dydx_v4.protocol import DydxV4Protocol

__all__ = ["SPECS", "DydxV4MarketProtocol", "DydxV4Protocol"]

SPECS = (
    VenueSpec(
        name="dydx_v4",
        title="dYdX v4",
        ws_url="wss://indexer.dydx.trade/v4/ws",
        rest_url="https://indexer.dydx.trade/v4",
        limits=VenueLimits(
            # The venue's code has no limit per address; this is what 300 markets need, with room.
            connections_max=32,
            connects_per_minute=30,
            messages_per_minute=2000,
            # Counted there per subscription; after a reconnect clients ask for the same ones in bursts.
            messages_per_second=2,
            # 100 requests in 10 s. A window of a minute alone would let 600 through at once, hence less.
            rest_weight_per_minute=300,
        ),
        make_protocol=DydxV4Protocol,
        channels=CHANNELS,
        default_channels=DEFAULT_CHANNELS,
        has_accounts=True,
    ),
)
