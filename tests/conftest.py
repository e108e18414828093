"""The tiers of tests, and fixtures that every part shares: the demo models, fetched once into the user's
cache."""

import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from inferloom_worker.sourcing import demo
from tests import tiers

if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = (
        "1"  # kernels for GPUs are tested without one; Triton reads it when imported
    )


settings.register_profile(
    "patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a machine that stands still is no fault of what is tried
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the fast tier be asked for."""
    parser.addoption("--fast", action="store_true", help="only tests without torch, processes and servers")


def pytest_configure(config: pytest.Config) -> None:
    """Let what the tests start hear of SIGHUP, also where the tests themselves were started to ignore it, and
    leave the user's own store alone."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    store = TemporaryDirectory(prefix="inferloom-tests-", ignore_cleanup_errors=True)
    os.environ["INFERLOOM_STORE"] = store.name
    config.add_cleanup(store.cleanup)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is not in the fast tier, before it imports anything."""
    if config.getoption("--fast") and collection_path.is_relative_to(tiers.ROOT):
        return None if tiers.is_fast(collection_path) else True
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the fast tier if it loaded what it is to do without."""
    if session.config.getoption("--fast") and (loaded := sys.modules.keys() & set(tiers.LARGE)):
        print(f"\nthe fast tier imported {', '.join(sorted(loaded))}: see tests/tiers.py")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def smollm_file() -> Path:
    """The demo chat model: a GGUF file."""
    return demo.fetch("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """The demo embedding model: a folder."""
    return demo.fetch("all-minilm-l6-v2")
