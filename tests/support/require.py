"""Neighbours that a test needs and a machine may not have.

A test that misses one is skipped, with the reason in words. Where the environment
variable ``TINYGRAD_MHA_REQUIRE`` names it (``torch,chromium``), missing it is an error
instead, so that CI cannot turn green by skipping.
"""

import importlib
import os
import shutil
from types import ModuleType

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class RequirementError(Exception):
    """Something that this run must not skip is absent."""


def _absent(name: str, reason: str) -> None:
    required = os.environ.get("TINYGRAD_MHA_REQUIRE", "").replace(" ", "").split(",")
    if name in required:
        raise RequirementError(f"{reason}, and TINYGRAD_MHA_REQUIRE names {name!r}")
    pytest.skip(reason, allow_module_level=True)


def module(name: str) -> ModuleType:
    """Import a neighbour such as ``torch`` or ``playwright.sync_api``, or skip."""
    try:
        return importlib.import_module(name)
    except ImportError:
        _absent(name.partition(".")[0], f"{name} is not installed")
        raise  # not reached: _absent raises


def chromium() -> str:
    """Path of an installed Chromium, or skip."""
    candidates = [os.environ.get("CHROMIUM"), *map(shutil.which, _BROWSERS)]
    found = next((path for path in candidates if path), None)
    if found is None:
        _absent("chromium", f"no Chromium: none of {', '.join(_BROWSERS)} is on the PATH")
    assert found is not None
    return found


def dot() -> str:
    """Path of the system's Graphviz, or skip."""
    found = shutil.which("dot")
    if found is None:
        _absent("dot", "no system Graphviz: dot is not on the PATH")
    assert found is not None
    return found
