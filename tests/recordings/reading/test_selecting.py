"""Pairs, symbols, keys and venues: the same ones are kept by every reader, and none is taken for another."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from recordings.queries.gaps import find_gaps
from recordings.queries.pair_names import pairs_named
from recordings.recording import Recording
from replay.follow import FollowDataSource
from replay.source import FIDELITIES, ReplayDataSource
from tests.tapes import messages_of
from tests.venue_tapes import KEYS, VENUES, tape_of_venues
from toolkit.errors import ConfigError, SymbolError
from toolkit.keys import PairKey
from toolkit.messages import Message


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Five venues: BTC-USD is a pair of three of them, and BTCUSDT a symbol of two."""
    return tape_of_venues(tmp_path_factory.mktemp("venues") / "tape")


#: What is asked for, and which of the tape's instruments it means.
ASKED: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({"trading_pairs": ["BTC-USD"]}, {key for key in KEYS if key[1] == "BTC-USD"}),
    ({"trading_pairs": "BTC-USD", "venues": ["dydx_v4", "hyperliquid"]}, {KEYS[3], KEYS[4]}),
    ({"trading_pairs": "BTC-USD", "venues": "binance-coinm"}, {KEYS[0]}),
    # A symbol that is spelled alike on two venues, and one that is another venue's pair.
    ({"trading_pairs": ["BTCUSDT"]}, {KEYS[1], KEYS[2]}),
    ({"trading_pairs": ["BTCUSDT"], "venues": ("binance-usdm",)}, {KEYS[2]}),
    # A symbol that is a base too means the pair wherever a venue has it.
    ({"trading_pairs": ["BTC"]}, {KEYS[0], KEYS[3], KEYS[4]}),
    ({"trading_pairs": ["BTC"], "venues": ("dydx_v4", "hyperliquid")}, {KEYS[3], KEYS[4]}),
    ({"trading_pairs": ["ETH", "BTCUSD_PERP"]}, {KEYS[0], KEYS[5]}),
    ({"trading_pairs": PairKey("hyperliquid", "BTC-USD")}, {KEYS[4]}),
    ({"trading_pairs": [PairKey("hyperliquid", "BTC"), ("dydx_v4", "BTC-USD")]}, {KEYS[3], KEYS[4]}),
    ({"trading_pairs": [("hyperliquid", "BTC-USD"), "ETH-USD"]}, {KEYS[4], KEYS[5]}),
    ({"venues": {"hyperliquid", "binance-spot"}}, {KEYS[1], KEYS[4], KEYS[5]}),
    ({"venues": VENUES}, set(KEYS)),
]


def followed(folder: Path, asked: dict[str, Any]) -> list[Message]:
    seen: list[Message] = []

    async def run() -> None:
        source = FollowDataSource(folder, **asked)
        source.set_message_callback(seen.append)
        async with source:
            await source.wait()

    asyncio.run(run())
    return seen


@pytest.mark.parametrize(("asked", "kept"), ASKED)
def test_every_reader_keeps_the_same(tape: Recording, asked: dict[str, Any], kept: Collection[tuple[str, str]]) -> None:
    """Reading, replays of both fidelities and following agree, message for message, on what a filter means."""
    expected = [message for message in messages_of(tape) if message.key in kept]
    assert messages_of(tape, **asked) == expected
    for fidelity in FIDELITIES:
        source = ReplayDataSource(tape, fidelity=fidelity, **asked)
        seen: list[Message] = []
        source.set_message_callback(seen.append)
        source.play()
        assert seen == expected
        assert source.tracker.keys == sorted(kept)
    assert followed(tape.path, asked) == expected
    assert find_gaps(tape, **{"trading_pairs": (), **asked}).is_empty()


@pytest.mark.parametrize("venues", [(), ("dydx_v4", "hyperliquid")])
def test_a_name_means_the_same_on_the_command_line(tape: Recording, venues: tuple[str, ...]) -> None:
    """Pairs, symbols and bases, and what is refused is refused in the same words, up to what there is instead."""
    symbols = tape.manifest.symbols
    words = {word for pair in symbols.values() for word in (pair, pair.partition("-")[0])}
    for name in sorted(words | {name.partition("/")[2] for name in symbols}):
        try:
            expected = messages_of(tape, trading_pairs=[name], venues=venues or None)
        except SymbolError as exc:
            with pytest.raises(SymbolError, match=re.escape(str(exc).partition(", expected")[0])):
                pairs_named([tape], [name], venues)
            continue
        named = pairs_named([tape], [name], venues)
        assert messages_of(tape, trading_pairs=named, venues=venues or None) == expected, name


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"venues": "binance"}, ConfigError, f"no venue 'binance' in {{path}}, expected one of {', '.join(VENUES)}"),
    (
        {"trading_pairs": [("kraken", "BTC-USD")]},
        ConfigError,
        f"no venue 'kraken' in {{path}}, expected one of {', '.join(VENUES)}",
    ),
    (
        {"trading_pairs": "BTC-USD", "venues": "binance-usdm"},
        SymbolError,
        "'BTC-USD' is not in {path}, expected one of BTC-USDT",
    ),
    (
        {"trading_pairs": [("dydx_v4", "ETH-USD")]},
        SymbolError,
        "'ETH-USD' on dydx_v4 is not in {path}, expected one of BTC-USD",
    ),
    (
        {"trading_pairs": "SOL-USD", "venues": ["dydx_v4", "hyperliquid"]},
        SymbolError,
        "'SOL-USD' is not in {path}, expected one of BTC-USD on dydx_v4, BTC-USD on hyperliquid, ETH-USD",
    ),
    (
        {"trading_pairs": [("dydx_v4", "BTC-USD")], "venues": "hyperliquid"},
        SymbolError,
        "BTC-USD on dydx_v4 is wanted, and nothing of dydx_v4: expected one or the other",
    ),
    ({"venues": []}, SymbolError, "no venue was named, expected at least one; leave venues out for all"),
]


@pytest.mark.parametrize(("asked", "kind", "text"), WRONG)
def test_what_selects_nothing_is_one_error_that_names_what_there_is(
    tape: Recording, asked: dict[str, Any], kind: type[Exception], text: str
) -> None:
    text = text.format(path=tape.path)
    for ask in (
        lambda: messages_of(tape, **asked),
        lambda: ReplayDataSource(tape, **asked).play(),
        lambda: followed(tape.path, asked),
    ):
        with pytest.raises(kind) as raised:
            ask()
        assert str(raised.value) == text
