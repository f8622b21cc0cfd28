"""The example notebook, run by a kernel and opened in JupyterLab and in Notebook.

A minute in all, so it wants ``pip install -e '.[jupyter]'`` first, or is skipped.
The server listens on this machine only, and has settings and a store of trust of its own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import require

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "heads.ipynb"
OUTPUT = ".jp-OutputArea-output"
CLIENTS = {"lab": "lab/tree", "notebook": "notebooks"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("jupyterlab", "notebook"):
        require.module(name)
    return tmp_path_factory.mktemp("jupyter")


def environment(home: Path) -> dict[str, str]:
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    settings = ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(home / name.lower()) for name in (*folders, *settings)}
    return {**os.environ, **own, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


@pytest.fixture(scope="module")
def executed(home: Path) -> dict[str, Any]:
    """The example as a kernel ran it."""
    command = ["nbconvert", "--to", "notebook", "--execute", str(EXAMPLE), "--output-dir"]
    subprocess.run(
        [sys.executable, "-m", "jupyter", *command, str(home)],
        env=environment(home),
        check=True,
        capture_output=True,
    )
    done: dict[str, Any] = json.loads((home / EXAMPLE.name).read_text("utf-8"))
    return done


@pytest.fixture(scope="module")
def served(home: Path, executed: dict[str, Any]) -> Iterator[str]:
    """Address of a server with the notebook in it twice: trusted, and as from a stranger."""
    nbformat, sign = require.module("nbformat"), require.module("nbformat.sign")
    for name in ("trusted", "stranger"):
        content = nbformat.from_dict(
            {**executed, "metadata": {**executed["metadata"], "title": name}}
        )
        nbformat.write(content, home / f"{name}.ipynb")
        if name == "trusted":
            folder = home / "jupyter_data_dir"
            folder.mkdir(exist_ok=True)
            sign.NotebookNotary(data_dir=str(folder)).sign(content)
    themes = home / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    themes.mkdir(parents=True)
    (themes / "themes.jupyterlab-settings").write_text('{"theme": "JupyterLab Dark"}')
    (themes / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = (
        f"--ServerApp.root_dir={home}",
        f"--port={port}",
        "--ip=127.0.0.1",
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
        "--LanguageServerManager.autodetect=False",
    )
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment(home),
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            answers(address, server)
            yield address
        finally:
            server.terminate()
            server.wait(30)


def answers(address: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server is there."""
    for _ in range(600):
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(f"{address}/api", timeout=10):
                return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


@contextmanager
def opened(browser: Any, served: str, client: str, name: str) -> Iterator[Any]:
    """A notebook in a client; what our pages log, or a request elsewhere, fails at the end."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme="light")
    page = context.new_page()
    ours = "about:srcdoc"  # what clients log of themselves is theirs
    page.on(
        "console",
        lambda message: wrong.append(message.text) if ours in message.location["url"] else None,
    )
    page.on(
        "pageerror", lambda error: wrong.append(str(error)) if ours in (error.stack or "") else None
    )
    near = (served, served.replace("http", "ws"), "data:", "blob:", "about:")
    page.on(
        "request",
        lambda request: None if request.url.startswith(near) else wrong.append(request.url[:200]),
    )
    page.goto(f"{served}/{CLIENTS[client]}/{name}.ipynb?reset")  # without what was open before
    page.locator(OUTPUT).first.wait_for(timeout=60_000)
    yield page
    context.close()
    assert wrong == []


def test_the_example_shows_a_page_a_picture_and_words(executed: dict[str, Any]) -> None:
    shown = [o["data"] for c in executed["cells"] for o in c.get("outputs", []) if "data" in o]
    kinds = [set(data) for data in shown]
    assert {"text/plain", "text/html", "image/svg+xml"} in kinds
    assert all("text/plain" in kind for kind in kinds)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_trusted_notebook_shows_pages_that_work(browser: Any, served: str, client: str) -> None:
    with opened(browser, served, client, "trusted") as page:
        frames = page.locator(f"{OUTPUT} iframe")
        frames.first.wait_for()
        for k in range(frames.count()):  # none is clipped by the cell around it
            frame = frames.nth(k)
            cell = frame.locator("xpath=ancestor::*[contains(@class, 'jp-OutputArea-output')]")
            frame.scroll_into_view_if_needed()
            inner, outer = frame.bounding_box(), cell.bounding_box()
            assert inner["height"] == 720
            assert outer["height"] >= 720
            assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1
        frames.first.scroll_into_view_if_needed()
        graph = page.frame_locator(f"{OUTPUT} iframe").first
        light = page.evaluate("document.body.dataset.jpThemeLight") == "true"
        assert not light or client != "lab"  # whose settings say so; the system is light
        graph.locator(f':root[data-around="{"light" if light else "dark"}"]').wait_for()
        boxes = graph.locator("#world [data-key]")
        before = boxes.count()
        graph.locator("#expand").click()
        graph.locator("#tab-backward").click()
        graph.locator("#forth").click()
        assert graph.locator("#position").inner_text().startswith("1 /")
        graph.locator("body").press("ArrowRight")  # the page's keys, and not the notebook's
        assert graph.locator("#position").inner_text().startswith("2 /")
        assert boxes.count() > before


@pytest.mark.parametrize("client", CLIENTS)
def test_a_strangers_notebook_shows_words_and_pictures(
    browser: Any, served: str, client: str
) -> None:
    with opened(browser, served, client, "stranger") as page:
        picture = page.locator(f"{OUTPUT} img").first
        picture.wait_for()
        assert page.locator("iframe").count() == 0
        assert picture.bounding_box()["width"] > 400
        page.get_by_text("shown once this notebook is trusted").first.wait_for()
