"""Fixtures of the whole suite. It runs on either backend; see TINYGRAD_MHA_BACKEND."""

import os

import hypothesis
import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require

# Examples are drawn from a fixed seed: a red run can be repeated. A slow machine is no failure.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_report_header() -> str:
    backend = os.environ.get("TINYGRAD_MHA_BACKEND", "default")
    required = os.environ.get("TINYGRAD_MHA_REQUIRE", "nothing")
    return f"tinygrad_mha: backend {backend}, must not be skipped: {required}"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    tm.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers of the test's own, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; skips, or fails where it is required."""
    return require.chromium()


@pytest.fixture(scope="session")
def system_dot() -> str:
    """Path of the system's Graphviz; skips, or fails where it is required."""
    return require.dot()
