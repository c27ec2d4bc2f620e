"""What a recorder is doing, for programs: `/status.json` and, for Prometheus, `/metrics`, on loopback."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from toolkit.borders import metric_label, shown_json
from toolkit.transport.server import LoopbackServer, Peer, RestRequest, RestResponse

if TYPE_CHECKING:
    from recordings.recorder import Recorder

__all__ = ["StatusPage", "metrics", "status_values"]


def status_values(recorder: Recorder) -> dict[str, Any]:
    """The status as JSON values."""
    status = recorder.status
    lags = sorted(recorder.lags_ns)
    return {
        "folder": str(recorder.options.folder),
        "frames": status.frame_count,
        "frames_written": status.written_count,
        "payload_bytes": status.payload_bytes,
        "pending_bytes": status.pending_bytes,
        "messages": status.message_count,
        "gaps": status.gap_count,
        "reconnects": status.reconnect_count,
        "parse_errors": status.parse_error_count,
        "segment": status.segment,
        "unsealed_segments": status.unsealed,
        "sealing_failures": status.sealing_failures,
        "sealing_problem": status.sealing_problem,
        "disk_free_bytes": status.disk_free,
        "tee_clients": status.tee_clients,
        "tee_cut": status.tee_cut,
        "tasks": len(asyncio.all_tasks()),
        "delay_ms": dict(zip(("p50", "p95", "p99"), status.delays_ms, strict=True)) if status.delays_ms else None,
        "loop_lag_ms": {
            "p50": lags[len(lags) // 2] / 1e6,
            "p99.9": lags[min(len(lags) * 999 // 1000, len(lags) - 1)] / 1e6,
            "max": lags[-1] / 1e6,
        }
        if lags
        else None,
        "venues": [
            {
                "venue": source.venue,
                "state": source.state,
                "error": source.last_error,
                "streams": source.stream_count,
                "stale_streams": source.stale_stream_count,
                "connections": [dataclasses.asdict(connection) for connection in source.connections],
            }
            for source in status.sources
        ],
    }


_COUNTERS = {
    "frames": "Frames written down in this session.",
    "frames_written": "Frames that the operating system has.",
    "payload_bytes": "Bytes of their payloads.",
    "messages": "Normalized messages.",
    "gaps": "Gaps.",
    "reconnects": "Connections made again.",
    "parse_errors": "Frames that were not understood.",
    "sealing_failures": "Times that sealing failed; it is tried again, and recording goes on.",
    "tee_cut": "Followers that were cut off because they were too slow.",
}
_GAUGES = {
    "pending_bytes": "Payload bytes that wait for the disk.",
    "unsealed_segments": "Closed segments that are not sealed yet.",
    "disk_free_bytes": "Bytes free on the disk.",
    "tee_clients": "Followers that are served.",
    "tasks": "Tasks of the event loop.",
}


def metrics(values: dict[str, Any]) -> str:
    """The status in Prometheus' text format."""
    lines: list[str] = []

    def add(name: str, kind: str, text: str, samples: list[tuple[str, float]]) -> None:
        lines.append(f"# HELP tickdeck_{name} {text}")
        lines.append(f"# TYPE tickdeck_{name} {kind}")
        lines.extend(f"tickdeck_{name}{labels} {value}" for labels, value in samples)

    for name, text in _COUNTERS.items():
        add(f"{name}_total", "counter", text, [("", values[name])])
    for name, text in _GAUGES.items():
        add(name, "gauge", text, [("", values[name])])
    for name, text in (
        ("delay_ms", "Receive time less the venue's time."),
        ("loop_lag_ms", "Lag of the receiving loop."),
    ):
        if values[name]:
            samples = [(f'{{quantile="{quantile}"}}', value) for quantile, value in values[name].items()]
            add(name, "gauge", text, samples)
    up, frames, silence, stale, running = [], [], [], [], []
    for venue in values["venues"]:
        running.append((f'{{venue="{metric_label(venue["venue"])}"}}', float(venue["state"] == "running")))
        stale.append((f'{{venue="{metric_label(venue["venue"])}"}}', venue["stale_streams"]))
        for connection in venue["connections"]:
            labels = f'{{venue="{metric_label(venue["venue"])}",role="{metric_label(connection["role"])}"}}'
            up.append((labels, float(connection["state"] == "open")))
            frames.append((labels, connection["frame_count"]))
            if connection["silence_s"] is not None:
                silence.append((labels, connection["silence_s"]))
    add(
        "venue_running",
        "gauge",
        "Whether the venue is recorded: 0 while it is started or waits to be tried again.",
        running,
    )
    add("stale_streams", "gauge", "Streams that cannot be believed now.", stale)
    add("connection_up", "gauge", "Whether the connection is open.", up)
    add("connection_frames_total", "counter", "Messages received.", frames)
    add("connection_silence_seconds", "gauge", "Since the last message.", silence)
    return "\n".join(lines) + "\n"


class StatusPage:
    """Serves the status of a recorder on a loopback port, within an `async with` block."""

    def __init__(self, recorder: Recorder, port: int) -> None:
        self._recorder = recorder
        self._server = LoopbackServer(self, port=port)

    async def __aenter__(self) -> StatusPage:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._server.__aexit__(*exc)

    @property
    def port(self) -> int:
        """The port, also if any was asked for."""
        return self._server.port

    def connected(self, peer: Peer) -> RestResponse | None:
        """No WebSocket is served here."""
        del peer
        return RestResponse(status=404, body=b"no WebSocket here\n", content_type="text/plain")

    def received(self, peer: Peer, payload: str | bytes) -> None:
        """Never called: no client gets in."""

    def disconnected(self, peer: Peer, code: int | None) -> None:
        """Never called: no client gets in."""

    async def request(self, request: RestRequest) -> RestResponse:
        """Answer a page."""
        values = status_values(self._recorder)
        match request.path:
            case "/" | "/status.json":
                text = msgspec.json.format(msgspec.json.encode(values), indent=2).decode()
                return RestResponse(body=shown_json(text).encode())
            case "/metrics":
                return RestResponse(body=metrics(values).encode(), content_type="text/plain")
            case _:
                return RestResponse(status=404, body=b"/status.json or /metrics\n", content_type="text/plain")
