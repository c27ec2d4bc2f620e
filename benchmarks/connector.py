"""`connector`: a recording with accounts through the full connector, against a bare callback. Also `python -m benchmarks.connector`."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from benchmarks.harness import Figure, Options, machine, measure, show
from recordings.format.manifest import Manifest, SourceInfo, write_manifest
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.normalizer import Normalizer
from replay.serving.venues.hyperliquid.synthetic.venue import Session, SyntheticHyperliquid
from replay.source import FIDELITIES, Fidelity, ReplayDataSource
from replay.synthetic.market import Market, MarketOptions
from replay.synthetic.traders import AccountsOptions
from toolkit.accounts.connector_events import BookUpdated
from toolkit.clock import NS_PER_S
from toolkit.frames import CONTROL, REST_IN, WS_IN, WS_OUT, Frame, control_payload
from toolkit.messages import Message, UserStreamMessage
from toolkit.protocol import ProtocolOptions, Request, RestCall, SendText
from toolkit.venues.hyperliquid.connector import HyperliquidPerpetualConnector
from toolkit.venues.hyperliquid.protocol import HyperliquidProtocol

__all__ = ["run"]

PAIRS: Final = ("BTC-USD", "ETH-USD", "SOL-USD", "kPEPE-USD", "HYPE-USDC")
#: Frames that one block gives, roughly.
_FRAMES_PER_BLOCK: Final = 12
_START_NS: Final = 1_785_000_000 * NS_PER_S


class _Bare:
    """A callback that does next to nothing."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, message: Message) -> None:
        """Take one message."""
        self.count += 1


class _Driver:
    """The synthetic venue and a protocol, without sockets: makes the frames that a live session would have."""

    def __init__(self, options: ProtocolOptions, venue: SyntheticHyperliquid) -> None:
        self.protocol = HyperliquidProtocol(options)
        self.venue = venue
        self._sessions: list[Session] = []
        self._now = _START_NS
        self._seq = 0
        self._calls: deque[RestCall] = deque()

    def frames(self, blocks: int) -> Iterator[Frame]:
        """Connect, then make that many blocks."""
        self._take(self.protocol.bootstrap())
        yield from self._answers()
        for number, plan in enumerate(self.protocol.connections()):
            session = self.venue.connect("bench", self._now)
            assert session is not None
            self._sessions.append(session)
            yield self._frame(CONTROL, control_payload("connected", role=plan.role), number)
        for _ in range(blocks):
            yield from self._answers()
            self._now = self.venue.market.block_time_ns(self.venue.market.number + 1)
            self.venue.advance(self._now)

    def _answers(self) -> Iterator[Frame]:
        while True:
            while self._calls:
                call = self._calls.popleft()
                reply = self.venue.info.handle(call.body, "application/json")
                context = f'{{"status":{reply.status},"tag":"{call.tag}"}}'
                yield self._frame(REST_IN, reply.body, -1, context)
            texts = [(number, text) for number, session in enumerate(self._sessions) for text in session.take()]
            for number, text in texts:
                yield self._frame(WS_IN, text.encode(), number)
            if not texts and not self._calls:
                return

    def _frame(self, kind: str, payload: bytes, conn_id: int, context: str | None = None) -> Frame:
        frame = Frame(self._seq, self._now, self._now, "hyperliquid", conn_id, 0, kind, payload, context)
        self._seq += 1
        self.protocol.receive(frame)
        self._take(self.protocol.requests())
        return frame

    def _take(self, requests: list[Request]) -> None:
        for request in requests:
            if isinstance(request, RestCall):
                self._calls.append(request)
            elif isinstance(request, SendText):
                self.protocol.receive(
                    Frame(self._seq, self._now, self._now, "hyperliquid", request.conn_id, 0, WS_OUT, request.text)
                )
                self._sessions[request.conn_id].receive(request.text.decode(), self._now)


def _record(folder: Path, frame_count: int) -> None:
    """A recording of the synthetic venue and three of its accounts."""
    market = Market(MarketOptions(seed=7, genesis_ns=_START_NS))
    venue = SyntheticHyperliquid(market, accounts=AccountsOptions())
    accounts = tuple(each.address for each in venue.exchange.accounts.values() if each.name != "sub")
    options = ProtocolOptions(pairs=PAIRS, accounts=accounts)
    source = SourceInfo("hyperliquid", HyperliquidProtocol.version, options.pairs, (), options.accounts)
    normalizer = Normalizer.for_sources([source])
    folder.mkdir(parents=True)
    writer = SegmentWriter(folder, 0, normalizer)
    for frame in _Driver(options, venue).frames(max(1, frame_count // _FRAMES_PER_BLOCK)):
        writer.add(frame)
    write = writer.cut()
    assert write is not None
    manifest = Manifest(status="sealed", sources=[source], segments=[write()], symbols=writer.symbols)
    manifest.digest = normalizer.chain.hexdigest()
    write_manifest(folder, manifest)


def run(options: Options) -> list[Figure]:
    """Measure replaying into a bare callback, into the connector, and into it with a listener of the books."""
    folder = options.folder / "connector"
    if not folder.exists():
        _record(folder, options.frames)

    def bare(fidelity: Fidelity) -> int:
        source = ReplayDataSource(folder, fidelity=fidelity)
        source.set_message_callback(_Bare())
        source.play()
        return source.message_count

    def connected(fidelity: Fidelity, with_books: bool) -> int:
        source = ReplayDataSource(folder, fidelity=fidelity)
        connector = HyperliquidPerpetualConnector(source, source)
        connector.attach()
        if with_books:
            connector.add_listener(BookUpdated, lambda event: None)
        source.play()
        return source.message_count

    own = [0]
    count_source = ReplayDataSource(folder)
    count_source.set_message_callback(
        lambda message: own.__setitem__(0, own[0] + isinstance(message, UserStreamMessage))
    )
    count_source.play()
    figures = []
    for fidelity in reversed(FIDELITIES):
        jobs: dict[str, Callable[[], int]] = {
            "bare callback": lambda fidelity=fidelity: bare(fidelity),  # type: ignore[misc]
            "connector": lambda fidelity=fidelity: connected(fidelity, False),  # type: ignore[misc]
            "connector, told of every book": lambda fidelity=fidelity: connected(fidelity, True),  # type: ignore[misc]
        }
        first = 0.0
        for name, job in jobs.items():
            timing, count = measure(job, options.repeats)
            speed = count / timing.wall
            first = first or speed
            note = f"{count:,} messages, {own[0]:,} of accounts; {speed / first:.0%} of the bare callback"
            figures.append(
                Figure(bench="connector", name=f"{fidelity}, {name}", value=speed, unit="messages/s", note=note)
            )
    return figures


@click.command()
@click.option("--frames", default=200_000, show_default=True, help="Frames that are replayed, roughly.")
@click.option("--repeats", default=3, show_default=True, help="Runs of which the median is taken.")
def main(frames: int, repeats: int) -> None:
    """Measure replaying through the full connector against a bare callback."""
    for name, text in machine():
        click.echo(f"{name:<9} {text}")
    with tempfile.TemporaryDirectory(prefix="tickdeck-bench-") as work:
        for figure in run(Options(folder=Path(work), frames=frames, repeats=repeats)):
            click.echo(show(figure))


if __name__ == "__main__":
    main()
