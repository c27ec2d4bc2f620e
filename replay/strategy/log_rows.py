"""Rows of the decision log: of an answer, and in the form in which a result keeps them."""

from __future__ import annotations

from typing import Final

import msgspec

from replay.backtest.requests import Notice, Response
from replay.ledger.money import amount, price_of, size_of
from replay.market.layout import ReportCode, StateCode
from replay.results.run_record import DecisionRow
from replay.strategy.decision_log import LogRow

__all__ = ["ANSWER_FIELDS", "answer_row", "decision_row", "notice_row"]

#: What an answer says, in the order of its row.
ANSWER_FIELDS: Final = (
    "what",
    "order",
    "pair",
    "state",
    "side",
    "tick",
    "lots",
    "left",
    "filled",
    "role",
    "venue_ns",
    "reason",
    "text",
    "is_uncertain",
)
#: The words of codes and states, by number.
_CODES: Final = tuple(code.name.lower() for code in ReportCode)
_STATES: Final = tuple(state.name.lower() for state in StateCode)
_encode = msgspec.json.Encoder(order="sorted").encode


def answer_row(now_ns: int, number: int, order: int, response: Response) -> LogRow:
    """The row of an answer: its number, and that of the order it is about (0: of none)."""
    acts = (
        _CODES[response.code],
        order,
        response.pair,
        _STATES[response.state],
        response.side,
        response.tick,
        response.lots,
        response.left,
        response.filled,
        response.role,
        response.venue_ns,
        int(response.reason),
        response.text,
        response.is_uncertain,
    )
    return LogRow(now_ns, "response", (number,), acts)


def notice_row(now_ns: int, number: int, notice: Notice) -> LogRow:
    """The row of what the venue did with the money: amounts are decimal texts, exact."""
    acts = (
        notice.kind.value,
        notice.pair,
        f"{amount(notice.amount):f}",
        f"{size_of(notice.held):f}",
        f"{price_of(notice.at_price):f}",
        f"{size_of(notice.fraction):f}",
        notice.account,
        notice.venue_ns,
    )
    return LogRow(now_ns, "money", (number,), acts)


def decision_row(row: LogRow, state: bytes) -> DecisionRow:
    """A row with the chain after it, as a result keeps it."""
    time_ns, kind, cause, acts, draws = row
    said = _encode([*acts, draws] if draws else acts).decode()
    if len(cause) == 2 and type(cause[0]) is int:
        return DecisionRow(time_ns, kind, "", cause[0], cause[1], said, state.hex())
    return DecisionRow(time_ns, kind, " ".join(map(str, cause)), None, None, said, state.hex())
