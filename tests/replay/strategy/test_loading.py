"""Strategies that cannot be used: one message each, with the strategy's own file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recordings.recording import Recording
from replay.fast_classes.strategy_backtest import backtest
from replay.strategy.failures import StrategyError
from replay.strategy.loading import load_strategy
from replay.strategy.strategy import Strategy, Wakes
from tests.serving import synthetic_session
from toolkit.errors import ConfigError, TickdeckError

HEAD = "from replay.strategy.strategy import Strategy, Wakes\n"
BODY = HEAD + "class Mine(Strategy):\n"


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (HEAD + "class Mine(Strategy:\n", 2, r"syntax error: .* in `class Mine\(Strategy:`"),
        ("x = \x00", 0, "syntax error"),
        ("import nothing_like_this\n" + BODY + "    pass", 1, "ModuleNotFoundError: No module named"),
        (HEAD + "1 / 0\n", 2, "while it was loaded: ZeroDivisionError: division by zero in `1 / 0`"),
        (HEAD + "raise SystemExit(3)\n", 2, "while it was loaded: SystemExit: 3"),
        (BODY + "    async def on_start(self, ctx): ...\n", 3, "on_start is async: .* write `def on_start`"),
        (BODY + "    async def on_fill(self, ctx, fill):\n        yield 1\n", 3, "on_fill is async"),
        (BODY + "    def on_start(self, ctx):\n        yield 1\n", 3, "on_start yields, so calling it does nothing"),
        (BODY + "    def on_tick(self, ctx): ...\n", 3, "on_tick is called by nothing, expected one of on_start, on_quote"),
        (BODY + "    def on_trade(self, ctx, trade): ...\n", 3, r"on_trade is never called, .*: say wakes = Wakes\(trades=True\)"),
        (BODY + "    wakes = Wakes(quotes=True)\n", 2, r"declares Wakes\(quotes=True\) and has no on_quote"),
        (BODY + "    wakes = Wakes(every='1s')\n", 2, r"declares Wakes\(every='1s'\) and has no on_timer"),
        (BODY + "    wakes = Wakes(every='1')\n", 3, "'1' is no length of time"),
        (BODY + "    wakes = Wakes(every='999us')\n", 3, "Wakes: every is '999us', expected 1ms or more: a timer is called"),
        (BODY + "    wakes = Wakes(pairs='BTC-USD')\n", 3, r"expected a tuple of pairs"),
        ("import time\n" + BODY + "    def on_start(self, ctx):\n        self.t = time.time()\n", 5, "time.time is not what .* use ctx.now_ns"),
        ("import time as t\n" + BODY + "    clock = t.monotonic_ns\n", 4, "time.monotonic_ns is not .* use ctx.now_ns"),
        ("from time import perf_counter\n" + BODY + "    pass\n", 1, "time.perf_counter is not .* use ctx.now_ns"),
        ("from datetime import datetime\n" + BODY + "    def on_start(self, ctx):\n        datetime.now()\n", 5, "use ctx.now_ns"),
        ("import datetime as d\n" + BODY + "    def on_start(self, ctx):\n        d.datetime.utcnow()\n", 5, "use ctx.now_ns"),
        ("import datetime\n" + BODY + "    def on_start(self, ctx):\n        datetime.date.today()\n", 5, "use ctx.now_ns"),
        ("import time\n" + BODY + "    def on_start(self, ctx):\n        getattr(time, 'time')()\n", 5, "use ctx.now_ns"),
        (BODY + "    def on_start(self, ctx):\n        __import__('time').time()\n", 4, "use ctx.now_ns"),
        ("import numpy as np\n" + BODY + "    def on_start(self, ctx):\n        np.datetime64('now')\n", 5, "use ctx.now_ns"),
        ("import time\n" + BODY + "    def on_start(self, ctx):\n        time.sleep(1)\n", 5, "time.sleep is not .* use ctx.set_timer"),
        ("import random\n" + BODY + "    def on_start(self, ctx):\n        random.random()\n", 5, "random.random is not .* use ctx.rng"),
        ("from random import choice\n" + BODY + "    pass\n", 1, "random.choice is not .* use ctx.rng"),
        ("import numpy\n" + BODY + "    def on_start(self, ctx):\n        numpy.random.rand()\n", 5, "use ctx.rng"),
        ("import os\n" + BODY + "    def on_start(self, ctx):\n        os.urandom(4)\n", 5, "use ctx.rng"),
        ("import uuid\n" + BODY + "    def on_start(self, ctx):\n        uuid.uuid4()\n", 5, "use ctx.rng"),
    ],
)  # fmt: skip
def test_a_bad_strategy_is_one_message_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = written(tmp_path, text)
    where = re.escape(str(path)) + (f":{line}: " if line else ".*")
    with pytest.raises(StrategyError, match=where + ".*" + message) as raised:
        load_strategy(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"has 0 strategies \(none\), expected one class derived from Strategy"),
        (BODY + "    pass\nclass Other(Strategy):\n    pass\n", r"has 2 strategies \(Mine, Other\)"),
    ],
)
def test_a_file_has_one_strategy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_strategy(written(tmp_path, text))


def test_a_strategy_that_leaves_as_it_is_made_is_an_error_at_its_own_line(tmp_path: Path, recording: Recording) -> None:
    """An exit of 0 from there would end the program, as if all had gone well."""
    path = written(tmp_path, BODY + "    def __init__(self):\n        raise SystemExit(0)\n")
    with pytest.raises(StrategyError, match=r"mine\.py:4: Mine\(\): SystemExit: 0"):
        backtest(path, recording, trading_pairs="BTC-USD")


def test_what_is_no_strategy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        load_strategy(tmp_path / "none.py")
    with pytest.raises(ConfigError, match=r"is no strategy, expected a class derived from Strategy"):
        load_strategy(int)
    with pytest.raises(ConfigError, match="is no strategy"):
        load_strategy(Strategy)


def test_times_that_are_data_may_be_used(tmp_path: Path) -> None:
    """Only clocks are refused: a generator of one's own with a seed, and conversions, are not."""
    text = "import random, time\nfrom datetime import datetime, UTC\n" + BODY
    text += (
        "    def on_start(self, ctx):\n        self.rng = random.Random(3)\n        datetime.fromtimestamp(1, UTC)\n"
    )
    text += "        time.strftime('%H', (0,) * 9)\n"
    assert load_strategy(written(tmp_path, text)).cls.__name__ == "Mine"


def test_a_base_in_the_file_is_not_meant(tmp_path: Path) -> None:
    assert load_strategy(written(tmp_path, BODY + "    pass\nclass Better(Mine):\n    pass\n")).cls.__name__ == "Better"


def test_the_source_hash_is_that_of_the_file_and_of_what_it_imports_beside_it(tmp_path: Path) -> None:
    text = "from helper_of_mine import SIZE\n" + BODY + "    size = SIZE\n"
    written(tmp_path, "SIZE = 1\n", "helper_of_mine.py")
    loaded = load_strategy(written(tmp_path, text))
    assert any(file.endswith("helper_of_mine.py") for file in loaded.files)
    other = tmp_path / "other"
    other.mkdir()
    written(other, "SIZE = 2\n", "helper_of_mine2.py")
    changed = load_strategy(written(other, text.replace("helper_of_mine", "helper_of_mine2")))
    assert changed.source_hash != loaded.source_hash
    written(tmp_path, "import time\nNOW = time.time()\n", "clockwork.py")
    third = written(tmp_path, "import clockwork\n" + BODY + "    pass\n", "third.py")
    with pytest.raises(StrategyError, match=r"clockwork\.py:2: time\.time is not"):
        load_strategy(third)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    made, _ = synthetic_session(tmp_path_factory.mktemp("bad") / "tape", seconds=2)
    return made


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("ctx.buy('BTC-USD', float('nan'), 1.0)", 5, "size is nan, expected a number above 0"),
        ("ctx.buy('BTC-USD', 0, 1.0)", 5, "size is 0, expected a number above 0"),
        ("ctx.buy('BTC-USD', 1.0, float('inf'))", 5, "price is inf, expected a number above 0"),
        (
            "ctx.buy('BTC-USD', 1.0, 97123.45)",
            5,
            "price 97123.45 is no whole number of ticks of 1, expected for instance 97123.0",
        ),
        ("ctx.buy('BTC-USD', 0.000001, 97123.0)", 5, "size 1e-06 is no whole number of lots of 0.00001"),
        ("ctx.buy('XYZ-USD', 1.0, 1.0)", 5, "'XYZ-USD' is no pair of this run, expected one of BTC-USD"),
        ("ctx.buy('BTC-USD', 1.0, 90000.0, tif='DAY')", 5, "tif is 'DAY', expected one of GTC, IOC, FOK, GTD"),
        ("ctx.buy('BTC-USD', 1.0, post_only=True)", 5, "a post-only order needs a price"),
        ("ctx.buy('BTC-USD', 1.0, 90000.0, tif='GTD')", 5, "GTD and expires_ns go together"),
        ("ctx.set_timer('x')", 5, "expected one of at_ns, after and every"),
        ("ctx.set_timer('x', after='5')", 5, "'5' is no length of time"),
        ("ctx.set_timer('x', every='1ns')", 5, "timer 'x': every is '1ns', expected 1ms or more"),
        ("ctx.set_timer('\\ud800', after='5s')", 5, r"the name of a timer is '\ud800', which is no text"),
        ("ctx.log('x', **{'\\ud800': 1})", 5, r"name is '\ud800', which is no text"),
        ("[ctx.set_timer('x', after='1s') for _ in range(10**6)]", 5, "10,000 requests and notes in one callback"),
        ("ctx.record(x=float('nan'))", 5, "x is nan, expected a finite number"),
        ("ctx.data(3)", 5, "ctx.data takes a parameter that is OwnData"),
        ("self.nothing()", 5, "AttributeError: 'Mine' object has no attribute 'nothing'"),
        ("[ctx.buy('BTC-USD', 0.01, 90000.0) for _ in range(10**6)]", 5, "10,000 requests and notes in one callback"),
        ("raise SystemExit(0)", 5, "SystemExit: 0"),
        ("ctx.now_ns = 5", 5, "AttributeError: property 'now_ns' of 'Context' object has no setter"),
        ("ctx.rng = None", 5, "AttributeError: property 'rng' of 'Context' object has no setter"),
    ],
)
def test_nonsense_is_an_error_at_its_own_line(
    tmp_path: Path, recording: Recording, body: str, line: int, message: str
) -> None:
    path = written(tmp_path, BODY + "    wakes = Wakes()\n    def on_start(self, ctx):\n        " + body + "\n")
    with pytest.raises(StrategyError, match=rf"mine\.py:{line}: on_start: .*{re.escape(message)}"):
        backtest(path, recording, trading_pairs="BTC-USD")


@pytest.mark.parametrize(
    "body", ["while True: pass", "while True:\n            try: 1\n            except BaseException: pass"]
)
def test_an_endless_loop_ends_with_its_line(tmp_path: Path, recording: Recording, body: str) -> None:
    """The bound can be set, and does not need the loop to do anything."""
    path = written(tmp_path, BODY + "    def on_start(self, ctx):\n        " + body + "\n")
    with pytest.raises(StrategyError, match=r"mine\.py:\d: on_start: took longer than 0\.2 s"):
        backtest(path, recording, trading_pairs="BTC-USD", callback_s_max=0.2)


STEP = """
import tickdeck as td
from tickdeck.actions import BUY, keep, level


@td.step(every="100ms", parameters={"depth": 1})
def joins(now, why, q, me, p, s, act):
    keep(act, 0, 1, BUY, level(act, 0, BUY, p.depth)[0], q[0].lot)
"""


def test_a_file_of_a_step_function_is_a_strategy(tmp_path: Path, recording: Recording) -> None:
    """Run in plain Python, with a decision log; its parameters can be set, and two of them are one too many."""
    path = written(tmp_path, STEP)
    result = backtest(path, recording, trading_pairs="BTC-USD")
    assert (result.info.strategy, result.orders.height > 0, result.info.decisions > 0) == ("joins", True, True)
    other = backtest(path, recording, trading_pairs="BTC-USD", parameters={"depth": "0"})
    assert other.info.parameters == {"depth": 0}
    assert not other.orders.equals(result.orders)
    with pytest.raises(
        ConfigError, match=r"has 2 strategies \(joins, joins\), expected one class .*, or one step function"
    ):
        backtest(written(tmp_path, STEP + "\nsame = joins.in_python()\n"), recording, trading_pairs="BTC-USD")


def test_orders_that_answer_refusals_for_ever_end(
    tmp_path: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refusal is answered by another order, at one instant."""
    monkeypatch.setattr("replay.strategy.session._AT_ONCE_MAX", 300)
    text = BODY + "    def on_start(self, ctx):\n        ctx.buy('BTC-USD', 0.00001, 90000.0)\n"
    text += "    def on_order(self, ctx, order):\n        ctx.buy('BTC-USD', 0.00001, 90000.0)\n"
    with pytest.raises(StrategyError, match="answers and timers at one instant"):
        backtest(written(tmp_path, text), recording, trading_pairs="BTC-USD", latency="entry=0ns,response=0ns")


def test_a_recording_is_untouched_by_a_strategy_that_fails(tmp_path: Path, recording: Recording) -> None:
    before = {path: path.stat().st_mtime_ns for path in recording.path.rglob("*") if path.is_file()}
    path = written(tmp_path, BODY + "    def on_start(self, ctx):\n        raise ValueError\n")
    with pytest.raises(TickdeckError, match=r"ValueError in `raise ValueError`"):
        backtest(path, recording, trading_pairs="BTC-USD")
    assert {path: path.stat().st_mtime_ns for path in recording.path.rglob("*") if path.is_file()} == before


def test_wakes_names_its_fields_alone() -> None:
    with pytest.raises(TypeError, match="tick"):
        Wakes(tick=True)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("ctx.buy('BTC-USD', 1e300, 97000.0)", "size is 1e+300, expected less than 2.31e+13"),
        ("ctx.buy('BTC-USD', 0.01, 1e300)", "price is 1e+300, expected less than"),
        ("ctx.buy('BTC-USD', 10**400, 97000.0)", "expected less than"),
        ("ctx.keep('BTC-USD', 'a', 'buy', price=1e25, size=0.01)", "price is 1e+25, expected less than"),
        ("ctx.buy('BTC-USD', 0.01, 9.0, tif='GTD', expires_ns=10**30)", "expires_ns is 1000000000000000000"),
        ("ctx.buy('BTC-USD', 0.01, 9.0, tif='GTD', expires_ns='soon')", "expires_ns is 'soon', expected whole ns"),
        ("ctx.set_timer('x', at_ns=10**30)", "at_ns is 1000000000000000000"),
        ("ctx.set_timer('x', after=-1)", "timer 'x': after is -1 ns; expected more than 0"),
        ("ctx.set_timer('x', every=1.5)", "timer 'x': every is 1.5; expected ns as an int"),
        ("ctx.set_timer(['x'], every='1s')", "name of a timer is ['x'], expected text"),
        ("ctx.cancel('a')", "found 'a' in place of an order, expected what buy, sell, keep or ctx.orders gave"),
        ("ctx.amend(None, size=1)", "found None in place of an order"),
        ("ctx.book(None)", "None is no pair of this run, expected one of BTC-USD"),
        ("ctx.buy(7, 1.0)", "7 is no pair of this run, expected one of BTC-USD"),
        ("ctx.log('x', a=object())", "log: a is a object, which need not read alike in another run"),
        ("ctx.log('x', a={1, 2})", "log: a is a set, which need not read alike in another run"),
        ("ctx.log('x', a=[1, [ctx.book]])", "log: a is a method, which need not read alike in another run"),
        ("ctx.log('\\ud800')", "is no text that can be written as UTF-8"),
        ("ctx.buy('BTC-USD', 0.01, 9.0, tag=chr(0xd800))", "is no text that can be written as UTF-8"),
        ("ctx.record(x='much')", "record: x is 'much', expected a finite number"),
    ],
)
def test_what_no_log_could_hold_is_an_error_at_its_own_line(
    tmp_path: Path, recording: Recording, body: str, message: str
) -> None:
    test_nonsense_is_an_error_at_its_own_line(tmp_path, recording, body, 5, message)


def test_a_log_takes_what_reads_alike_in_every_run(tmp_path: Path, recording: Recording) -> None:
    body = "ctx.log('x', a=10**30, b=[1, (2.5, None)], c={'k': Decimal(1)}, d=ctx.position('BTC-USD'), e=np.float64(2))"
    text = "import numpy as np\nfrom decimal import Decimal\n" + BODY
    path = written(tmp_path, text + "    def on_start(self, ctx):\n        " + body + "\n")
    result = backtest(path, recording, trading_pairs="BTC-USD")
    assert '"a":"1000000000000000000000000000000","b":"[1, (2.5, None)]"' in str(result.decisions.row(0))
    assert result.decisions.equals(backtest(path, recording, trading_pairs="BTC-USD").decisions)
