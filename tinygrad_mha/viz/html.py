"""The interactive page: the data, and the page's own files, in one."""

from __future__ import annotations

from importlib.resources import files

from .data import Trace
from .text import label


def page(data: Trace) -> str:
    """Build one file that needs nothing else and asks for nothing."""
    folder = files(__package__) / "page"
    # inside a script element only </script> and <!-- could end it; JSON may write < as \u003c
    safe = data.to_json().replace("<", "\\u003c")
    parts = {
        "{{title}}": label(data.title, 200),
        "{{style}}": (folder / "page.css").read_text("utf-8"),
        "{{data}}": safe,
        "{{script}}": (folder / "page.js").read_text("utf-8"),
    }
    text = (folder / "page.html").read_text("utf-8")
    for mark, content in parts.items():
        before, found, after = text.partition(mark)
        assert found, mark
        text = before + content + after if mark != "{{title}}" else text.replace(mark, content)
    return text
