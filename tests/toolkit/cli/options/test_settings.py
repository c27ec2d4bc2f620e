"""What a recorder is told: options, keys of a file and the page of the documents are one list."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import trustme

from tests.embedded_recording import ROOT
from tests.toolkit.cli.terminal import only_error, run
from toolkit.cli.main import cli
from toolkit.cli.options.record_config import config_text, read_config
from toolkit.cli.options.record_settings import RecordSettings
from toolkit.cli.options.settings import GENERAL, OF_VENUE, Setting, toml_text

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
SETTINGS = (*GENERAL, *OF_VENUE)
VENUE = '[[venue]]\nname = "hyperliquid"\npairs = ["BTC-USD"]\n'


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the page names: the command refuses those that are not there."""
    monkeypatch.chdir(tmp_path)
    for name in ("mirror.pem", "ca.pem"):
        trustme.CA().cert_pem.write_to_path(name)


def example() -> dict[str, Any]:
    """The file of the page that has every key."""
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return tomllib.loads(text)


def value_of(setting: Setting) -> Any:
    values = example()
    return values[setting.key] if setting in GENERAL else values["venue"][0][setting.key]


def file_with(setting: Setting, text: str) -> str:
    line = f"{setting.key} = {text}\n"
    return line + VENUE if setting in GENERAL else VENUE + line


def in_force(*words: str | Path) -> str:
    done = run("record", *words, "--print-config")
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def test_options_and_keys_are_the_same() -> None:
    command = cli.get_command(click.Context(cli), "record")
    assert command is not None
    options = {option.opts[-1] for option in command.params if isinstance(option, click.Option)}
    assert options == {setting.option for setting in SETTINGS} | {"--config", "--print-config", "--venue"}
    for setting in SETTINGS:
        assert setting.option[2:].replace("-", "_").rstrip("s") == setting.key.rstrip("s")


def test_every_setting_is_a_field_with_a_type() -> None:
    """In the same order; a setting that is added without a field would end every command that has it."""
    assert [field.name for field in fields(RecordSettings)] == [setting.key for setting in SETTINGS]


def test_the_page_has_every_key_with_its_option_and_default() -> None:
    rows = {
        cells[0].strip("`"): cells
        for line in PAGE.splitlines()
        if line.startswith("| `")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    assert list(rows) == [setting.key for setting in GENERAL] + ["name", "pairs"] + [each.key for each in OF_VENUE]
    for setting in SETTINGS:
        _, option, _, default, meaning = rows[setting.key]
        assert f"`{setting.option}`" in option
        assert meaning
        if setting.default is not None:
            assert default == f"`{setting.default}`"


def test_the_example_has_every_key() -> None:
    values = example()
    (venue,) = values.pop("venue")
    assert list(values) == [setting.key for setting in GENERAL]
    assert list(venue) == ["name", "pairs", *(setting.key for setting in OF_VENUE)]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_key_and_its_option_do_the_same(tmp_path: Path, setting: Setting) -> None:
    """And what is printed of it is a file that does the same again."""
    value = value_of(setting)
    config = tmp_path / "record.toml"
    written = value.isoformat() if setting.key == "until" else toml_text(value)
    config.write_text(file_with(setting, written))
    words = [str(each) for each in (value if isinstance(value, list) else [written.strip('"')])]
    option = [setting.option] if value is True else [part for word in words for part in (setting.option, word)]
    plain = in_force("hyperliquid", "BTC-USD")
    from_file = in_force("--config", config)
    assert from_file == in_force("hyperliquid", "BTC-USD", *option) != plain
    config.write_text(from_file)
    assert in_force("--config", config) == from_file
    config.write_text(plain)
    assert in_force("--config", config, *option) == from_file, "the command line wins"


def test_everything_at_once_comes_back(tmp_path: Path) -> None:
    config = tmp_path / "record.toml"
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    more = '\n[[venue]]\nname = "dydx_v4"\npairs = ["BTC-USD"]\n'
    config.write_text(text + more)
    found = read_config(config)
    assert set(found.values) == {setting.key for setting in GENERAL}
    again = config_text(found.values, found.venues)
    config.write_text(again)
    assert read_config(config) == found
    assert config_text(found.values, found.venues) == again
    assert "#" not in again.partition("[[venue]]")[0]


def test_secrets_are_not_printed_and_what_stands_for_them_is_refused(tmp_path: Path) -> None:
    text = in_force("hyperliquid", "BTC-USD", "--ws-url", "wss://me:hunter2@x.example/ws?token=abcdefgh")
    assert 'ws_url = "wss://***@x.example/ws?token=***"' in text
    assert "hunter2" not in text
    (tmp_path / "a.toml").write_text(text)
    assert only_error(run("record", "--config", tmp_path / "a.toml")).endswith(
        "expected the secret that *** stands for: it is never printed"
    )
    (tmp_path / "a.toml").write_text(VENUE + 'ws_url = "htp://me:hunter2@x.example"\n')
    assert "hunter2" not in run("record", "--config", tmp_path / "a.toml").stderr


WRONG: dict[str, list[Any]] = {
    "out": [1, "", []],
    "duration": ["soon", 0, -1, True, "0s", []],
    "until": ["yesterday", 5, True],
    "pseudonyms": [1, ""],
    "flush": ["never", 0.0, True],
    "fsync": ["sometimes", "Always", 1, True],
    "rotate": ["1 hour", {}, False],
    "rotate_mib": [0, "256", 1.5, True],
    "keep_free_mib": [-1, "x", True],
    "status_port": [65536, -1, "9100", True],
    "tee_port": [65536, "x", 9200.0],
    "tee_host": [1, ""],
    "allow_host": ["recorder", [1], [""]],
    "wait": ["yes", 1, "true"],
    "json": [0, "no"],
    "channels": ["bbo", [1], [""]],
    "users": ["0x12", [None], 5],
    "ws_url": ["https://x.example", "x.example", 1, "wss://", "wss://x.example:99999", "wss://x.example:0"],
    "rest_url": ["wss://x.example", "", True],
    "ca_file": [1, []],
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_wrong_value_is_one_line_with_file_line_and_what_was_expected(tmp_path: Path, setting: Setting) -> None:
    config = tmp_path / "record.toml"
    line = 1 if setting in GENERAL else 4
    for value in WRONG[setting.key]:
        text = (
            "{}"
            if value == {}
            else "[{}]"
            if value == [None]
            else repr(value)
            if isinstance(value, float)
            else toml_text(value)
        )
        config.write_text(file_with(setting, text))
        said = only_error(run("record", "--config", config))
        assert said.startswith(f"{config}:{line}: {setting.key} is "), said
        assert ", expected " in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fsnc = 1\n" + VENUE, ":1: fsnc is no key; did you mean fsync? (docs/configuration.md has all keys)"),
        (VENUE + "pair = []\n", ":4: pair is no key; did you mean pairs? (docs/configuration.md has all keys)"),
        ("key_file = 'x'\n" + VENUE, ":1: key_file is no key; it is called pseudonyms (docs/configuration.md has all keys)"),
        (VENUE + "\nstatus_port = 1\n", ":5: status_port stands in the wrong place: expected above the first [[venue]]"),
        ("ws_url = 'wss://x'\n" + VENUE, ":1: ws_url stands in the wrong place: expected below a [[venue]]"),
        (VENUE.replace("[[venue]]", "[venue]"), ":1: venue is no list of tables: expected [[venue]], with two brackets"),
        (VENUE.replace("hyperliquid", "hyperliqid"), ":2: name is wrong: unknown venue 'hyperliqid', expected one of "),
        ("wait = true\n[[venue]]\npairs = ['BTC-USD']\n", ":2: name is missing below a [[venue]]: expected the name of a venue such as "),
        ("[[venue]]\nname = 'hyperliquid'\n", ":2: name is hyperliquid, of which neither pairs nor users are named: "),
        (VENUE.replace('["BTC-USD"]', '"BTC-USD"'), ':3: pairs is "BTC-USD", expected a list such as ["BTC-USD", "ETH-USD"]'),
        (VENUE + VENUE, ":5: venue hyperliquid stands twice: name all of its pairs in one place"),
        (VENUE + "channels = ['l2Book']\n", ":4: unknown channel 'l2Book', expected one of full, fast"),
        (VENUE + "users = ['0x12']\n", ":4: hyperliquid: '0x12' is no address"),
        (VENUE + "users = ['0x12']\nchannels = ['nope']\n", ":5: unknown channel 'nope'"),
        (
            VENUE + VENUE.replace("hyperliquid", "binance-usdm") + "users = ['0x12']\n",
            ":7: venue binance-usdm: binance-usdm: '0x12' was named, and of this venue the market alone is recorded;",
        ),
        (VENUE + VENUE.replace("hyperliquid", "dydx_v4") + "channels = ['nope']\n", ":7: venue dydx_v4: unknown channel"),
        (VENUE.replace("[[venue]]\n", "[[ 'venue' ]]\n'channels' = ['x']\n"), ":2: unknown channel 'x'"),
        ("venue = [{name = 'hyperliquid', pairs = ['BTC-USD'], channels = ['x']}]\n", ":1: unknown channel 'x'"),
        (VENUE + 'pair = """\nflush = 1\n"""\n', ":4: pair is no key; did you mean pairs?"),
        ("allow_host = [\n  'a', # ]\n  'wait = 5',\n]\nwait = 5\n" + VENUE, ":5: wait is 5, expected true or false"),
        ("out = '''\nwait = 5'''\nwait = 'no'\n" + VENUE, ":3: wait is \"no\", expected true or false"),
        ("pseudonyms = \"a[\"\nwait = 1\n" + VENUE, ":2: wait is 1, expected true or false"),
        ("\nuntil = 2020-01-01T05:00:00+02:00\n" + VENUE, ":2: until is 2020-01-01T03:00:00.000000000Z, which is in the past"),
        ("", " names no [[venue]]: nothing to record"),
        ("venue = []\n", " names no [[venue]]: nothing to record"),
        ("a = 1\nflush 5\n", ":2 is no TOML: Expected '=' after a key in a key/value pair at column 7"),
        ("flush = '1s'\nflush = '2s'\n", ":2 is no TOML: Cannot overwrite a value"),
        ("a = \"", " is no TOML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "record.toml"
    config.write_text(text)
    assert only_error(run("record", "--config", config)).startswith(f"{config}{said}")


def test_a_file_that_is_no_text_or_not_there_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "record.toml"
    assert only_error(run("record", "--config", config)) == f"{config} cannot be read: No such file or directory"
    config.write_bytes(VENUE.encode("utf-16"))
    assert only_error(run("record", "--config", config)) == f"{config} is no TOML: expected UTF-8, found byte 0xff"
    config.write_bytes(b"\xef\xbb\xbf" + VENUE.encode())
    assert 'pairs = ["BTC-USD"]' in in_force("--config", config)


def test_options_of_one_venue_are_not_ignored_beside_a_file_of_several(tmp_path: Path) -> None:
    config = tmp_path / "record.toml"
    config.write_text(VENUE + VENUE.replace("hyperliquid", "dydx_v4"))
    done = run("record", "--config", config, "--channel", "bbo")
    assert (done.exit_code, "are for one venue, and the file names 2" in only_error(done)) == (2, True)
    assert "--ca-file" not in done.stderr
    assert in_force("--config", config, "--ca-file", "ca.pem").count('ca_file = "ca.pem"') == 2, "that one is for all"
    assert "wait = true" in in_force("--config", config, "--wait")
    config.write_text("wait = true\n" + VENUE)
    assert "wait = false" in in_force("--config", config, "--no-wait")
    assert 'pairs = ["ETH-USD"]' in in_force("hyperliquid", "ETH-USD", "--config", config)


def test_the_errors_on_the_page_are_real(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    files = [
        '\n\nfsync = "sometimes"\n' + VENUE,
        "\n\n\n\nrotate_mb = 5\n" + VENUE,
        "\n" * 7 + VENUE + "\nstatus_port = 5\n",
        "\n" * 7 + VENUE.replace("hyperliquid", "hyperliqid"),
        "wait = true\nstatus 9100\n",
    ]
    for file, line in zip(files, text.splitlines(), strict=True):
        (tmp_path / "record.toml").write_text(file)
        said = only_error(run("record", "--config", tmp_path / "record.toml"))
        assert f"Error: {said.replace(str(tmp_path) + '/', '')}" == line
