"""The report page: what it says first, that text in it stays text, and that the same run gives the same bytes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from replay.backtest.gap_policy import GapPolicy
from replay.market.layout import BUY, SELL, Role
from replay.results.comparison import comparison_chart
from replay.results.report_page import RESULTS_MAX, report_html, texts_of
from replay.results.report_sections import share_warnings, sign_changes
from replay.results.result import Result
from replay.results.result_writing import write_result
from replay.results.run_info import run_info
from replay.results.run_record import OrderRow, RunHead, RunRecord
from replay.results.run_recorder import RunRecorder
from replay.results.run_study import DelayInfo, MarketInfo, Rerun, RunStudy
from tests.replay.clearing.money_tapes import DAY, Market, run
from tests.replay.clearing.money_tapes import START as MARKET_START
from tests.replay.results.runs import HEAD, at, linear_market, quote, recorder, small_run, trade
from tests.replay.results.test_profit_parts import studied
from tests.replay.results.test_results_of_gaps import result_of
from toolkit.account_messages import OrderState
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.keys import PairKey


class Read(HTMLParser):
    """
    What is in a page.

    Attributes:
        tags: Every element that begins, with its attributes.
        text: Text that is shown, a line for each piece.
        scripts: The inside of each script, by its id.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            if tag == "script":
                self.scripts.append((dict(attrs).get("id") or "", ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            name, text = self.scripts[-1]
            self.scripts[-1] = (name, text + data)
        elif not self._inside and data.strip():
            self.text.append(data.strip())

    @property
    def data(self) -> Any:
        return json.loads(dict(self.scripts)["page-data"])


def read(*results: Result) -> Read:
    return Read(report_html(results))


def said(result: Result) -> list[str]:
    """What a report says, without its charts."""
    return Read(texts_of(result)).text


@pytest.fixture(scope="module")
def gap_page() -> Read:
    """Of the tape with a gap, and an order that was filled after it."""
    return read(result_of(GapPolicy.KEEP))


def test_a_gap_is_named_first_with_its_orders_and_the_profit_after_it(gap_page: Read) -> None:
    """All of 12 was made after it, with the order that had rested across it."""
    first, gap = gap_page.text[1:3]
    assert first == "70 % of the time and 100 % of the profit rest on doubtful data."
    assert gap == (
        "BTC-USD on testing: a gap at 1970-01-01T00:00:10.000000000Z for 10 s (disconnect), 1 order rested across it (1);"
        " +12.00 USD net after it, 100 % of what was gained and lost"
    )


def test_a_run_without_a_gap_says_that_nothing_is_doubtful() -> None:
    made = recorder()
    trade(made, 1, BUY, 100, 100)
    made.frame_done(at(1))
    text = said(Result.of(made.finish(at(10))))
    assert text[0] == "0 % of the time and 0 % of the profit rest on doubtful data."
    assert "No gap in the books and trades of the run." in text


def test_the_same_run_gives_the_same_bytes_in_memory_and_from_its_folder(tmp_path: Path) -> None:
    write_result(small_run(), tmp_path / "Maker")
    pages = []
    for name in ("one.html", "two.html"):
        Result.open(tmp_path / "Maker").report(tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    in_memory = Result.of(small_run(), tmp_path / "Maker")
    assert report_html([in_memory]).encode() == pages[0]


def test_a_page_loads_nothing_and_has_its_data_once(gap_page: Read) -> None:
    assert {tag for tag, _ in gap_page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "p", "ul", "li", "h1", "h2", "h3", "section", "div", "span", "b",
        "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "button", "small", "script",
    }  # fmt: skip
    assert [
        tag for tag, attributes in gap_page.tags if {"src", "href", "srcset", "action", "onclick"} & set(attributes)
    ] == []
    assert any("default-src 'none'" in (each.get("content") or "") for tag, each in gap_page.tags if tag == "meta")
    assert [name for name, _ in gap_page.scripts] == ["page-data", "", ""]
    [chart] = gap_page.data["charts"]
    assert chart["datasets"]["fills0"]["columns"] == ["ms", "price", "size", "side", "what", "fills"]
    assert [row[1] for row in chart["datasets"]["fills0"]["rows"]] == [98.0]
    # Its own quote: from when it came until it was filled.
    assert chart["datasets"]["buy0"]["rows"] == [[0.0, 98.0], [22_000.0, 98.0], [22_000.0, None], [40_000.0, None]]
    assert "datasets" not in chart["spec"]


EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def evil_run() -> RunRecord:
    """Every name that comes from outside carries markup."""
    head = RunHead(
        strategy=f"Maker{EVIL}",
        source=f"{EVIL}.py",
        parameters={EVIL: EVIL},
        rules={f"venue{EVIL}": {EVIL: EVIL}},
        latency=EVIL,
        gap_policy=EVIL,
        settings={EVIL: {EVIL: EVIL}},
        recordings=[{"name": EVIL, "digest": EVIL}],
        software={EVIL: EVIL},
    )
    market = linear_market(pair=f"BTC{EVIL}-USD", settle=f"USD{EVIL}")
    made = recorder(market, capital={f"USD{EVIL}": Decimal(100)}, head=head)
    quote(made, 1, 99, 101)
    trade(made, 2, BUY, 100, 100)
    refused = OrderRow(
        now_ns=at(3), venue_ns=at(3), pair=0, order_id=7, state=OrderState.REJECTED, status=EVIL, side=0, tick=100,
        lots=5, left=5,
    )  # fmt: skip
    made.order(refused)
    made.frame_done(at(3))
    record = made.finish(at(60))
    why_not = [Rerun(name=EVIL, title=EVIL, setting=EVIL, why_not=EVIL)]
    record.study = RunStudy(parts=[], markets=[_market(market.key, 1.0, 2.0)], reruns=why_not)
    return record


def _market(key: PairKey, own: float, volume: float, *, large: int = 0) -> MarketInfo:
    delay = DelayInfo(table="trades", messages=3, untimed=0, negative=1, p50=1_000_000, p90=2_000_000, p99=3_000_000)
    return MarketInfo(
        venue=key.venue, trading_pair=key.trading_pair, volume=volume, trades=3, sideless=1, own_volume=own,
        own_share_max=own / volume if volume else None, large_fills=large, known_ns=100, stale_ns=25, crossed_ns=5,
        one_sided_ns=0, delays=[delay],
    )  # fmt: skip


def test_names_that_carry_markup_stay_text() -> None:
    """In each place: no element, no script and no attribute more than those of the page, alone and beside another."""
    # Alone it is one of the two, without the tables that compare them.
    page = read(Result.of(evil_run()), Result.of(small_run()))
    assert [name for name, _ in page.scripts] == ["page-data", "", ""]
    assert [tag for tag, attributes in page.tags if tag == "img" or "onerror" in attributes] == []
    assert len(page.data["charts"]) == 3
    assert " ".join(page.text).count("<script>alert(1)</script>") > 20


def test_parts_are_a_table_whose_columns_are_the_horizons() -> None:
    made = recorder()
    trade(made, 1, BUY, 100, 200)
    trade(made, 2, SELL, 106, 100, role=Role.TAKER)
    made.note_mark(0, 110.0)
    made.frame_done(at(2))
    text = said(studied(made.finish(at(60)), {0: [(101.0, 103.0, 100.0, 101.0), (105.0, 104.0, 105.0, 105.0)]}))
    place = text.index("1 s after fills")
    cells = text[place - 1 : place + 31]
    rows = [cells[number : number + 4] for number in range(0, 28, 4)]
    assert rows[:4] == [
        ["part", "1 s after fills", "10 s after fills", "60 s after fills"],
        ["spread captured", "+3.00", "+3.00", "+3.00"],
        ["adverse selection", "+5.00", "-2.00", "0.00"],
        ["inventory", "+8.00", "+15.00", "+13.00"],
    ]
    assert rows[-1] == ["net profit", *["+15.927"] * 3]


def test_what_was_not_measured_says_what_to_do() -> None:
    text = said(Result.of(small_run()))
    assert any("tickdeck report RESULT --recording TAPE" in each for each in text)
    assert any("--no-reruns" in each for each in text)


@pytest.mark.parametrize(
    ("own", "volume", "large", "words"),
    [
        (1.0, 11.0, 0, []),
        (1.0, 9.0, 0, ["more than 10%"]),
        (1.0, 0.0, 1, ["none was traded by others"]),
        (0.1, 11.0, 2, ["2 fills came in minutes"]),
        (0.0, 0.0, 0, []),
    ],
)
def test_own_fills_above_a_tenth_of_the_volume_are_warned_of(
    own: float, volume: float, large: int, words: list[str]
) -> None:
    found = share_warnings([_market(PairKey("testing", "A-B"), own, volume, large=large)])
    assert len(found) == len(words)
    for text, word in zip(found, words, strict=True):
        assert word in text
        assert text.endswith("such fills would have moved the market.")


@pytest.mark.parametrize(
    ("net", "words"),
    [
        ("-3", "a profit of 9.927 USDC becomes a loss of 3.00."),
        ("0", "becomes nothing of 0.00."),
        ("12", ""),
        ("0.5", ""),
    ],
)
def test_a_change_of_sign_is_said_in_words(net: str, words: str) -> None:
    record = small_run()
    rerun = Rerun(
        name="latency_x2", title="twice the latency", setting="--latency x", nets={"USDC": Decimal(net)}, fills=3
    )
    found = sign_changes(rerun, run_info(record).accounts)
    assert len(found) == bool(words)
    assert all(text.startswith("With twice the latency the sign changes: ") and text.endswith(words) for text in found)


def test_what_was_tried_is_a_table_and_what_cannot_be_says_why() -> None:
    record = small_run()
    reruns = [
        Rerun(name="queue", title="a probabilistic queue", setting="--rule q", nets={"USDC": Decimal(-1)}, fills=9),
        Rerun(name="orders_venue", title="its orders alone, the venue's clock", why_not="nobody could do that live"),
    ]
    record.study = RunStudy(parts=[], markets=[], reruns=reruns)
    text = said(Result.of(record))
    place = text.index("a probabilistic queue")
    assert text[place : place + 5] == ["a probabilistic queue", "--rule q", "-1.00", "-10.927", "9"]
    assert "its orders alone, the venue's clock: not run: nobody could do that live" in text
    assert any(each.startswith("With a probabilistic queue the sign changes") for each in text)


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        (0, "The profit keeps its sign under all of them."),
        (1, "The profit keeps its sign under the 1 of them that was run."),
        (2, None),
    ],
)
def test_what_was_not_run_is_not_said_to_keep_the_sign(failures: int, words: str | None) -> None:
    record = small_run()
    reruns = [
        Rerun(name=name, title=name, nets={} if name in "ab"[:failures] else {"USDC": Decimal(9)},
              why_not="no" if name in "ab"[:failures] else "")
        for name in "ab"
    ]  # fmt: skip
    record.study = RunStudy(parts=[], markets=[], reruns=reruns)
    found = [text for text in said(Result.of(record)) if text.startswith("The profit keeps")]
    assert found == ([] if words is None else [words])


def test_results_beside_each_other_say_what_differs() -> None:
    other = small_run()
    other.head = replace(HEAD, seed=8, latency="entry=9ms,response=1ms")
    page = read(Result.of(small_run()), Result.of(other))
    assert page.text[1].startswith("A: 3.33 % of the time")
    place = page.text.index("differs")
    assert page.text[place : place + 9] == [
        "differs", "A", "B", "seed", "7", "8", "latency", "entry=1ms,response=1ms", "entry=9ms,response=1ms",
    ]  # fmt: skip
    assert list(page.data["charts"][0]["datasets"]) == ["doubt", "net0"]
    assert len(page.data["charts"]) == 3
    assert not any("different times or recordings" in text for text in page.text)


def test_results_of_other_venues_differ_in_the_rules_that_differ() -> None:
    """Of one venue each: what both have alike is no difference; of two, a rule in which they differ is named with them."""
    found = []
    for rules in (
        {"one": {"amend_place": "kept", "unseen": True}},
        {"two": {"amend_place": "lost", "unseen": True}, "three": {"amend_place": "lost", "unseen": False}},
    ):
        record = small_run()
        record.head = replace(HEAD, rules=rules)
        found.append(Result.of(record))
    text = read(*found).text
    place = text.index("differs")
    assert text[place : place + 12] == [
        "differs", "A", "B", "rule amend_place", "kept", "lost", "rule unseen", "true", "-", "rule unseen, two", "-", "true",
    ]  # fmt: skip


def length_of(hours: int, start_ns: int, settle: str = "USDC") -> Result:
    """A run of so many hours in which nothing happens."""
    made = RunRecorder(HEAD, (linear_market(settle=settle),), {settle: Decimal(1)}, start_ns=start_ns)
    made.frame_done(start_ns)
    return Result.of(made.finish(start_ns + hours * 3_600 * NS_PER_S))


@pytest.mark.parametrize(
    ("hours", "since", "axis", "tip"),
    [
        (1, 0, "%H:%M:%S", "%Y-%m-%d %H:%M:%S.%L"),
        (30, 0, "%d %b %H:%M", "%Y-%m-%d %H:%M:%S.%L"),
        (1, 1000, "%H:%M:%S", "day %-j, %H:%M:%S.%L"),
        (5, 1000, "%H:%M", "day %-j, %H:%M:%S.%L"),
        (30, 1000, "day %-j, %H:%M", "day %-j, %H:%M:%S.%L"),
    ],
)
def test_times_since_the_beginning_have_no_date(hours: int, since: int, axis: str, tip: str) -> None:
    """Of results that do not overlap: the first day of 1970 is in none of them."""
    results = [length_of(hours, at(0)), length_of(hours, at(since * 3_600))]
    chart = comparison_chart(results, "AB")
    [panel] = chart["vconcat"]
    encodings = [layer["encoding"] for each in panel["layer"] for layer in each.get("layer", [each])]
    assert {each["x"]["axis"]["format"] for each in encodings if "axis" in each.get("x", {})} == {axis}
    assert {each["tooltip"][-1]["format"] for each in encodings if "tooltip" in each} == {tip}
    assert chart["domain"][0] == (0 if since else at(0) / 1e6)


def test_a_line_has_a_colour_of_its_own_in_all_panels() -> None:
    results = [length_of(1, at(0)), length_of(1, at(0), "USDT"), length_of(1, at(0))]
    chart = comparison_chart(results, "ABC")
    scales = re.findall(r"'scale': \{'domain': (\[[^]]*\]), 'range': (\[[^]]*\])\}", str(chart["vconcat"]))
    assert scales == [("['A', 'C']", "['#2563eb', '#ea580c']"), ("['B']", "['#15803d']")]


@pytest.mark.slow
def test_results_of_other_times_are_said_to_be() -> None:
    made = recorder()
    made.frame_done(at(90))
    page = read(Result.of(small_run()), Result.of(made.finish(at(120))))
    assert any("different times or recordings" in text for text in page.text)


def test_too_many_results_or_another_ending_is_one_line(tmp_path: Path) -> None:
    result = Result.of(small_run())
    with pytest.raises(ConfigError, match=rf"^{RESULTS_MAX + 1} results to report, expected 1 to {RESULTS_MAX}$"):
        report_html([result] * (RESULTS_MAX + 1))
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.html$"):
        result.report(tmp_path / "page.txt")
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.png$"):
        result.report(tmp_path / "page.html", tmp_path / "page.jpg")
    assert list(tmp_path.iterdir()) == []


def test_an_amount_is_written_without_an_exponent() -> None:
    """A round one too: 970 is no 9.7E+2."""
    made = recorder()
    trade(made, 1, BUY, 100, 100)
    made.note_mark(0, 1070.0)
    made.frame_done(at(1))
    result = Result.of(made.finish(at(2)))
    values = {each["name"]: each["value"] for each in result.summary()["metrics"]}
    assert (values["unrealized"], values["turnover"]) == ("970", "100")


def test_every_number_has_a_unit_a_meaning_and_a_source() -> None:
    metrics = Result.of(small_run()).metrics
    assert len({metric.name for metric in metrics}) >= 15
    for metric in metrics:
        assert re.match(r"[A-Z].*\.$", metric.definition, re.DOTALL), metric.name
        assert metric.source, metric.name
        assert metric.unit or isinstance(metric.value, int | str | None), metric.name


def test_what_the_venue_did_with_the_money_is_in_the_page() -> None:
    """A liquidation with what stood for the position, the fee tier with its time, and facts older or newer than the tape."""
    market = Market(PairKey("hyperliquid", "BTC-USD"))
    for minute in range(8):
        at_ns = MARKET_START + minute * 60_000_000_000
        market.quote(at_ns, 99 - minute, 101 - minute)
        market.rate(at_ns + 1, mark_price=100.0 - minute, index_price=100.0 - minute)
    played = run(
        market.end(MARKET_START + DAY),
        [(MARKET_START + 30_000_000_000, lambda ctx: ctx.buy("BTC-USD", 90))],
        keys=[PairKey("hyperliquid", "BTC-USD")],
        capital="510",
        leverage={"": Decimal(20)},
    )
    assert played.record is not None
    text = said(Result.of(played.record))
    assert "The venue has closed a position in 1 step." in text
    place = text.index("liquidated at")
    assert text[place + 9 : place + 12] == ["BTC-USD on hyperliquid", "takeover", "90"]
    tier = text.index("fee tier at")
    assert text[tier + 6] == "hyperliquid"
    assert text[tier + 9 : tier + 11] == ["1.5 bp", "4.5 bp"]
    assert any(each.startswith("not verified") or "gitbook" in each for each in text)


@pytest.mark.parametrize(("missed", "words"), [(1, "1 settlement"), (3, "3 settlements")])
def test_funding_of_which_nothing_is_recorded_is_said_first(missed: int, words: str) -> None:
    """What is left out of the profit is as doubtful as what is in it by a guess."""
    record = small_run()
    record.counts["funding_missed"] = missed
    text = said(Result.of(record))
    assert (
        f"Funding: no rate or price is recorded of {words} while something was held: left out of the profit." == text[1]
    )


def test_facts_older_than_the_tape_are_said_to_be() -> None:
    record = small_run()
    facts = {
        "date": "2020-01-01",
        "source": "a page",
        "values": {"fees.maker": "0.0001", "fees.taker": "0.0005", "fees.rounding": "cut", "twap.every": "30s"},
        "evidence": {"fees.maker": "d: its table", "fees.taker": "2: a forum", "fees.rounding": "?: nobody"},
        "unknown": ["what it does at night"],
    }
    record.head = replace(HEAD, settings={"presets": {"hyperliquid": facts}})
    text = said(Result.of(record))
    assert any(
        each.startswith("The facts of hyperliquid (fees, margin, limits) are of 2020-01-01, 1,4") for each in text
    )
    assert text[1].startswith("The facts of hyperliquid"), "what may be doubted stands first"
    # Of each value that the run rests on how sure it is, and where it is from; nothing was worked off over time.
    assert "From a page. 3 values, of which 2 are not documented by the venue." in text
    table = "".join(text)
    assert "fees.maker0.0001documented by the venueits table" in table
    assert "fees.taker0.0005secondary sourcesa forum" in table
    assert "fees.roundingcutnot verifiednobody" in table
    assert "twap.every" not in table
    assert "what it does at night" in text
