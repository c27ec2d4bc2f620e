"""Whatever a venue may send: an error that is recorded, and never an exception or a changed book."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toolkit.venues.binance.test_feeds import AGG, FORCE, MARK, QUOTE, TRADE
from tests.toolkit.venues.binance_harness import Session, events, snapshot, usdm_diff
from toolkit.frames import WS_IN, Frame
from toolkit.messages import EventKind
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

DIFF = usdm_diff(5, 10, 1, [["100", "1"]], [["101", "1"]])
BAD = {
    "not json": b"{",
    "empty": b"",
    "a list": b"[1]",
    "a number": b"7",
    "not utf-8": b'{"stream":"\xff\xfe@trade","data":{}}',
    "not utf-8 inside": b'{"stream":"btcusdt@trade","data":{"E":1,"T":1700000000000,"s":"\xff","t":1,"p":"1","q":"1","m":true}}',
    "no data": b'{"stream":"btcusdt@trade"}',
    "null data": b'{"stream":"btcusdt@trade","data":null}',
    "unknown stream": b'{"stream":"btcusdt@weather","data":{}}',
    "unknown depth": b'{"stream":"btcusdt@depth7","data":{}}',
    "no symbol": b'{"stream":"@trade","data":{}}',
    "unknown market stream": b'{"stream":"!weather","data":{}}',
    "unknown object": b'{"hello":1}',
}
WRONG: dict[str, tuple[str, Any]] = {
    "nan price": ("depth", DIFF | {"b": [["NaN", "1"]]}),
    "infinite size": ("depth", DIFF | {"a": [["101", "inf"]]}),
    "negative size": ("depth", DIFF | {"a": [["101", "-1"]]}),
    "price 0": ("depth", DIFF | {"a": [["0", "1"]]}),
    "level of one": ("depth", DIFF | {"a": [["101"]]}),
    "level null": ("depth", DIFF | {"a": [["101", None]]}),
    "ids turned round": ("depth", DIFF | {"U": 11}),
    "huge id": ("depth", DIFF | {"u": 2**63}),
    "no pu": ("depth", {key: value for key, value in DIFF.items() if key != "pu"}),
    "wrong time": ("depth", DIFF | {"T": "soon"}),
    "unsorted": ("depth5", DIFF | {"b": [["1", "1"], ["2", "1"]]}),
    "crossed snapshot": ("depthSnapshot", snapshot(5, [["5", "1"]], [["4", "1"]])),
    "quote nan": ("bookTicker", QUOTE | {"b": "nan"}),
    "quote negative": ("bookTicker", QUOTE | {"B": "-1"}),
    "quote of a list": ("bookTicker", [QUOTE]),
    "trade without a side": ("trade", {key: value for key, value in TRADE.items() if key != "m"}),
    "trade size 0": ("trade", TRADE | {"q": "0"}),
    "trade price word": ("trade", TRADE | {"p": "cheap"}),
    "mark infinite": ("markPrice", MARK | {"p": "1e999"}),
    "side of a liquidation": ("forceOrder", FORCE | {"o": FORCE["o"] | {"S": "UP"}}),
}


@pytest.mark.parametrize("name", [*BAD, *WRONG])
@pytest.mark.parametrize("is_first", [True, False])
def test_what_cannot_be_understood_is_one_error_and_changes_nothing(name: str, is_first: bool) -> None:
    session = Session("binance-usdm")
    if not is_first:
        session.stream("btcusdt@depth", usdm_diff(1, 4, 0))
        session.stream("btcusdt@depth", DIFF)
        for words, data in (("trade", TRADE), ("bookTicker", QUOTE), ("markPrice", MARK), ("forceOrder", FORCE)):
            session.stream(f"btcusdt@{words}", data)
        session.feed(snapshot(10))
    before = session.protocol.checkpoint()
    if name in BAD:
        messages = session.feed(BAD[name])
    else:
        words, data = WRONG[name]
        messages = session.stream(f"btcusdt@{words}", data)
    assert events(messages) == [(EventKind.PARSE_ERROR, "", "")]
    assert session.protocol.checkpoint() == before
    assert session.protocol.parse_error_count == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["depth", "depth20", "bookTicker", "trade", "aggTrade", "markPrice", "forceOrder", "depthSnapshot"]
)


@settings(max_examples=150, deadline=None)
@given(
    words=names, key=st.sampled_from([*DIFF, *QUOTE, *AGG, *FORCE, "lastUpdateId", "bids", "asks"]), value=json_values
)
def test_no_value_in_any_field_raises(words: str, key: str, value: Any) -> None:
    good = {"depth": DIFF, "depth20": DIFF, "bookTicker": QUOTE, "trade": TRADE, "aggTrade": AGG, "markPrice": MARK}
    data = good.get(words, FORCE if words == "forceOrder" else snapshot(5)) | {key: value}
    for venue in ("binance-spot", "binance-usdm"):
        session = Session(venue)
        payload = json.dumps({"stream": f"btcusdt@{words}", "data": data}).encode()
        session.feed(payload)
        session.feed(json.dumps(data).encode())


@settings(max_examples=200, deadline=None)
@given(payload=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_raise(payload: bytes) -> None:
    protocol = find_venue("binance-usdm").make_protocol(ProtocolOptions())
    for start in (b"", b'{"stream":"', b'{"stream":"btcusdt@trade","data":'):
        frame = Frame(0, 1, 1, "binance-usdm", 0, 0, WS_IN, start + payload)
        for message in protocol.receive(frame):
            msgspec.json.encode(message)
