"""Columns say of every message what it says itself, and are put together without mixing up levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.columns.column_batch import Flag, Kind, Names, joined, of_messages
from tests.column_checks import all_told, expected
from tests.recordings.strategies import MESSAGE_CLASSES, messages
from tests.tapes import diff, quote, snapshot
from toolkit.messages import Message

ANY = st.lists(st.one_of([messages(cls) for cls in MESSAGE_CLASSES]), max_size=4)


@settings(max_examples=30)
@given(st.lists(ANY, min_size=1, max_size=2))
def test_columns_say_what_messages_say(parts: list[list[Message]]) -> None:
    """Of any message, in any order, alone and in batches that are joined."""
    names = Names()
    batches = [of_messages(part, names) for part in parts]
    flat = [expected(message) for part in parts for message in part]
    assert all_told(batches, names) == flat
    assert all_told([joined(batches)], names) == flat
    order = np.arange(len(flat))[::-1]
    assert all_told([joined(batches, order)], names) == flat[::-1]


@settings(max_examples=20)
@given(ANY, st.data())
def test_a_part_has_its_own_levels_alone(given_messages: list[Message], data: st.DataObject) -> None:
    """Messages of one table lie in the order of their levels, so that a part can leave those of others behind."""
    books = [message for message in given_messages if hasattr(message, "depth_cap")]
    begin = data.draw(st.integers(0, len(books)))
    end = data.draw(st.integers(begin, len(books)))
    names = Names()
    part = of_messages(books, names).part(begin, end).trimmed()
    assert all_told([part], names) == [expected(message) for message in books[begin:end]]
    levels = int(part.rows["bids"].sum() + part.rows["asks"].sum())
    # A message without a level has a row all the same.
    assert levels <= len(part.prices) <= levels + len(part.rows)


def test_places_of_pairs_and_forms_stay_as_they_were_given() -> None:
    names = Names([("b", "X-Y")])
    batch = of_messages(
        [snapshot([(1.0, 1.0)], venue="a", trading_pair="X-Y"), diff(venue="b", trading_pair="X-Y", form="agg")], names
    )
    assert batch.rows["pair"].tolist() == [1, 0]
    assert names.pairs == [("b", "X-Y"), ("a", "X-Y")]
    assert [names.forms[place] for place in batch.rows["form"]] == ["full", "agg"]
    again = of_messages([quote((1.0, 2.0), None, venue="a", trading_pair="X-Y")], names)
    assert again.rows["pair"].tolist() == [1]
    assert Flag(int(again.rows["flags"][0])) & Flag.FUSED


def test_a_book_message_is_not_kept_as_an_object() -> None:
    batch = of_messages([snapshot([(1.0, 1.0)])], Names())
    assert batch.rows["kind"].tolist() == [Kind.SNAPSHOT]
    with pytest.raises(IndexError, match="no message is kept for place 0"):
        batch.message(0)


@settings(max_examples=10)
@given(st.sampled_from(MESSAGE_CLASSES), st.data())
def test_a_message_is_the_same_whichever_was_asked_for_before(cls: type[Message], data: st.DataObject) -> None:
    """Messages are made as they are asked for, by stretches where one follows on the other."""
    wanted = data.draw(st.lists(messages(cls), min_size=1, max_size=6))
    batch = of_messages(wanted, Names(), whole=True)
    for place in data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=12)):
        assert batch.message(place) == wanted[place]
    assert [batch.message(place) for place in range(len(wanted))] == wanted


@settings(max_examples=20)
@given(st.lists(st.one_of(*map(messages, MESSAGE_CLASSES)), min_size=1, max_size=8), st.data())
def test_many_messages_are_those_of_their_places(wanted: list[Message], data: st.DataObject) -> None:
    """Of several tables, in any order, once or often."""
    batch = of_messages(wanted, Names(), whole=True)
    places = data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=12))
    assert batch.messages_at(np.array(places, np.int64)) == [wanted[place] for place in places]


def test_of_places_without_a_message_it_says_how_many_there_are() -> None:
    batch = of_messages([snapshot([(1.0, 1.0)])] * 2, Names())
    with pytest.raises(IndexError, match="no message is kept of 2 of 2 places"):
        batch.messages_at(np.arange(2))
