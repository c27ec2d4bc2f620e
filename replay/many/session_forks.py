"""A session of the Python tier that goes on as another from an instant on."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from replay.backtest.exchange import Exchange
from replay.market.layout import encode_rules
from replay.strategy.decision_log import LogRow
from replay.strategy.plan import RunPlan
from replay.strategy.session import TradingSession
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.messages import Message, StreamEvent
from toolkit.timing.clock_jumps import jump_of

__all__ = ["go_on_as", "settle"]


@runtime_checkable
class KeepsParameters(Protocol):
    """A strategy that has its parameters in another form as well."""

    def _take_parameters(self) -> None:
        """They have changed."""


def settle(session: TradingSession, at_ns: int, following: Message | None) -> None:
    """
    Do all that is due before an instant, and end no frame by it: the next one goes on from there.

    Args:
        session: The session.
        at_ns: The instant.
        following: The next message, which may say that the clock was set: what is due until then may be passed over.
    """
    session.end_frame()
    passes_over = isinstance(following, StreamEvent) and jump_of(following) is not None
    if session.is_running and not passes_over:
        session._reach(at_ns - 1)
    session._frame = None


def go_on_as(session: TradingSession, base: RunPlan, plan: RunPlan, at_ns: int) -> None:
    """
    Go on with the parameters, the latency, the rules or the strategy of another plan.

    Raises ConfigError for what cannot change then.
    """
    head = session._recorder.head
    fork = head.settings["fork"]
    own = plan._run_head(head.kind, head.recordings)
    session._recorder.head = type(head)(
        **{name: getattr(own, name) for name in own.__dataclass_fields__ if name != "settings"},
        settings={**own.settings, "fork": fork},
    )
    changes: list[Any] = []
    if plan.settings.latency != base.settings.latency or plan.settings.clock_offset_ns != base.settings.clock_offset_ns:
        _change_latency(session.exchange, plan)
        changes.append(("latency", plan.settings.latency))
    if plan.rules != base.rules:
        _change_rules(session.exchange, plan, at_ns)
        changes.append(("rules", plan.settings.preset, sorted(plan.settings.rules.items())))
    if plan.loaded.cls is base.loaded.cls or plan.loaded.source_hash == base.loaded.source_hash:
        changes += _set_parameters(session, base, plan)
    else:
        changes.append(("strategy", plan.head.strategy))
    if changes:
        session.log.add(LogRow(session.now_ns, "fork", (at_ns,), tuple(changes)))
    if changes and changes[-1][0] == "strategy":
        session._loaded = plan.loaded
        session.strategy = plan.fresh_strategy(session)
        session._timers.clear()
        session._wake_by(session.strategy)
        if session.is_running:
            session.begin(max(session.now_ns, at_ns))


def _set_parameters(session: TradingSession, base: RunPlan, plan: RunPlan) -> list[tuple[str, Any]]:
    """Set those that are another; the others are left as the strategy has made them."""
    before, after = base.head.parameters, plan.head.parameters
    changed = [name for name in after if after[name] != before.get(name)]
    if not changed:
        return []
    fresh = plan.fresh_strategy(session)
    for name in changed:
        setattr(session.strategy, name, getattr(fresh, name))
    if isinstance(session.strategy, KeepsParameters):
        session.strategy._take_parameters()
    return [(name, after[name]) for name in changed]


def _change_latency(exchange: Exchange, plan: RunPlan) -> None:
    model = plan._latency()
    if model.follows_feed or exchange._follows_feed:
        raise ConfigError(
            "the latency of a fork is from the feed, whose delay is known by having received it from the beginning; expected"
            " constant ones before and after it, for instance entry=3.5ms,response=2ms"
        )
    exchange._latency = exchange._mail._latency = model


def _change_rules(exchange: Exchange, plan: RunPlan, at_ns: int) -> None:
    for desk in exchange._desks.values():
        rules = plan.rules[desk.venue]
        if rules == desk.rules:
            continue
        desk.settle()
        if desk.core.state.counters["live"][0]:
            raise ConfigError(
                f"the rules of matching differ, and orders rest at {format_ns(at_ns)}, whose places in queues are by the"
                " rules until then; expected the same rules, or a fork where nothing rests"
            )
        desk.rules = desk.core.rules = rules
        desk.core.state.rules[:] = encode_rules(rules)
