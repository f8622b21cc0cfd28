"""One browser for all tests of pages, with the network off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import browser as browsers


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with browsers.chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open files until the test ends, as :func:`tests.support.browser.opened` does."""
    with ExitStack() as stack:

        def open_file(file: Path, script: str = "", **options: Any) -> Any:
            return stack.enter_context(browsers.opened(browser, file, script, **options))

        yield open_file
