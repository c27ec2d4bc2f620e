"""What every venue's protocol asks for by its monotonic clock is asked for at once after a sleep, which that clock missed."""

from __future__ import annotations

import pytest

from tests.models.machine import SECOND, Machine
from tests.models.registry import MODELS
from toolkit.frames import CONTROL, Frame, control_payload
from toolkit.protocol import RestCall

#: What tells the terms of instruments.
_TERMS = {"binance": {"exchangeInfo"}, "hyperliquid": {"meta"}, "dydx_v4": {"terms"}}


@pytest.mark.parametrize("event", ["connection_stale", "notice"])
@pytest.mark.parametrize("venue", MODELS)
def test_terms_are_read_again_after_a_sleep(venue: str, event: str) -> None:
    machine = Machine(MODELS[venue].make, "asleep")
    protocol = machine.protocol
    last = machine.frames[-1]
    mono = last.ts_mono + 40 * SECOND
    assert not _asked(protocol.due(mono)) & _TERMS[venue]
    conn_id = 0 if event == "connection_stale" else -1
    payload = control_payload(event, role=protocol.role_of(0), cause="suspend", silence_s=7200)
    wall = last.ts_recv + 7240 * SECOND
    protocol.receive(Frame(last.capture_seq + 1, wall, mono, protocol.venue, conn_id, 0, CONTROL, payload, None))
    assert _asked(protocol.due(mono + SECOND)) >= _TERMS[venue]
    assert not _asked(protocol.due(mono + 2 * SECOND)) & _TERMS[venue]


def _asked(requests: object) -> set[str]:
    assert isinstance(requests, list)
    return {each.tag.partition(":")[0] for each in requests if isinstance(each, RestCall)}
