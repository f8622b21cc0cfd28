"""The interactive page: the data, and the page's own files, in one."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

from .data import Trace
from .packing import packed
from .template import asset, common, fill, in_script
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
    parts = [
        "(function page() {",
        '"use strict";',
        licence,
        source("vendor/dagre.min.js"),
        common(),
    ]
    return "\n".join([*parts, *(source(name) for name in SCRIPTS), "})();", ""])


#: In which colours a page can open.
THEMES = ("system", "light", "dark")

#: With which graph it opens.
HEADS = ("lanes", "fused")


def page(data: Trace, theme: str = "system", heads: str = "lanes") -> str:
    """Build one file that needs nothing else and asks for nothing."""
    if heads not in HEADS:
        raise ValueError(f"heads is {heads!r}; it can be 'lanes' or 'fused'")
    if theme not in THEMES:
        raise ValueError(f"theme is {theme!r}; of a page it can be 'system', 'light' or 'dark'")
    parts = {
        "theme": theme,
        "title": label(data.title, 200),
        "style": source("page.css"),
        "data": in_script(packed(replace(data, fused=None))),
        "ran": "" if data.fused is None else in_script(packed(data.fused)),
        "heads": heads,
        "around": asset("around.js"),
        "script": script(),
    }
    return fill(source("page.html"), parts)
