"""Pages put together from the package's own files: one file, which asks for nothing."""

from __future__ import annotations

import re
from importlib.resources import files


def asset(name: str) -> str:
    """Read a file of ``viz/assets``."""
    return (files(__package__) / "assets" / name).read_text("utf-8")


def fill(name: str, parts: dict[str, str]) -> str:
    """Replace each ``{{mark}}`` of a page; what is put in is not looked through again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], asset(name))


def in_script(json: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.replace("<", "\\u003c")
