"""Parameters by annotation, and a strategy's own data: what fits is set, what does not is one clear error."""

from __future__ import annotations

import enum
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.strategy.context import Context
from replay.strategy.limits import RiskLimits, parse_limits
from replay.strategy.own_data import OwnData
from replay.strategy.parameters import parameters_of, set_parameters
from replay.strategy.plan import RunPlan, RunSettings, parse_amounts, parse_fees
from replay.strategy.strategy import Strategy, Wakes
from tests.replay.backtest.market_messages import KEY, Messages
from tests.replay.strategy.sessions import loaded, market, opened
from toolkit.errors import ConfigError
from toolkit.messages import Trade

S = 10**9
T0 = 1_700_000_000 * S


class Mood(enum.Enum):
    CALM = "calm"
    WILD = "wild"


class Base(Strategy):
    pair: str


class Many(Base):
    spread: float = 1.0
    count: int = 2
    is_on: bool = True
    exact: Decimal = Decimal("0.1")
    mood: Mood = Mood.CALM
    side: Literal["buy", "sell"] = "buy"
    pairs: tuple[str, ...] = ()
    most: int | None = None
    state: ClassVar[int] = 3
    _own: int = 4


def test_annotated_attributes_are_parameters_in_their_order() -> None:
    """Those of a base first; what is the class's or the strategy's own is none."""
    assert list(parameters_of(Many)) == ["pair", "spread", "count", "is_on", "exact", "mood", "side", "pairs", "most"]


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"spread": "2"}, "spread", 2.0),
        ({"spread": 3}, "spread", 3.0),
        ({"count": "-7"}, "count", -7),
        ({"is_on": "no"}, "is_on", False),
        ({"exact": "0.30"}, "exact", Decimal("0.30")),
        ({"mood": "wild"}, "mood", Mood.WILD),
        ({"side": "sell"}, "side", "sell"),
        ({"pairs": "BTC-USD, ETH-USD"}, "pairs", ("BTC-USD", "ETH-USD")),
        ({"most": "5"}, "most", 5),
        ({"most": "none"}, "most", None),
        ({"pair": "none"}, "pair", "none"),
    ],
)
def test_a_value_is_taken_as_the_annotation_says(given: dict[str, Any], name: str, value: Any) -> None:
    strategy = Many()
    set_parameters(strategy, {"pair": "BTC-USD", **given})
    assert getattr(strategy, name) == value
    assert type(getattr(strategy, name)) is type(value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"Many needs pair: str, which has no default: say --set pair="),
        ({"pair": "x", "sprad": "1"}, r"Many has no parameter 'sprad'; it has pair: str, spread: float = 1.0"),
        ({"pair": "x", "spread": "nan"}, r"spread is nan, expected a finite number"),
        ({"pair": "x", "spread": float("inf")}, r"spread is inf, expected a finite number"),
        ({"pair": "x", "spread": "wide"}, r"spread is 'wide', expected a finite number"),
        ({"pair": "x", "count": "1.5"}, r"count is '1.5', expected a whole number"),
        ({"pair": "x", "count": True}, r"count is True, expected a whole number"),
        ({"pair": "x", "is_on": "perhaps"}, r"is_on is 'perhaps', expected yes or no"),
        ({"pair": "x", "mood": "sad"}, r"mood is 'sad', expected one of calm, wild"),
        ({"pair": "x", "side": "hold"}, r"side is 'hold', expected one of buy, sell"),
        ({"pair": "x", "exact": "nan"}, r"exact is NaN, expected a finite number"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        set_parameters(Many(), given)


def test_a_default_that_is_shared_is_not_changed_by_one_run() -> None:
    """A list as a default belongs to each strategy alone."""

    class Listed(Strategy):
        names: list[str] = []  # noqa: RUF012

    first, second = Listed(), Listed()
    set_parameters(first, {})
    first.names.append("one")
    set_parameters(second, {})
    assert second.names == []


def test_a_set_is_written_down_in_the_order_of_its_values() -> None:
    """Not in that of its hashes, which differs from process to process: the decision log begins with it."""
    ordered = [f"name{number:02}" for number in range(30)]

    class Named(Strategy):
        names: frozenset[str] = frozenset(reversed(ordered))
        mixed: Any = 0

    assert set_parameters(Named(), {})["names"] == ordered
    with pytest.raises(ConfigError, match=r"^Named: mixed is \{.*\}, which cannot be written down: '<' not supported"):
        set_parameters(Named(), {"mixed": {1, "one"}})


# -- own data -------------------------------------------------------------------------------------------------------


def csv(folder: Path, text: str) -> OwnData:
    (folder / "own.csv").write_text(text)
    return OwnData("own.csv")


def test_a_row_is_there_from_its_time_on_and_never_before(tmp_path: Path) -> None:
    """Sorted by time, those of one time as they stand in the file; nanoseconds count."""
    text = f"time,side\n{T0 + 3},c\n{T0 + 1},a\n{T0 + 3},d\n2023-11-14T22:13:20.000000002Z,b\n"
    data = csv(tmp_path, text).load(tmp_path)
    seen = [data.until(T0 + at).last("side") for at in range(5)]
    assert seen == [None, "a", "b", "d", "d"]
    view = data.until(T0 + 3)
    assert (len(view), view["side"], view.time_ns, view.row) == (4, ["a", "b", "c", "d"], T0 + 3, {"side": "d"})
    assert (data.until(0).row, data.until(0).time_ns, data.until(0).last("side", "none")) == (None, None, "none")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_parquet_has_its_timestamps_in_any_unit_and_zone(tmp_path: Path, unit: str, zone: str | None) -> None:
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    times = pa.array([(T0 // S + 1) * per, T0 // S * per], pa.timestamp(unit, zone))
    pq.write_table(pa.table({"at": times, "x": [2.0, 1.0]}), tmp_path / "own.parquet")
    data = OwnData("own.parquet", "at").load(tmp_path)
    assert (data.times, data.columns) == ([T0, T0 + S], {"x": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when,x\n1,2\n", r"has no column 'time' of times; its columns are when, x"),
        ("time,x\n1700000000,2\n", r"time of row 1: .*1700000000.* expected ns since the epoch"),
        ("time,x\n2023-01-01,2\nyesterday,3\n", r"time of row 2: 'yesterday' is no time"),
        ("time,x\n1970-01-01,2\n", r"time of row 1 is 0 ns, which is 1970"),
        ('time,x\n"2023-01-01,2\n', r"own data"),
    ],
)
def test_a_file_without_times_is_refused(tmp_path: Path, text: str, message: str) -> None:
    own = csv(tmp_path, text)
    with pytest.raises(ConfigError, match=message):
        own.load(tmp_path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"own data .*none\.csv cannot be read: No such file"):
        OwnData("none.csv").load(tmp_path)


def test_a_strategy_reads_its_own_data_and_the_log_begins_with_its_hash(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(f"time,x\n{T0 + 5},7\n")

    class Reader(Strategy):
        own: OwnData = OwnData(tmp_path / "own.csv")
        wakes = Wakes(trades=True)

        def on_trade(self, ctx: Context, trade: Trade) -> None:
            ctx.log(str(ctx.data(self.own).last("x")))

    say = Messages()
    played = opened(Reader)
    for message in [*market(say, T0), say.trade(T0 + 4, "buy", 101, 1), say.trade(T0 + 5, "buy", 101, 1)]:
        played.session.take(message)
    assert [row.acts[0][1] for row in played.rows if row.kind == "trade"] == ["None", "7"]
    played.session.finish()
    head = RunPlan(loaded(Reader), [KEY], RunSettings()).head
    (tmp_path / "own.csv").write_text(f"time,x\n{T0 + 5},8\n")
    assert RunPlan(loaded(Reader), [KEY], RunSettings()).head.data != head.data


# -- settings on a command line -------------------------------------------------------------------------------------


def test_fees_capital_and_limits_are_read_exactly() -> None:
    assert parse_fees("maker=-0.1bp,taker=0.0005") == {"maker": Decimal("-0.00001"), "taker": Decimal("0.0005")}
    assert parse_amounts(["USDC=10000", "BTC=0.5,USDT=1"]) == {
        "USDC": Decimal(10000), "BTC": Decimal("0.5"), "USDT": Decimal(1)
    }  # fmt: skip
    assert parse_limits({"position": "0.5", "orders_per_s": "3"}) == RiskLimits(
        position_max=Decimal("0.5"), orders_per_s_max=3
    )


@pytest.mark.parametrize("text", ["1bp", "maker", "maker=1%", "maker=1bp,maker=2bp", "make=1bp", "maker=nan", ""])
def test_fees_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not understood; expected for instance maker=1.5bp,taker=4.5bp"):
        parse_fees(text)


@pytest.mark.parametrize("text", ["10000", "USDC=", "=5", "USDC=1e4", "USDC=1,USDC=2"])
def test_capital_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"expected a currency and a number, for instance USDC=10000|capital in USDC is given twice, as 1 and 2",
    ):
        parse_amounts([text])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "1"}, "no limit 'size', expected one of order_size, position, loss, orders_per_s"),
        ({"loss": "-1"}, "limit loss is '-1', expected a number above 0"),
        ({"loss": "0"}, "loss_max is 0, expected a number above 0"),
        ({"orders_per_s": "1.5"}, "limit orders_per_s is '1.5', expected a whole number above 0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_limits(given)
