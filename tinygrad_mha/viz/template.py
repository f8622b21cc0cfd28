"""Pages put together from the package's own files: one file, which asks for nothing."""

from __future__ import annotations

import json
import re
from importlib.resources import files

from .theme import VIRIDIS


def asset(name: str) -> str:
    """Read a file of ``viz/assets``."""
    return (files(__package__) / "assets" / name).read_text("utf-8")


def common() -> str:
    """Script that both pages begin with."""
    return asset("common.js").replace('"{{viridis}}"', json.dumps(VIRIDIS))


def fill(page: str, parts: dict[str, str]) -> str:
    """Replace each ``{{mark}}`` of a page; what is put in is not looked through again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], page)


def in_script(data: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return data.replace("<", "\\u003c")
