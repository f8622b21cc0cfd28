"""The interactive page: the data, and the page's own files, in one."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files

from .data import Trace
from .packing import packed
from .template import asset
from .text import label

#: The page's scripts, in the order in which they follow each other; all of them are one function.
SCRIPTS = (
    "unpack.js",
    "core.js",
    "gradient.js",
    "model.js",
    "layout.js",
    "figures.js",
    "graph.js",
    "hands.js",
    "minimap.js",
    "outline.js",
    "search.js",
    "details.js",
    "attention.js",
    "lines.js",
    "heads.js",
    "backward.js",
    "save.js",
    "address.js",
    "header.js",
    "page.js",
)


def source(name: str) -> str:
    """Text of one of the page's files."""
    return (files(__package__) / "page" / name).read_text("utf-8")


def script() -> str:
    """Put the page's scripts into one strict function, so that they leave no names behind."""
    licence = f"/* dagre\n{source('vendor/dagre.LICENSE')}*/"
    parts = ["(() => {", '"use strict";', licence, source("vendor/dagre.min.js")]
    return "\n".join([*parts, *(source(name) for name in SCRIPTS), "})();", ""])


#: In which colours a page can open.
THEMES = ("system", "light", "dark")


def page(data: Trace, theme: str = "system") -> str:
    """Build one file that needs nothing else and asks for nothing."""
    if theme not in THEMES:
        raise ValueError(f"theme is {theme!r}; of a page it can be 'system', 'light' or 'dark'")
    parts = {
        "theme": theme,
        "title": label(data.title, 200),
        "style": source("page.css"),
        # inside a script element only </script> and <!-- could end it; JSON may write < as \u003c
        "data": packed(replace(data, fused=None)).replace("<", "\\u003c"),
        "around": asset("around.js"),
        "script": script(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], source("page.html"))
