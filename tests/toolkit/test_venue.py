"""How the venues are found."""

from __future__ import annotations

import pytest

from toolkit.errors import ConfigError
from toolkit.protocol import ProtocolOptions, VenueProtocol
from toolkit.venue import find_venue, venues


def test_every_venue_says_who_it_is() -> None:
    """Under its own name, with URLs that hide nothing, and channels that it knows."""
    assert list(venues()) == sorted(venues())
    assert "hyperliquid" in venues()
    for name, spec in venues().items():
        protocol = spec.make_protocol(ProtocolOptions())
        assert isinstance(protocol, VenueProtocol)
        assert spec.name == name == protocol.venue
        assert spec.ws_url.startswith("wss://")
        assert spec.rest_url.startswith("https://")
        assert spec.default_channels
        assert set(spec.default_channels) <= {channel.partition(":")[0] for channel in spec.channels}


def test_an_unknown_venue_is_said_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"^unknown venue 'hyperlqid', expected one of .*; did you mean hyperliquid\?$"
    ):
        find_venue("hyperlqid")
    with pytest.raises(ConfigError, match=r"^unknown venue 'zzz', expected one of [a-z0-9_, -]+$"):
        find_venue("zzz")
