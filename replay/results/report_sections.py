"""The parts of a report as HTML: what is text in them is text, wherever it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from replay.ledger.venue_evidence import MARKS, Use, is_rested_on, used_by
from replay.results.order_lives import Spread
from replay.results.profit_parts import divided
from replay.results.result_metrics import length, money, percent, signed
from replay.results.run_info import AccountInfo, GapInfo, PresetInfo, RunInfo
from replay.results.run_study import OWN_SHARE_MAX, MarketInfo, Rerun
from toolkit.borders import html_text
from toolkit.clock import NS_PER_S, format_ns

if TYPE_CHECKING:
    from replay.results.result import Result

__all__ = [
    "assumptions",
    "data_quality",
    "doubt_line",
    "execution",
    "gap_lines",
    "liquidations",
    "market_share",
    "numbers",
    "old_facts",
    "profit_table",
    "sensitivity",
    "table",
]

#: Gaps that are named at the top; all of these are in the table below.
_GAPS_NAMED: Final = 8
_GAPS_MAX: Final = 500
#: Orders of a gap that are named.
_ORDERS_NAMED: Final = 12
_PARTS: Final = {
    "spread": "spread captured",
    "adverse": "adverse selection",
    "inventory": "inventory",
    "fees": "fees",
    "funding": "funding",
    "other": "other",
}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, sums: int = 0, texts: int = 1) -> Html:
    """
    A table.

    Args:
        head: Names of the columns.
        rows: Cells as text, or as `Html`.
        sums: How many of the last rows are sums.
        texts: How many of the first columns are text; the others are numbers, on the right.
    """
    kept = [list(row) for row in rows]

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{'' if place < texts else ' class=n'}>{_html(cell)}</{tag}>" for place, cell in enumerate(cells)
        )

    body = "".join(
        f"<tr{' class=sum' if len(kept) - number <= sums else ''}>{line(row, 'td')}</tr>"
        for number, row in enumerate(kept)
    )
    return Html(f"<div class=wide><table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}</tbody></table></div>")


def _html(text: str) -> str:
    return text if isinstance(text, Html) else html_text(text)


def _paragraph(text: str, kind: str = "") -> str:
    return f"<p{f' class={kind}' if kind else ''}>{_html(text)}</p>"


# -- what may be doubted --------------------------------------------------------------------------------------------------


def doubt_line(info: RunInfo) -> str:
    """The first line: what share of time and of profit rests on doubtful data."""
    shares = [account.doubtful_profit_share for account in info.accounts]
    profit = ""
    if len(shares) == 1:
        profit = f" and {percent(shares[0])} of the profit"
    elif shares:
        profit = f" and up to {percent(max(shares))} of the profit of an account"
    return f"{percent(info.doubtful_time_share)} of the time{profit} rest on doubtful data."


def gap_lines(result: Result) -> list[str]:
    """Each gap of a run in words, with the orders across it and what was made after it began; the first few of many."""
    gaps = result.info.gaps
    lines = [_gap_line(result, gap) for gap in gaps[:_GAPS_NAMED]]
    return [*lines, f"and {len(gaps) - _GAPS_NAMED:,} more gaps, below"] if len(gaps) > _GAPS_NAMED else lines


def _gap_line(result: Result, gap: GapInfo) -> str:
    end = "to the end" if gap.end_ns is None else f"for {length((gap.end_ns - gap.start_ns) / NS_PER_S)}"
    after = profit_after(result, gap)
    made = "" if after is None else f"; {after}"
    return f"{gap.trading_pair} on {gap.venue}: a gap at {format_ns(gap.start_ns)} {end} ({gap.cause}), {_across(gap)}{_unnoticed(result, gap)}{made}"


def _across(gap: GapInfo) -> str:
    count = len(gap.orders)
    if not count:
        return "no order rested across it"
    names = ", ".join(gap.orders[:_ORDERS_NAMED]) + (", ..." if count > _ORDERS_NAMED else "")
    return f"1 order rested across it ({names})" if count == 1 else f"{count:,} orders rested across it ({names})"


def profit_after(result: Result, gap: GapInfo) -> str | None:
    """What its account made after a gap began, and the share of that in all gains and losses."""
    pair = next(each for each in result.info.pairs if (each.venue, each.trading_pair) == (gap.venue, gap.trading_pair))
    account = result.accounts.get(pair.account)
    if account is None:
        return None
    began_ns = gap.start_ns if gap.since_ns is None else gap.since_ns
    rows = result.equity.filter(pl.col("wallet") == account.name, pl.col("ts_recv").cast(pl.Int64) <= began_ns)
    first = result.equity.filter(pl.col("wallet") == account.name).head(1)
    stood = rows.tail(1) if rows.height else first
    gained = [float(each["equity"][0] - each["transfers"][0]) for each in (first, stood)]
    before = gained[1] - gained[0]
    # The table has float64: what differs beyond its digits is none.
    after = Decimal(f"{float(account.net) - before:.9f}")
    whole = abs(before) + abs(float(after))
    share = f", {percent(abs(float(after)) / whole)} of what was gained and lost" if whole > 1e-9 else ""
    return f"{signed(after)} {account.asset} net after it{share}"


def _unnoticed(result: Result, gap: GapInfo) -> str:
    """Since when something had been missing before anybody could know, and what was filled meanwhile."""
    if gap.since_ns is None:
        return ""
    times = pl.col("ts_event").cast(pl.Int64)
    filled = result.fills.filter(
        pl.col("venue") == gap.venue,
        pl.col("trading_pair") == gap.trading_pair,
        times >= gap.since_ns,
        times <= gap.start_ns,
    ).height
    rests = f"{filled:,} fill{' rests' if filled == 1 else 's rest'} on an old book" if filled else "nothing was filled"
    return f"; data were missing since {format_ns(gap.since_ns)}, {rests} until it was noticed"


# -- numbers ------------------------------------------------------------------------------------------------------------


def numbers(titled: Sequence[tuple[str, Any]], but: tuple[str, ...] = ()) -> str:
    """Metrics, with what each means on hover and in a table below; those whose names begin so in the table alone."""
    tiles = "".join(
        f'<div title="{html_text(metric.definition)}"><span>{html_text(title.strip())}</span>'
        f"<b>{html_text(metric.text)}</b></div>"
        for title, metric in titled
        if not (but and metric.name.startswith(but))
    )
    meanings = table(
        ["number", "what it means", "computed from"],
        [[title.strip(), metric.definition, metric.source] for title, metric in titled],
        texts=3,
    )
    return f"<div class=numbers>{tiles}</div><details><summary>What each number means</summary>{meanings}</details>"


def profit_table(result: Result) -> str:
    """Net profit by what it came from, at each horizon."""
    study = result.study
    if study is None:
        return _paragraph(_not_measured(), "faint")
    found = []
    parts = divided(result.info, study)
    for account in result.info.accounts:
        own = [each for each in parts if each.account is account]
        heading = ["part", *(f"{each.horizon_s} s after fills" for each in own)]
        rows = [
            [_PARTS[name], *(signed(dict(each.rows)[name]) for each in own)] for name, _ in (own[0].rows if own else [])
        ]
        total = ["net profit", *(signed(account.net) for _ in own)]
        title = account.asset if len(result.info.accounts) == 1 else f"{account.name} ({account.asset})"
        found.append(f"<h3>{html_text(title)}</h3>{table(heading, [*rows, total], sums=1)}")
        if own and own[0].unmeasured:
            found.append(
                _paragraph(f"Before {own[0].unmeasured:,} fills no price was known: all of them is inventory.", "faint")
            )
    explained = (
        "Spread captured is what fills earned against the middle of the book just before them; adverse selection is where that"
        " middle went within the time above; inventory is what was gained by holding on from then. Each column adds up to the"
        " net profit exactly."
    )
    return "".join(found) + _paragraph(explained, "faint")


def _not_measured() -> str:
    return "Not measured: the recordings that were played were not at hand. Name them: tickdeck report RESULT --recording TAPE"


def market_share(result: Result) -> str:
    """Own volume against the market's, with a warning where such fills would have moved it."""
    study = result.study
    if study is None:
        return _paragraph(_not_measured(), "faint")
    rows = [
        [
            _pair(market),
            f"{market.own_volume:,.10g}",
            f"{market.volume:,.10g}",
            _share(market.own_share),
            _share(market.own_share_max),
            f"{market.large_fills:,}",
        ]
        for market in study.markets
    ]
    head = [
        "pair",
        "own volume",
        "market's",
        "share",
        "largest of a minute",
        f"fills above {OWN_SHARE_MAX:.0%} of a minute",
    ]
    return "".join(_paragraph(text, "warning") for text in share_warnings(study.markets)) + table(head, rows)


def share_warnings(markets: Sequence[MarketInfo]) -> list[str]:
    """In words, of each pair in which own fills are a large share of what was traded."""
    found = []
    for market in markets:
        share, most = market.own_share, f"more than {OWN_SHARE_MAX:.0%}"
        if market.own_volume and share is None:
            why = "none was traded by others"
        elif share is not None and share > OWN_SHARE_MAX:
            why = f"own fills are {percent(share)} of all that was traded, {most}"
        elif market.large_fills:
            why = f"{market.large_fills:,} fills came in minutes of which they are {most}"
        else:
            continue
        found.append(f"{_pair(market)}: {why}: such fills would have moved the market.")
    return found


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def _pair(each: Any) -> str:
    return f"{each.trading_pair} on {each.venue}"


# -- sensitivity --------------------------------------------------------------------------------------------------------


def sensitivity(result: Result) -> str:
    """What becomes of the profit with other assumptions; a change of its sign in words."""
    study = result.study
    reruns = [] if study is None else study.reruns
    if not reruns:
        return _paragraph(
            "Not tried: tickdeck backtest --report runs the strategy again with other assumptions, unless --no-reruns is said.",
            "faint",
        )
    accounts = result.info.accounts
    rows = [["as it was run", "", *(signed(account.net) for account in accounts), "", f"{result.info.fill_count:,}"]]
    words = []
    for rerun in reruns:
        if rerun.why_not:
            rows.append([rerun.title, rerun.setting, *("-" for _ in accounts), "", "not run"])
            continue
        nets = [rerun.nets.get(account.name) for account in accounts]
        differences = ", ".join(
            signed(_less(net, account.net)) for net, account in zip(nets, accounts, strict=True) if net is not None
        )
        shown = ["-" if net is None else signed(net) for net in nets]
        rows.append([rerun.title, rerun.setting, *shown, differences, f"{rerun.fills:,}"])
        words += sign_changes(rerun, accounts)
    head = ["assumption", "setting", *(f"net profit, {account.name}" for account in accounts), "difference", "fills"]
    red = "".join(_paragraph(text, "bad") for text in words)
    tried = sum(not each.why_not for each in reruns)
    under = "all of them" if tried == len(reruns) else f"the {tried} of them that {'was' if tried == 1 else 'were'} run"
    calm = "" if words or not tried else _paragraph(f"The profit keeps its sign under {under}.", "faint")
    why = "".join(_paragraph(f"{each.title}: not run: {each.why_not}", "faint") for each in reruns if each.why_not)
    return f"{red}{calm}{table(head, rows, texts=2)}{why}"


def sign_changes(rerun: Rerun, accounts: Sequence[AccountInfo]) -> list[str]:
    """In words, of each account whose profit has another sign with another assumption."""
    found = []
    for account in accounts:
        net = rerun.nets.get(account.name)
        if net is None or rerun.why_not or ((net > 0) == (account.net > 0) and (net < 0) == (account.net < 0)):
            continue
        words = ["a loss" if value < 0 else "a profit" if value > 0 else "nothing" for value in (account.net, net)]
        found.append(
            f"With {rerun.title} the sign changes: {words[0]} of {money(abs(account.net))} {account.asset} becomes {words[1]}"
            f" of {money(abs(net))}."
        )
    return found


def _less(one: Decimal, other: Decimal) -> Decimal:
    with localcontext(prec=200):
        return one - other


# -- execution ----------------------------------------------------------------------------------------------------------


def execution(result: Result) -> str:
    """How orders fared."""
    lives, info = result.lives, result.info
    times = table(
        ["time", "count", "median", "90 %", "99 %"],
        [
            ["from sending to the venue", *_spread_cells(lives.entry)],
            ["from the venue to the strategy", *_spread_cells(lives.response)],
            ["at rest until the first fill", *_spread_cells(lives.to_fill)],
        ],
    )
    pairs = []
    for pair in info.pairs:
        queue, share = pair.queue, lives.filled_share.get((pair.venue, pair.trading_pair))
        noted = ["not noted"] * 4
        if queue is not None:
            ahead = ["-" if value is None else f"{value:,.6g}" for value in (queue.median, queue.p90)]
            noted = [f"{queue.orders:,}", *ahead, f"{queue.unseen:,}"]
        pairs.append([_pair(pair), f"{pair.maker_fills:,}", f"{pair.taker_fills:,}", _share(share), *noted])
    head = ["pair", "maker fills", "taker fills", "fill ratio", "came to rest", "queue ahead", "90 %", "out of sight"]
    facts = [
        ("requests that came after their order was filled", "not noted" if lives.late is None else f"{lives.late:,}"),
        ("orders that ended as cancelled", f"{lives.cancels:,}"),
        ("answers held back to what caused them", f"{info.counts.get('clipped_responses', 0):,}"),
    ]
    refused = [[reason, f"{count:,}"] for reason, count in lives.rejections]
    refusals = (
        table(["rejected, in the venue's words", "orders"], refused)
        if refused
        else _paragraph("No order was rejected.", "faint")
    )
    return f"{table(head, pairs)}{times}{table(['', 'count'], facts)}{refusals}"


def _spread_cells(spread: Spread | None) -> list[str]:
    if spread is None:
        return ["0", "-", "-", "-"]
    return [f"{spread.count:,}", *(length(ns / NS_PER_S) for ns in (spread.p50, spread.p90, spread.p99))]


# -- assumptions --------------------------------------------------------------------------------------------------------


def assumptions(result: Result) -> str:
    """Every rule and setting in force, with where fees are from."""
    info = result.info
    rules: dict[str, dict[str, Any]] = {
        venue: value for venue, value in info.rules.items() if isinstance(value, dict)
    } or {"": dict(info.rules)}
    names = sorted({name for each in rules.values() for name in each})
    shown = table(["rule", *(venue or "all venues" for venue in rules)], [
        [name, *(_plain(each.get(name)) for each in rules.values())] for name in names
    ], texts=1 + len(rules))  # fmt: skip
    dates = {preset.venue: preset.date for preset in info.presets}
    fees = table(
        ["pair", "maker", "taker", "rounded", "tick", "lot", "fees from", "facts of the venue as of"],
        [
            [
                _pair(pair),
                _rate(pair.maker_fee),
                _rate(pair.taker_fee),
                "-" if pair.fee_decimals is None else f"{pair.fee_rounding}, {pair.fee_decimals} decimals",
                _plain(pair.tick),
                _plain(pair.lot),
                _fee_source(info, pair.venue),
                dates.get(pair.venue) or "-",
            ]
            for pair in info.pairs
        ],
        texts=8,
    )
    settings = [
        ("latency", info.latency),
        ("gap policy", info.gap_policy),
        ("seed", str(info.seed)),
        *((f"parameter {name}", _plain(value)) for name, value in sorted(info.parameters.items())),
        *(
            (name, _plain(value))
            for name, value in sorted(info.settings.items())
            if value not in ({}, [], "") and name != "presets"
        ),
    ]
    return (
        f"{table(['setting', ''], settings, texts=2)}{fees}"
        f"{_tiers(info)}{_presets(result)}<details><summary>Rules of matching in force</summary>{shown}</details>"
    )


def _fee_source(info: RunInfo, venue: str) -> str:
    if any(tier.venue == venue for tier in info.tiers):
        return "the venue's tiers"
    fees = info.settings.get("fees", {})
    return "the settings of the run" if isinstance(fees, dict) and fees.get(venue) else "-"


def old_facts(info: RunInfo) -> list[str]:
    """In words, of each venue whose facts are older than the tape."""
    return [
        f"The facts of {preset.venue} (fees, margin, limits) are of {preset.date}, {preset.days_older:,} days older than the tape:"
        " venues change their rules."
        for preset in info.presets
        if preset.days_older
    ]


def _tiers(info: RunInfo) -> str:
    rows = [
        [
            tier.venue,
            format_ns(tier.time_ns),
            tier.name,
            _rate(tier.maker),
            _rate(tier.taker),
            f"{float(tier.volume):,.10g} in {tier.window_days} days",
        ]
        for tier in info.tiers
    ]
    return table(["fee tier at", "from", "tier", "maker", "taker", "volume then"], rows, texts=6) if rows else ""


def _presets(result: Result) -> str:
    """The values of venues' facts that the run rests on, each with how sure it is; and what is not known for certain."""
    found = []
    for preset in result.info.presets:
        use, pairs = _use(result, preset), [each.trading_pair for each in result.info.pairs]
        used = used_by(use, preset.values)
        rows = [
            [path, value, MARKS.get(said.partition(":")[0], "not said"), said.partition(": ")[2] or "-"]
            for path, value in preset.values.items()
            for said in [preset.evidence.get(path, "")]
            if is_rested_on(path, used, pairs)
        ]
        unsure = sum(row[2] != MARKS["d"] for row in rows)
        title = f"Facts of {preset.venue} that the run rests on, as of {preset.date or '-'}"
        told = f"From {preset.source or '-'}. {len(rows):,} values, of which {unsure:,} {'is' if unsure == 1 else 'are'} not documented by the venue."
        shown = table(["value of", "taken", "how sure", "from"], rows, texts=4) if rows else ""
        unknown = "".join(f"<li>{html_text(each)}</li>" for each in preset.unknown)
        not_known = f"<details><summary>What of it is not known for certain</summary><ul>{unknown}</ul></details>"
        found.append(f"<h3>{html_text(title)}</h3>{_paragraph(told, 'faint')}{shown}{not_known if unknown else ''}")
    return "".join(found)


def _use(result: Result, preset: PresetInfo) -> Use:
    info, venue = result.info, preset.venue
    money = info.settings.get("money") or {}
    pairs = [each for each in info.pairs if each.venue == venue]
    orders = result.orders.filter(pl.col("venue") == venue)
    tiers = [tier.name for tier in info.tiers if tier.venue == venue]
    known = [preset.values.get(f"fees.{role}") for role in ("maker", "taker")]
    theirs = [[str(each.maker_fee), str(each.taker_fee)] == known for each in pairs if each.maker_fee is not None]
    return Use(
        tiers=tiers,
        has_own_fees=not tiers and ("fees.window_days" in preset.values or not all(theirs)),
        has_fills=any(each.turnover for each in pairs),
        has_spot=any(each.contract == "spot" for each in pairs),
        has_funding=any(each.funding for each in pairs) or bool(info.counts.get("funding_missed")),
        has_leverage=bool(money.get("leverage")),
        is_isolated="isolated" in (money.get("margin") or {}).values(),
        is_liquidated=any(info.pairs[step.pair].venue == venue for step in info.liquidations),
        has_blocks=bool(money.get("block_ns")),
        order_types=orders["order_type"].unique().to_list(),
        statuses=orders["status"].unique().to_list(),
    )


def liquidations(result: Result) -> str:
    """Each step by which the venue has closed a position; nothing where there was none."""
    info = result.info
    rows = [
        [
            format_ns(step.time_ns),
            _pair(info.pairs[step.pair]),
            step.what,
            *(_short(each) for each in (step.size, step.mark_price)),
            "as far as the book went" if step.price is None else _short(step.price),
            *(_short(each) for each in (step.equity, step.maintenance)),
        ]
        for step in info.liquidations[:_GAPS_MAX]
    ]
    if not rows:
        return ""
    told = f"The venue has closed a position in {len(info.liquidations):,} step{'s' if len(info.liquidations) > 1 else ''}."
    head = ["liquidated at", "pair", "how", "size", "mark", "limit", "what stood for it", "needed"]
    return _paragraph(told, "warning") + table(head, rows, texts=3)


def _rate(value: Decimal | None) -> str:
    return "-" if value is None else f"{Decimal(value).scaleb(4).normalize():f} bp"


def _short(number: str) -> str:
    """A number of the result, which may have eighteen decimals."""
    return f"{float(number):,.10g}"


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict | list | tuple):
        return msgspec.json.encode(value, order="sorted").decode()
    return str(value)


# -- data ---------------------------------------------------------------------------------------------------------------


def data_quality(result: Result) -> str:
    """What was played, and how much of it can be believed."""
    info, study = result.info, result.study
    tapes = table(
        ["recording", "from", "to", "digest"],
        [[_plain(each.get(name)) for name in ("name", "start", "end", "digest")] for each in info.recordings],
        texts=4,
    )
    gaps = [
        [
            _pair(gap),
            format_ns(gap.start_ns),
            "-" if gap.end_ns is None else length((gap.end_ns - gap.start_ns) / NS_PER_S),
            gap.cause,
            _across(gap) + _unnoticed(result, gap),
            profit_after(result, gap) or "-",
        ]
        for gap in info.gaps[:_GAPS_MAX]
    ]
    head = ["gap of", "began", "lasted", "cause", "orders", "afterwards"]
    found = table(head, gaps, texts=6) if gaps else _paragraph("No gap in the books and trades of the run.", "faint")
    if study is None:
        return tapes + found + _paragraph(_not_measured(), "faint")
    return tapes + found + _markets(study.markets)


def _markets(markets: Sequence[MarketInfo]) -> str:
    books = [
        [
            _pair(market),
            *(_of_time(ns, market.known_ns) for ns in (market.stale_ns, market.crossed_ns, market.one_sided_ns)),
            f"{market.trades:,}",
            percent(market.sideless / market.trades) if market.trades else "-",
        ]
        for market in markets
    ]
    delays = [
        [
            f"{_pair(market)}, {delay.table}",
            f"{delay.messages:,}",
            *("-" if value is None else _ms(value) for value in (delay.p50, delay.p90, delay.p99)),
            f"{delay.negative:,}",
            f"{delay.untimed:,}",
        ]
        for market in markets
        for delay in market.delays
    ]
    note = (
        "Delays are from the venue's own time to receipt, by both clocks as they were: below zero one of them is wrong."
        if any(delay.negative for market in markets for delay in market.delays)
        else ""
    )
    return (
        table(["book of", "stale", "crossed", "one side only", "trades", "without a side"], books)
        + table(["feed delay", "messages", "median", "90 %", "99 %", "below zero", "without a time"], delays)
        + (_paragraph(note, "faint") if note else "")
    )


def _of_time(ns: int, whole: int) -> str:
    return percent(ns / whole) if whole else "-"


def _ms(ns: int) -> str:
    return f"{ns / 1e6:,.4g} ms"
