"""The live side: one venue's protocol driven from its sockets."""

from toolkit.live.source import LiveDataSource
from toolkit.live.status import ConnectionStatus, LinkState, SourceStatus

__all__ = ["ConnectionStatus", "LinkState", "LiveDataSource", "SourceStatus"]
