"""Pages in a real browser, with the network off; whatever they log or ask for is an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import require

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


_running: list[Any] = []


@contextmanager
def chromium() -> Iterator[Any]:
    """A running Chromium, or skip; the one that runs already, where one does."""
    if _running:  # a process can hold one only
        yield _running[0]
        return
    sync_api = require.module("playwright.sync_api")
    path = require.chromium()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        _running.append(browser)
        try:
            yield browser
        finally:
            _running.clear()
            browser.close()


@contextmanager
def opened(browser: Any, path: Path, script: str = "", **options: Any) -> Iterator[Any]:
    """Open a file offline; a message, an error, a request or a dialog fails at the end.

    A `script` runs in the page before its own.
    """
    wrong: list[str] = []
    context = browser.new_context(**options)
    context.set_offline(True)
    page = context.new_page()
    if script:
        page.add_init_script(script)
    page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(
                ("file:", "about:srcdoc", "data:image/png", "data:image/svg+xml")
            )
            else wrong.append(request.url[:200])
        ),
    )
    page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert wrong == []
