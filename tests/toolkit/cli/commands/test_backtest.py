"""`tickdeck backtest`: fills and final state, and one clear line for what makes no sense."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings.queries.gaps import find_gaps
from recordings.recording import Recording
from replay.tape import Tape
from tests.hand_recorder import HandRecorder
from tests.replay.tapes_of_trades import make
from tests.tapes import TS, VENUE, book_frame
from tests.toolkit.cli.terminal import run
from toolkit.clock import format_ns
from toolkit.frames import WS_IN, Frame

MS = 1_000_000
ASSUMED = ("--assume", "tick=0.1", "--assume", "lot=0.1", "--clock-offset", "0ms")


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books of 1 to 5 lots at five bids and two asks, each with trades at the best bid's price; venue times in ms steps."""
    folder = tmp_path_factory.mktemp("backtest") / "tape"
    make(folder, range(0, 80 * MS, 10 * MS), coins=("BTC",))
    assert Recording.open(folder).trading_pairs == ["BTC-USD"]
    return folder


def script(folder: Path, rows: list[Any]) -> str:
    path = folder / "orders.json"
    path.write_text(json.dumps(rows))
    return str(path)


ROWS = [
    {"local_ns": TS + 1 * MS, "what": "buy", "id": 1, "qty": 1, "type": "market"},
    {"local_ns": TS + 2 * MS, "what": "buy", "id": 2, "qty": 1, "price": 50.0},
    {"local_ns": TS + 5 * MS, "what": "cancel", "id": 2},
    {"local_ns": TS + 6 * MS, "what": "cancel", "id": 9},
]


def test_fills_and_orders_are_tables(tape: Path, tmp_path: Path) -> None:
    done = run("backtest", "--script", script(tmp_path, ROWS), tape, "--latency", "entry=1ms,response=1ms", *ASSUMED)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith(
        "BTC-USD on hyperliquid: 3 of 4 requests sent, 1 fill; position 1.0, cash -"
    )
    assert "taker" in done.stdout
    orders, refused = done.stdout.split("\n\n")[-2:]
    assert orders.splitlines()[-1].split() == ["2", "buy", "50", "1", "0", "cancelled", "requested", "canceled"]
    assert refused.splitlines()[0].split() == ["row", "what", "order", "refused"]
    assert [line.split() for line in refused.splitlines()[2:]] == [["4", "cancel", "9", "unknown_id"]]


def test_json_has_every_assumption_beside_the_fills(tape: Path, tmp_path: Path) -> None:
    path = script(tmp_path, ROWS)
    done = run(
        "backtest", "--script", path, tape, "--json", "--rule", "self_trade=not_seen", "--latency", "feed", *ASSUMED
    )
    facts = json.loads(done.stdout)
    assert (facts["tick"], facts["lot"], facts["clock_offset_ns"]) == ("0.1", "0.1", 0)
    assert facts["rules"]["self_trade"] == "not_seen"
    latency = {"entry_ns": 0, "response_ns": 0, "follows_feed": True, "by_action": {}, "trips": "", "times": 1.0}
    assert facts["latency"] == latency
    assert (facts["clock"], facts["gap_policy"], facts["doubt"]["uncertain_orders"]) == ("receive", "keep", 0)
    (fill,) = facts["fills"]
    assert (fill["id"], fill["side"], fill["size"], fill["role"]) == (1, "buy", 1.0, "taker")
    assert (Decimal(facts["cash"]), facts["currency"]) == (-Decimal(repr(fill["price"])), "USD")
    assert [order["state"] for order in facts["orders"]] == ["filled", "cancelled"]
    assert facts["refused"] == [{"row": 4, "why": "unknown_id"}]


def test_contracts_of_a_fixed_value_move_the_base_currency(tmp_path: Path) -> None:
    """Three contracts of 10 USD, bought and sold at once: 30/ask of a coin comes and 30/bid goes. One has to be given."""
    golden = Path(__file__).parents[3] / "golden" / "format-2" / "binance-coinm"
    start = Tape([Recording.open(golden)]).first_ns + 400 * MS
    rows = [
        {"local_ns": start, "what": "buy", "id": 1, "qty": 3, "type": "market"},
        {"local_ns": start + 1, "what": "sell", "id": 2, "qty": 3, "type": "market"},
    ]
    words = (
        "backtest",
        "--script",
        script(tmp_path, rows),
        golden,
        "--assume",
        "tick=0.01",
        "--assume",
        "lot=1",
        "--json",
    )
    unknown = run(*words)
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "does not say what a contract is worth; say so, for instance --assume contract_value=100" in unknown.stderr
    for clock in ("receive", "venue"):
        facts = json.loads(run(*words, "--assume", "contract_value=10", "--clock", clock).stdout)
        bought, sold = facts["fills"]
        cash = 30 / Decimal(repr(bought["price"])) - 30 / Decimal(repr(sold["price"]))
        assert abs(Decimal(facts["cash"]) - cash) < Decimal("1e-26")
        assert (facts["cash"][0], facts["currency"]) == ("-", "ETH")


def test_csv_has_the_fills(tape: Path, tmp_path: Path) -> None:
    done = run("backtest", "--script", script(tmp_path, ROWS), tape, "--format", "csv", *ASSUMED)
    assert done.stdout.splitlines()[0] == "time,order,side,price,size,role"
    assert len(done.stdout.splitlines()) == 2
    done = run("backtest", "--script", script(tmp_path, ROWS), tape, "--format", "csv", "--clock", "venue", *ASSUMED)
    assert done.stdout.splitlines()[0] == "venue time,order,side,price,size,role"
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--assume", "tick=0.1"),
            "BTC-USD on hyperliquid: the recording says no lot; give one, for instance --assume lot=0.1",
        ),
        (
            (*ASSUMED, "--assume", "step=1"),
            "--assume step: no such thing, expected tick, lot, min_notional, contract_value, maintenance or price_band",
        ),
        (("--assume", "tick=-1"), "--assume tick is '-1', expected a number above 0, for instance 0.1"),
        (("--assume", "tick=0.0"), "--assume tick is '0.0', expected a number above 0, for instance 0.1"),
        (("--assume", "tick"), "--assume 'tick': expected NAME=VALUE"),
        (
            (*ASSUMED, "--latency", "3ms"),
            "latency '3ms': '3ms' is not understood; expected for instance feed, entry=3.5ms,",
        ),
        (
            (*ASSUMED, "--latency", "entry=3,response=1ms"),
            "latency 'entry=3,response=1ms': '3' is no length of time of 0 or more with its unit; expected",
        ),
        (
            (*ASSUMED, "--latency", "entry=3ms"),
            "latency 'entry=3ms' says one way only; expected both, for instance feed,",
        ),
        (
            (*ASSUMED, "--latency", "entry=-1ms,response=1ms"),
            "latency 'entry=-1ms,response=1ms': '-1ms' is no length of time",
        ),
        (
            (*ASSUMED, "--latency", "entry=1ms,response=1ms,buy.entry=1ms"),
            "'buy.entry=1ms' is not understood; expected for instance feed,",
        ),
        (
            (*ASSUMED, "--latency", "feed,cancel.entry=1ms", "--clock", "venue"),
            "latency cancel.entry is of one kind of request, which is for the receive clock only",
        ),
        ((*ASSUMED, "--latency", "trips=nowhere.csv"), "round trips nowhere.csv cannot be read: "),
        (
            (*ASSUMED, "--latency", "feed,trips=a.csv"),
            "recorded round trips stand for everything else, expected trips=",
        ),
        (
            (*ASSUMED, "--latency", "feed=1ms"),
            "latency 'feed=1ms': 'feed=1ms' is not understood; expected for instance feed,",
        ),
        ((*ASSUMED, "--rules", "best"), "no rules 'best', expected one of default, hftbacktest, hftbacktest-whole"),
        ((*ASSUMED, "--rule", "queue_front=first"), "rule queue_front is 'first', expected one of pessimistic, power,"),
        ((*ASSUMED, "--clock-offset", "3"), "'3' is no length of time; expected for instance 500ms, 1s, 5m, 1h or 1d"),
        ((*ASSUMED, "--clock-offset", "-1h"), "the feed's delay on hyperliquid and what is added make -"),
        ((*ASSUMED, "--clock-offset", "-1h", "--clock", "venue"), "the feed's delay and what is added make -"),
        ((*ASSUMED, "--pair", "ETH"), "'ETH' is not in "),
        (
            ("--assume", "tick=0.1", "--assume", "lot=1000"),
            "orders.json, row 1: BTC-USD: size 1.0 is no whole number of lots",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(tape: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    done = run("backtest", "--script", script(tmp_path, ROWS), tape, *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("at_ns", [TS // 1_000_000_000, TS - 1, TS + 70 * MS + 1])
def test_a_time_off_the_tape_is_one_line_with_its_row(tape: Path, tmp_path: Path, at_ns: int) -> None:
    """Seconds for nanoseconds, a moment before the first frame, and one after the last."""
    path = script(tmp_path, sorted([ROWS[0], ROWS[3] | {"local_ns": at_ns}], key=lambda row: row["local_ns"]))
    done = run("backtest", "--script", path, tape, *ASSUMED)
    row = 2 if at_ns > TS else 1
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: {path}, row {row}: local_ns is {at_ns} ns, {format_ns(at_ns)}, which is off the tape: expected"
        f" {TS} to {TS + 70 * MS}, {format_ns(TS)} to {format_ns(TS + 70 * MS)}\n"
    )


@pytest.mark.parametrize("is_over", [True, False])
def test_gaps_are_those_that_gaps_lists(tmp_path: Path, is_over: bool) -> None:
    """A recorder that has ended, and one that has died: nothing of it is sealed, and what it may have lost is a gap."""
    folder, path = tmp_path / "tape", script(tmp_path, [ROWS[0]])
    recorder = HandRecorder(folder)
    for seq in range(4):
        book = msgspec.json.encode(book_frame("BTC", TS // MS + seq, [(100.0, 1.0)], [(110.0, 3.0)]))
        recorder.give(Frame(seq, TS + seq * MS, seq, VENUE, 0, 0, WS_IN, book))
    recorder.journal.drain()
    if is_over:
        recorder.end()
    else:
        recorder.journal.close()
    done = run("backtest", "--script", path, folder, "--pair", "BTC-USD", "--json", *ASSUMED)
    facts = json.loads(done.stdout)
    assert len(facts["fills"]) == 1
    gaps = find_gaps(folder).height
    assert (facts["gaps"], gaps > 0) == (gaps, not is_over)
    if is_over:
        assert done.stderr == ""
        return
    unsealed, said = done.stderr.splitlines()
    assert "4 frames" in unsealed
    assert "are not sealed" in unsealed
    told = f"{gaps} gaps (see `tickdeck gaps`): "
    assert said == told + "0 orders rested or came while the book was stale, and 0 fills of theirs"
    done = run("backtest", "--script", path, folder, "--pair", "BTC-USD", "--json", "--clock", "venue", *ASSUMED)
    assert done.stderr.splitlines()[-1] == told + "orders were matched across as if nothing was missing"


def test_clocks_that_differ_are_said_with_the_offset_that_mends_them(tape: Path, tmp_path: Path) -> None:
    """The venue's times are those of the frames less what is cut off them, so nothing is early; an hour ahead, it is."""
    late = tmp_path / "late"
    make(late, range(-3_600_000 * MS, -3_600_000 * MS + 20 * MS, 10 * MS), coins=("BTC",))
    options = ("--assume", "tick=0.1", "--assume", "lot=0.1", "--clock", "venue")
    done = run("backtest", "--script", script(tmp_path, []), late, *options)
    assert done.stderr.startswith("Error: messages were received up to 3599999")
    proposed = done.stderr.rpartition("--clock-offset ")[2].partition(",")[0]
    assert done.exit_code == 1
    done = run("backtest", "--script", script(tmp_path, []), late, *options, "--clock-offset", proposed)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "BTC-USD on hyperliquid: 0 of 0 requests sent, 0 fills; position 0.0, cash 0 USD without fees",
        "",
        "no order was sent",
    ]


def test_on_the_receive_clock_constant_latency_needs_no_offset(tmp_path: Path) -> None:
    """The venue's clock is an hour ahead, which only the feed's own delay has to know."""
    late = tmp_path / "late"
    make(late, range(-3_600_000 * MS, -3_600_000 * MS + 80 * MS, 10 * MS), coins=("BTC",))
    first = Recording.open(late).span
    assert first is not None
    rows = [{"local_ns": first[0] + 2 * MS, "what": "buy", "id": 1, "qty": 1, "type": "market"}]
    options = ("--assume", "tick=0.1", "--assume", "lot=0.1")
    path = script(tmp_path, rows)
    done = run("backtest", "--script", path, late, *options, "--latency", "entry=1ms,response=1ms", "--json")
    assert (done.exit_code, len(json.loads(done.stdout)["fills"])) == (0, 1)
    done = run("backtest", "--script", path, late, *options)
    assert "would do (--clock-offset)" in done.stderr


def test_a_script_may_have_orders_that_expire_or_only_reduce(tape: Path, tmp_path: Path) -> None:
    """The venue has no good-till-date, and says nothing of it; what would reduce nothing it refuses in its words."""
    rows = [
        {"local_ns": TS + 1 * MS, "what": "buy", "id": 1, "qty": 1, "price": 50.0, "expires_ns": TS + 9 * MS},
        {"local_ns": TS + 2 * MS, "what": "sell", "id": 2, "qty": 1, "price": 500.0, "reduce_only": True},
    ]
    options = ("--latency", "entry=1ms,response=1ms", *ASSUMED)
    done = run("backtest", "--script", script(tmp_path, rows), tape, "--json", *options)
    told = [(each["state"], each["why"], each["text"]) for each in json.loads(done.stdout)["orders"]]
    assert told == [("rejected", "not_offered", ""), ("rejected", "reduce_only", "reduceOnlyRejected")]
    done = run("backtest", "--script", script(tmp_path, rows), tape, "--clock", "venue", *options)
    assert done.stderr == "Error: expires_ns and reduce_only are for the receive clock only: --clock receive\n"
