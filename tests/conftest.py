"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import signal
import stat
from pathlib import Path

import pytest
from hypothesis import settings

from tests.embedded_recording import make_workspace
from tests.made_once import keep_in, made_by_one
from toolkit.pictures import vega_lite

ROOT = Path(__file__).resolve().parent.parent

_fsync = os.fsync


def _fsync_without_waiting(handle: int) -> None:
    """
    Stand in for `os.fsync`: refuse what it refuses, and leave files and folders to the kernel's own time.

    No machine that runs tests is cut off from power in them; what is synced, and in which order, is held by tests that
    replace this by what notes it. Of the time of the suite on two cores, a quarter was spent in waiting for the disk.
    """
    mode = os.fstat(handle).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        _fsync(handle)


# Before test modules are imported: some keep what they find.
os.fsync = _fsync_without_waiting  # type: ignore[assignment]


# What is collected lives until the end: the garbage collector looks through none of it, neither while it is made nor
# after that.
gc.disable()


def pytest_collection_finish() -> None:
    """Begin to collect garbage, of what the tests make."""
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """
    Let no process read the machine's certificate authorities, unless tests ask a venue on the network.

    Each that imports the HTTP client does, and it takes a tenth of its beginning. Tests of TLS have authorities of their own.
    """
    if "not network" in config.option.markexpr:
        os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull


# Processes of tests inherit what this one ignores, and tests send them both: `nohup` and shells that start something in
# the background have them ignored.
for _number, _ordinary in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _ordinary)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is remembered of files that tests make is no business of the user's cache."""
    os.environ["TICKDECK_CHECKS"] = str(tmp_path_factory.mktemp("cache"))
    keep_in(tmp_path_factory.mktemp("made"))


_png_scale = vega_lite.PNG_SCALE


@pytest.fixture(scope="session", autouse=True)
def _small_pictures() -> None:
    """Most of the time that a picture takes goes by its pixels, and hardly a test looks at them."""
    vega_lite.PNG_SCALE = 0.25


@pytest.fixture
def full_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the size that users get."""
    monkeypatch.setattr(vega_lite, "PNG_SCALE", _png_scale)


@pytest.fixture
def every_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are kept however little of a recording lies between them; a test has not the room for what they are worth."""
    monkeypatch.setattr("recordings.states.seek_points.PAYLOAD_PER_BYTE", 0)
    monkeypatch.setattr("recordings.states.checkpoints.TABLES_PER_BYTE", 0)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled engine's own source as plain Python: a test of what it does need not wait for a compiler."""
    from tests.replay.fast.plain_engine import leave_uncompiled  # most tests do without what it loads

    leave_uncompiled(monkeypatch)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of captures from real exchanges; it stands beside the repository, or where TICKDECK_SHARED_DATA says."""
    folder = Path(os.environ.get("TICKDECK_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no captures of real exchanges at {folder}; set TICKDECK_SHARED_DATA to the folder that has them")
    return folder


@pytest.fixture(scope="session")
def workspace_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that documents and examples take for granted, one for all workers; it is not to be changed."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each worker has a folder of its own in that of the run
    return made_by_one(folder / "workspace", make_workspace)


# A kernel is compiled at its first call, and a test has no time limit. `make test-all` tries properties on more examples,
# and `--hypothesis-profile=thorough` looks further still.
settings.register_profile("tickdeck", deadline=None, max_examples=25)
settings.register_profile("more", deadline=None, max_examples=100)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("tickdeck")
