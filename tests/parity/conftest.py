"""Everything in this folder is compared with PyTorch, an independent oracle."""

from types import ModuleType

import pytest

from tests.support import require


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch; skips, or fails where it is required."""
    return require.module("torch")
