"""The live side: one venue's protocol driven from its sockets."""

from toolkit.live.fleet import Fleet
from toolkit.live.source import LiveDataSource
from toolkit.live.status import ConnectionStatus, LinkState, SourceState, SourceStatus

__all__ = ["ConnectionStatus", "Fleet", "LinkState", "LiveDataSource", "SourceState", "SourceStatus"]
