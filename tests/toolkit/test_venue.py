"""How the venues are found."""

from __future__ import annotations

import subprocess
import sys

import pytest

from toolkit.errors import ConfigError
from toolkit.protocol import ProtocolOptions, VenueProtocol
from toolkit.venue import find_venue, is_venue, venues


def test_every_venue_says_who_it_is() -> None:
    """Under its own name, with URLs that hide nothing, and channels that it knows."""
    assert list(venues()) == sorted(venues())
    assert "hyperliquid" in venues()
    for name, spec in venues().items():
        protocol = spec.make_protocol(ProtocolOptions())
        assert isinstance(protocol, VenueProtocol)
        assert spec.name == name == protocol.venue
        assert find_venue(name) is spec
        assert is_venue(name)
        assert spec.ws_url.startswith("wss://")
        assert spec.rest_url.startswith("https://")
        assert spec.default_channels
        assert set(spec.default_channels) <= {channel.partition(":")[0] for channel in spec.channels}


def test_only_the_package_of_the_venue_is_loaded() -> None:
    """Every command pays for what it loads."""
    program = (
        "import sys; from toolkit.venue import find_venue; find_venue('hyperliquid');"
        "print(sorted({name.split('.')[2] for name in sys.modules if name.startswith('toolkit.venues.')}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['hyperliquid']\n"


def test_what_is_no_venue_is_none() -> None:
    assert not any(map(is_venue, ("", "zzz", "binance", "binance-", "hyperliquid2", "BTC-USD")))


def test_an_unknown_venue_is_said_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"^unknown venue 'hyperlqid', expected one of .*; did you mean hyperliquid\?$"
    ):
        find_venue("hyperlqid")
    with pytest.raises(ConfigError, match=r"^unknown venue 'zzz', expected one of [a-z0-9_, -]+$"):
        find_venue("zzz")
