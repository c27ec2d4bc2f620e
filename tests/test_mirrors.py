"""
A test file is called after the module that it holds, so that whoever changes a module knows what to run.

`toolkit/books/tracker.py` is held by `tests/toolkit/books/test_tracker.py`, or by several files that begin like that:
`test_tracker_of_two_venues.py`. What departs from it is listed here, with the reason, and a list that says too much fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

import pytest

from tests.test_layers import ROOT, Source, sources

#: Rooms that are one machine: what goes in is a request or a frame, what comes out is payloads or decisions, and the tests
#: are of the whole. They are called after the room and stand beside its tests' folder: `test_recorded_books.py`.
MACHINES: Final = (
    "replay/serving/venues/*/recorded",
    "replay/serving/venues/*/synthetic",
    "replay/strategy",
    "replay/paper",
)

#: Modules that no test is called after, and the tests that fail when they are wrong.
HELD_BY: Final[dict[str, tuple[str, ...]]] = {
    # Values: fields without behaviour. What carries them would lose or change one.
    "toolkit/messages.py": ("tests/recordings/format/test_messages_to_rows.py", "tests/toolkit/test_digest.py"),
    "toolkit/account_messages.py": ("tests/recordings/format/test_messages_to_rows_accounts.py",),
    "toolkit/frames.py": ("tests/recordings/journal/test_journal_reader.py", "tests/toolkit/test_protocol.py"),
    "toolkit/errors.py": ("tests/toolkit/cli/test_main.py",),
    "toolkit/accounts/connector_events.py": ("tests/toolkit/test_connector.py",),
    "toolkit/live/status.py": ("tests/toolkit/live/test_source.py",),
    "recordings/writing/recorder_checks.py": (
        "tests/toolkit/cli/commands/test_record.py",
        "tests/recordings/test_recorder.py",
    ),
    "recordings/writing/recording_session.py": (
        "tests/recordings/test_recorder.py",
        "tests/recordings/test_recorder_faults.py",
    ),
    "toolkit/cli/options/record_settings.py": ("tests/toolkit/cli/options/test_settings.py",),
    "recordings/writing/recorder_options.py": ("tests/recordings/test_recorder.py",),
    "recordings/writing/recorder_status.py": ("tests/recordings/test_recorder.py",),
    # Interfaces: each of their tests is of who implements them.
    "toolkit/datasource.py": ("tests/toolkit/live/test_source.py", "tests/replay/test_source.py"),
    "toolkit/facets.py": ("tests/replay/test_connector.py", "tests/toolkit/live/test_source.py"),
    "toolkit/columnar.py": ("tests/toolkit/venues/binance/test_columnar.py",),
    "recordings/storage/child_environment.py": (
        "tests/recordings/writing/test_sealer_process_end.py",
        "tests/recordings/states/test_compiling_beside.py",
    ),
    "recordings/importing/array_lines.py": ("tests/recordings/importing/test_line_blocks.py",),
    "recordings/care/raw_replay.py": (
        "tests/recordings/care/test_raw_parts.py",
        "tests/recordings/care/test_verifying.py",
    ),
    "recordings/care/part_processes.py": (
        "tests/recordings/care/test_raw_parts.py",
        "tests/recordings/care/test_renormalizing_parts.py",
    ),
    "recordings/care/remade_segments.py": (
        "tests/recordings/care/test_rewriting.py",
        "tests/recordings/care/test_renormalizing_parts.py",
    ),
    # What compiled code of venues shares.
    "toolkit/kernels/fusion.py": ("tests/toolkit/venues/hyperliquid/test_columnar.py",),
    "toolkit/kernels/fusion_state.py": ("tests/toolkit/venues/hyperliquid/test_columnar.py",),
    "toolkit/kernels/run_taker.py": ("tests/toolkit/venues/*/test_columnar*.py",),
    "toolkit/kernels/growing.py": ("tests/toolkit/venues/*/test_columnar.py",),
    # Names that programs outside of the project import, and nothing else.
    "toolkit/tracker.py": ("tests/test_mirrors.py",),
    "toolkit/user_tracker.py": ("tests/test_mirrors.py",),
    "toolkit/kernels/shelf.py": ("tests/test_mirrors.py",),
    # One table of kinds of harm by places.
    "toolkit/borders.py": ("tests/test_borders.py",),
    # What a run over the engine consists of: wherever one of them is wrong, the run is another than that of a plain session.
    "replay/fast_classes/class_log.py": ("tests/replay/fast_classes/test_class_run.py",),
    "replay/fast_classes/engine_book.py": ("tests/replay/fast_classes/test_class_run.py",),
    "replay/fast_classes/kernel_wakes.py": ("tests/replay/fast_classes/test_run_ahead.py",),
    "replay/fast_classes/engine_calls.py": ("tests/replay/fast_classes/test_class_run.py",),
    "replay/fast_classes/engine_exchange.py": ("tests/replay/fast_classes/test_class_run.py",),
    # Runs that share a pass, and that part in one: each test is of what comes of them.
    "replay/many/*.py": ("tests/replay/many/test_many_runs*.py",),
    # Pages of Parquet into columns: each test compares whole columns with what Arrow reads.
    "recordings/columns/kernel*.py": ("tests/recordings/columns/test_parquet_pages.py",),
    "recordings/columns/page_columns.py": ("tests/recordings/columns/test_parquet_pages.py",),
    # The money of a venue: each test is of one thing that may happen to it, and comes to several of these.
    "replay/clearing/*.py": ("tests/replay/clearing/test_*.py",),
    "toolkit/books/checked_levels.py": ("tests/toolkit/books/test_orderbook.py",),
    # What a command shows, seen through the command.
    "replay/reports/*.py": ("tests/toolkit/cli/commands/test_report.py",),
    "toolkit/cli/output/run_bar.py": ("tests/toolkit/cli/commands/test_report.py",),
    "toolkit/cli/output/run_doubts.py": ("tests/replay/clearing/test_missing_prices.py",),
    # Steps of one way, which tests drive from its two ends.
    "replay/fast/actions.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/backtesting.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/engine_layout.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/failed_call.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/kernel_actions.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/kernel_engine.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/kernel_mail.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/kernel_view.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/run_log.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/step_strategy.py": ("tests/replay/fast/test_step_run.py",),
    "replay/fast/book_layout.py": ("tests/replay/fast/test_fused_books.py",),
    "replay/fast/book_units.py": ("tests/replay/fast/test_fused_books.py",),
    "replay/fast/kernel_books.py": ("tests/replay/fast/test_fused_books.py",),
    "replay/fast/kernel_steps.py": ("tests/replay/fast/test_level_columns.py",),
    "replay/pace.py": ("tests/replay/test_player.py",),
    "replay/holes.py": ("tests/replay/test_tape.py", "tests/replay/test_column_tape.py"),
    "replay/reels.py": ("tests/replay/test_tape.py", "tests/replay/test_column_tape.py"),
    "toolkit/accounts/client_orders.py": ("tests/toolkit/accounts/test_orders.py",),
    "toolkit/accounts/user_tracker.py": ("tests/toolkit/accounts/test_orders.py", "tests/toolkit/test_connector.py"),
    "toolkit/keys.py": ("tests/replay/test_venues_of_a_pair.py", "tests/toolkit/books/test_tracker.py"),
    "toolkit/live/clock_sync.py": ("tests/recordings/writing/test_clock_notes.py",),
    "toolkit/live/clock_watch.py": ("tests/toolkit/live/test_watchdog.py",),
    "toolkit/live/failure_log.py": ("tests/toolkit/live/test_source.py",),
    "toolkit/live/intake.py": ("tests/toolkit/live/test_source.py",),
    "toolkit/live/rest_requests.py": ("tests/toolkit/live/test_source.py",),
    "toolkit/transport/addresses.py": ("tests/toolkit/transport/test_websocket.py",),
    "toolkit/transport/failures.py": (
        "tests/toolkit/transport/test_rest.py",
        "tests/toolkit/transport/test_websocket.py",
    ),
    "toolkit/transport/hosts.py": ("tests/replay/serving/test_server.py",),
    "toolkit/transport/json_request.py": ("tests/toolkit/cli/commands/test_serve.py", "tests/test_docs.py"),
    "toolkit/transport/message_stream.py": ("tests/recordings/following/test_tee.py",),
    "toolkit/transport/security.py": ("tests/toolkit/transport/test_websocket.py",),
    "toolkit/transport/server.py": ("tests/replay/serving/test_server.py", "tests/recordings/following/test_tee.py"),
    "toolkit/transport/splitter.py": ("tests/toolkit/transport/test_connection.py",),
    "recordings/care/compacting.py": ("tests/recordings/care/test_rewriting.py",),
    "recordings/care/pruning.py": ("tests/recordings/care/test_rewriting.py",),
    "recordings/care/vouching.py": ("tests/recordings/care/test_rewriting.py",),
    "recordings/care/recounting.py": ("tests/recordings/care/test_verifying.py",),
    "recordings/catalogue.py": (
        "tests/toolkit/cli/commands/test_info.py",
        "tests/toolkit/cli/test_damaged_manifests.py",
    ),
    "recordings/following/*.py": ("tests/recordings/following/test_tee.py", "tests/replay/test_follow.py"),
    "recordings/format/columns_to_rows.py": ("tests/toolkit/venues/binance/test_columnar.py",),
    "recordings/format/frames_to_rows.py": ("tests/recordings/format/test_rows_to_messages.py",),
    "recordings/format/software.py": ("tests/recordings/test_recorder.py",),
    "recordings/format/file_names.py": ("tests/recordings/care/test_rewriting.py",),
    "recordings/journal/batch_search.py": ("tests/recordings/journal/test_journal_reader.py",),
    "recordings/queries/lazy_tables.py": ("tests/analysis/test_table_source.py", "tests/analysis/test_scan_tables.py"),
    "recordings/queries/pair_names.py": ("tests/toolkit/cli/options/test_shared_options.py",),
    "recordings/queries/several_recordings.py": ("tests/analysis/test_scan_tables.py",),
    "recordings/queries/clock_steps.py": (
        "tests/analysis/test_feed_evidence.py",
        "tests/recordings/queries/test_gaps.py",
    ),
    "recordings/reading/loss.py": ("tests/recordings/care/test_recovery.py", "tests/recordings/reading/test_tail.py"),
    "recordings/reading/raw_frames.py": ("tests/recordings/test_recording.py",),
    "recordings/reading/sorted_rows.py": ("tests/recordings/format/test_row_order.py",),
    "recordings/reading/unsealed.py": (
        "tests/recordings/reading/test_tail.py",
        "tests/recordings/care/test_compiled_care.py",
        "tests/recordings/test_open_recordings.py",
    ),
    "recordings/sealing/raw_writer.py": ("tests/recordings/sealing/test_segment_writer.py",),
    "recordings/sealing/leftovers.py": ("tests/recordings/care/test_recovery.py",),
    "recordings/states/normalizer.py": ("tests/test_live_equals_replay.py",),
    "recordings/storage/atomic_files.py": ("tests/recordings/test_power_cuts.py",),
    "recordings/storage/crash_points.py": ("tests/recordings/test_power_cuts.py",),
    "recordings/storage/set_aside.py": ("tests/recordings/care/test_recovery.py",),
    "recordings/writing/*.py": (
        "tests/recordings/test_recorder.py",
        "tests/recordings/test_recorder_faults.py",
        "tests/recordings/care/test_recovery_carry_over.py",
    ),
    # Parts of a protocol, which is a state machine: what goes in is a frame, what comes out is messages.
    "toolkit/venues/binance/*.py": (
        "tests/toolkit/venues/binance/test_feeds.py",
        "tests/toolkit/venues/binance/test_columnar.py",
    ),
    "toolkit/venues/dydx_v4/accounts_*.py": ("tests/toolkit/venues/dydx_v4/test_accounts.py",),
    "toolkit/venues/dydx_v4/*.py": (
        "tests/toolkit/venues/dydx_v4/test_market.py",
        "tests/toolkit/venues/dydx_v4/test_accounts.py",
        "tests/replay/test_account_sessions.py",
    ),
    "toolkit/venues/hyperliquid/accounts_*.py": ("tests/toolkit/venues/hyperliquid/test_accounts.py",),
    "toolkit/venues/hyperliquid/*.py": (
        "tests/toolkit/venues/hyperliquid/test_market.py",
        "tests/toolkit/venues/hyperliquid/test_accounts.py",
        "tests/replay/test_account_sessions.py",
    ),
    # Kernels: compiled code has to make what the plain one makes, and tests call it through what uses it.
    "toolkit/kernels/compiling.py": ("tests/toolkit/kernels/test_levels.py", "tests/replay/market/test_core.py"),
    "toolkit/kernels/lines.py": ("tests/recordings/importing/test_line_blocks.py",),
    "replay/market/kernel_*.py": ("tests/replay/market/test_core.py", "tests/replay/market/test_default_rules.py"),
    "replay/stretches/prepared.py": ("tests/replay/stretches/test_stretch_player.py",),
    "replay/stretches/kept_books.py": ("tests/replay/stretches/test_stretch_player.py",),
    "replay/market/engine/*.py": (
        "tests/replay/market/engine/test_book.py",
        "tests/replay/market/engine/test_exchange.py",
        "tests/replay/serving/venues/*/test_synthetic.py",
    ),
    # A run as a whole: script or strategy in, reports out.
    "replay/backtest/*.py": (
        "tests/replay/backtest/test_exchange.py",
        "tests/replay/backtest/test_running.py",
        "tests/toolkit/cli/commands/test_backtest.py",
    ),
    "replay/ledger/*.py": ("tests/replay/ledger/test_ledger.py", "tests/replay/results/test_result.py"),
    "replay/results/*.py": ("tests/replay/results/test_result.py", "tests/toolkit/cli/commands/test_backtest.py"),
    "replay/recorded_source.py": ("tests/replay/test_source.py", "tests/replay/test_follow.py"),
    "replay/serving/*.py": (
        "tests/replay/serving/test_deck.py",
        "tests/replay/serving/test_server.py",
        "tests/replay/test_embedded.py",
    ),
    "replay/serving/venues/*/*.py": (
        "tests/replay/serving/venues/*/test_recorded.py",
        "tests/replay/serving/venues/*/test_synthetic.py",
    ),
    "replay/synthetic/*.py": ("tests/replay/synthetic/test_market.py", "tests/replay/test_embedded.py"),
    # The command line: a command is tried as its users call it.
    "toolkit/cli/commands/analyze_account.py": ("tests/analysis/accounts/test_order_reports.py",),
    "toolkit/cli/commands/care.py": ("tests/toolkit/cli/test_names.py", "tests/test_borders.py"),
    "toolkit/cli/commands/ctl.py": ("tests/test_docs.py", "tests/toolkit/cli/commands/test_serve.py"),
    "toolkit/cli/commands/recover.py": ("tests/toolkit/cli/test_damaged_manifests.py",),
    "toolkit/cli/commands/backtest_strategy.py": ("tests/replay/strategy/test_backtesting.py", "tests/test_docs.py"),
    "toolkit/cli/options/run_options.py": ("tests/replay/strategy/test_backtesting.py", "tests/test_docs.py"),
    "toolkit/cli/groups.py": ("tests/toolkit/cli/test_main.py",),
    "toolkit/cli/interrupts.py": ("tests/toolkit/cli/test_process.py",),
    "toolkit/cli/start.py": ("tests/toolkit/cli/test_process.py",),
    "toolkit/cli/options/no_check.py": (
        "tests/recordings/test_checking.py",
        "tests/toolkit/cli/options/test_shared_options.py",
    ),
    "toolkit/cli/options/record_config.py": ("tests/toolkit/cli/options/test_settings.py",),
    "toolkit/cli/options/value_types.py": ("tests/toolkit/cli/options/test_shared_options.py",),
    "toolkit/cli/output/instrument_names.py": ("tests/toolkit/cli/options/test_shared_options_venues.py",),
    "toolkit/cli/output/status_page.py": ("tests/toolkit/cli/commands/test_record.py",),
    # Reports: exact arithmetic over whole sessions says what every step has to come to.
    "analysis/accounts/*.py": ("tests/analysis/test_exact_books.py", "tests/analysis/accounts/test_pnl.py"),
    "analysis/batch_grouping.py": ("tests/analysis/test_spread_buckets.py", "tests/analysis/test_spread_summary.py"),
    "analysis/quote_durations.py": ("tests/analysis/test_spread_summary.py", "tests/analysis/test_exact_books.py"),
}

#: Tests of no module: of what several do together, or of a rule about all of them.
OF_SEVERAL: Final = (
    "tests/test_*.py",
    "tests/chaos/*",
    "tests/conformance/*",
    "tests/flips/*",
    "tests/fuzz/*",
    "tests/golden/*",
    "tests/models/*",
    "tests/analysis/test_exact_books.py",
    "tests/recordings/test_open_recordings.py",
    "tests/recordings/test_power_cuts.py",
    "tests/recordings/test_promises.py",
    "tests/recordings/test_readers_meet_writers.py",
    "tests/recordings/test_several_venues.py",
    "tests/replay/clearing/test_*.py",
    "tests/recordings/care/test_compiled_care.py",
    "tests/replay/market/test_default_rules.py",
    "tests/replay/market/test_stale_books.py",
    "tests/replay/backtest/test_rule_tables.py",
    "tests/replay/results/test_frames_at_once.py",
    "tests/replay/results/test_report_in_a_browser.py",
    "tests/replay/results/test_results_*.py",
    "tests/replay/serving/test_*.py",
    "tests/replay/test_account_sessions.py",
    "tests/replay/test_connector.py",
    "tests/replay/test_determinism.py",
    "tests/replay/test_rooms.py",
    "tests/replay/test_venues_of_a_pair.py",
    "tests/toolkit/cli/test_damaged_manifests.py",
    "tests/toolkit/cli/test_names.py",
    "tests/toolkit/cli/test_reasons.py",
)

#: What loads modules by their names, and those that it finds.
FINDERS: Final = {
    "toolkit.venue": "toolkit.venues.",
    "replay.serving.registry": "replay.serving.venues.",
    "toolkit.cli.main": "toolkit.cli.commands.",
}


@cache
def modules() -> dict[str, Source]:
    """Modules of the packages by their file; faces of folders apart, and what only starts a command."""
    names = {source.name.replace(".", "/") + ".py": source for source in sources() if not source.is_package}
    return {path: source for path, source in names.items() if not path.endswith("__main__.py")}


@cache
def files_of_tests() -> tuple[str, ...]:
    """Every file of tests."""
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")))


@cache
def has_test(module: str) -> bool:
    """Whether a test is called after a module."""
    return any(is_called_after(test, module) for test in files_of_tests())


def is_called_after(test: str, module: str) -> bool:
    """Whether a test's file is called after a module, or after the room that it is a part of."""
    room, name = _split(module)
    if _is_of(test, f"tests/{room}", name):
        return True
    above, its_name = _split(room)
    return _is_machine(room) and (_is_of(test, f"tests/{above}", its_name) or test.startswith(f"tests/{room}/test_"))


def _split(path: str) -> tuple[str, str]:
    """The folder of a module or a room, and its name."""
    folder, _, name = path.rpartition("/")
    return folder, name.removesuffix(".py").rstrip("_")


@cache
def _is_machine(room: str) -> bool:
    return is_listed(room, MACHINES)


def _is_of(test: str, folder: str, name: str) -> bool:
    begin = f"{folder}/test_{name}"
    return test.startswith(begin) and (
        test == f"{begin}.py" or (test[len(begin)] == "_" and "/" not in test[len(begin) :])
    )


def is_listed(path: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is the path's; `*` stands for a part of a name, and at the end for a folder's files."""
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]*"), path) for pattern in patterns)


@cache
def first_pattern(module: str) -> str | None:
    """The first entry of the list that names a module; None for one that is not on it."""
    return next((pattern for pattern in HELD_BY if is_listed(module, [pattern])), None)


@cache
def _sources_by_name() -> dict[str, Source]:
    everything = {source.name: source for source in sources()}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        everything[name] = Source(name, parts[-1] == "__init__", path.read_text(encoding="utf-8"))
    return everything


@cache
def reached_from(test: str) -> frozenset[str]:
    """Every module that a test comes to by imports, those that are found by their names included."""
    everything = _sources_by_name()
    reached: set[str] = set()
    waiting = [test.removesuffix(".py").replace("/", ".")]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in everything:
            continue
        reached.add(name)
        waiting += _next_of(name)
    return frozenset(reached)


@cache
def _next_of(name: str) -> tuple[str, ...]:
    """Modules that one comes to in one step."""
    everything = _sources_by_name()
    found = [module for used, _ in everything[name].uses for module in (used, used.rpartition(".")[0])]
    found += [f"{started}.__main__" for started in re.findall(r'"-m", "([\w.]+)"', everything[name].text)]
    found += [module for module in everything if name in FINDERS and module.startswith(FINDERS[name])]
    return tuple(dict.fromkeys(found))


def test_every_module_has_a_test_of_its_name_or_is_listed() -> None:
    """One that has neither is held by nothing that its author would find."""
    assert len(modules()) > 300
    bare = [module for module in modules() if not has_test(module)]
    assert [module for module in bare if not is_listed(module, HELD_BY)] == []


def test_every_test_is_called_after_a_module_or_is_listed() -> None:
    """One that is called otherwise is not found by who changes what it holds."""
    stray = [test for test in files_of_tests() if not any(is_called_after(test, module) for module in modules())]
    assert [test for test in stray if not is_listed(test, OF_SEVERAL)] == []


@pytest.mark.parametrize("pattern", HELD_BY)
def test_the_list_says_no_more_than_it_has_to(pattern: str) -> None:
    """Its modules are there and have no test of their own, and a test that it names comes to each of them."""
    first = [module for module in modules() if first_pattern(module) == pattern and not has_test(module)]
    assert first, f"{pattern} has tests of its name, or is not there: take it off the list"
    holders = [test for test in files_of_tests() if is_listed(test, HELD_BY[pattern])]
    assert all(any(is_listed(test, [named]) for test in holders) for named in HELD_BY[pattern])
    reached = frozenset().union(*map(reached_from, holders))
    assert [module for module in first if modules()[module].name not in reached] == []


def test_every_test_of_several_is_there() -> None:
    """What is listed and no longer there is taken off."""
    assert [pattern for pattern in OF_SEVERAL if not any(is_listed(test, [pattern]) for test in files_of_tests())] == []


def test_names_that_programs_outside_import_are_those_of_the_modules() -> None:
    from recordings.importing import ImportOptions, import_capture, importer
    from toolkit.accounts import user_tracker
    from toolkit.books import tracker
    from toolkit.kernels import disk_cache
    from toolkit.kernels.shelf import kernel_folder
    from toolkit.tracker import OrderBookTracker
    from toolkit.user_tracker import UserStreamTracker

    assert (ImportOptions, import_capture) == (importer.ImportOptions, importer.import_capture)
    assert (OrderBookTracker, UserStreamTracker) == (tracker.OrderBookTracker, user_tracker.UserStreamTracker)
    assert kernel_folder is disk_cache.kernel_folder


@pytest.mark.parametrize(
    ("test", "module", "is_its"),
    [
        ("tests/toolkit/books/test_tracker.py", "toolkit/books/tracker.py", True),
        ("tests/toolkit/books/test_tracker_of_two.py", "toolkit/books/tracker.py", True),
        ("tests/toolkit/books/test_trackers.py", "toolkit/books/tracker.py", False),
        ("tests/toolkit/test_tracker.py", "toolkit/books/tracker.py", False),
        ("tests/toolkit/cli/commands/test_import.py", "toolkit/cli/commands/import_.py", True),
        ("tests/replay/serving/venues/x/test_recorded_rest.py", "replay/serving/venues/x/recorded/books.py", True),
        ("tests/replay/serving/venues/x/test_recorded_rest.py", "replay/serving/venues/x/requests.py", False),
        ("tests/recordings/test_writing.py", "recordings/writing/rotation.py", False),
    ],
)
def test_a_name_is_told_from_another(test: str, module: str, is_its: bool) -> None:
    assert is_called_after(test, module) is is_its
