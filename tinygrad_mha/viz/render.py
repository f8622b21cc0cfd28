"""From Graphviz's language to a picture, with or without a Graphviz on the machine.

The layout comes from the system's ``dot``, if there is one, or from ``graphviz-pure``, which
comes with this package from pip. SVG is finished by :mod:`.finish`; PDF and PNG are made of
that SVG by ``typst``, an extra, or straight from the layout: PNG by either, PDF by ``dot``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from .data import Trace
from .dot import draw, part_of
from .finish import SIZE, finish
from .fitting import SlowLayoutError, fit
from .maps import Stencils
from .picture import PRINT, Picture

#: Seconds after which a layout is given up, and a collapsed one tried.
PATIENCE = 10

#: Dots per inch of a PNG that has no size: twice a screen's.
_SCREEN = 192


#: Signs that graphviz-pure's own font for PNG has not, and what is written in their place.
_NOT_IN_ITS_FONT = {"‖∇‖": "|grad|", "␣": "·", "⏎": "¶", "⇥": "»", "∅": "Ø"}


def render(data: Trace, picture: Picture, kind: str) -> bytes:
    """Draw a trace.

    Parameters
    ----------
    data : Trace
        What is drawn.
    picture : Picture
        How.
    kind : {"svg", "png", "pdf"}
        As what.

    Returns
    -------
    bytes

    Raises
    ------
    RuntimeError
        Nothing can draw it here, or the layout failed or took too long even collapsed.
    ValueError
        Nothing of it could be read in the size.
    """
    shown = part_of(data, picture)
    if picture.inches is not None:
        return _draw(shown, fitted(shown, picture), kind)
    tries = [picture, picture.but(depth=1), picture.but(depth=0)]
    for attempt in tries:
        collapsed = attempt is not picture
        if collapsed:
            note = f"collapsed: the whole picture's layout took more than {PATIENCE} s"
            attempt = attempt.but(note=note)
        try:
            return _draw(shown, attempt, kind)
        except SlowLayoutError:
            if attempt.depth == 0:
                raise
    raise AssertionError


def fitted(data: Trace, picture: Picture) -> Picture:
    """Decide on the form of a picture that has a size; as it is, where nothing can lay it out."""
    if picture.inches is None or not can_lay_out():
        return picture

    def measure(form: Picture) -> tuple[float, float]:
        return measured(draw(data, form, Stencils(form.colours)))

    return fit(data, picture.but(cells=False), measure).but(cells=picture.cells)


def can_lay_out() -> bool:
    """Whether a program is here that lays pictures out."""
    return shutil.which("dot") is not None or _pure() is not None


def measured(dot: str) -> tuple[float, float]:
    """Lay a picture out; its width and height in points."""
    size = SIZE.search(layout(dot, "svg").decode())
    assert size is not None
    return float(size[1]), float(size[2])


def _draw(data: Trace, picture: Picture, kind: str) -> bytes:
    def svg() -> str:
        stencils = Stencils(picture.colours)
        drawn = layout(draw(data, picture, stencils), "svg").decode()
        return finish(drawn, data, picture, stencils)

    return written(kind, svg, lambda: draw(data, picture.but(cells=True)))


def check(kind: str) -> None:
    """Find out, before any work, whether a picture can be written here as a kind of file.

    Parameters
    ----------
    kind : {"svg", "png", "pdf"}
        As what.

    Raises
    ------
    RuntimeError
        Nothing can write it here; the message names what to install.
    """
    system = shutil.which("dot")
    if kind == "pdf" and system is None and importlib.util.find_spec("typst") is None:
        raise RuntimeError(
            "PDF needs a program that is not here: `pip install 'tinygrad-mha[pdf]'`, or install "
            "Graphviz so that `dot` is on the PATH; or save .svg, which needs neither and is "
            "vectors too"
        )
    if system is None and _pure() is None:
        raise RuntimeError(
            f"nothing here can draw {kind}: `pip install graphviz-pure`, or install Graphviz so "
            "that `dot` is on the PATH; .dot, .json and .html can be saved without either"
        )


def written(kind: str, svg: Callable[[], str], dot: Callable[[], str]) -> bytes:
    """Write a picture as a kind of file.

    Parameters
    ----------
    kind : {"svg", "png", "pdf"}
        As what.
    svg : callable
        Gives it finished.
    dot : callable
        Gives it for a layout to write as it is, where nothing can convert the finished one.

    Raises
    ------
    RuntimeError
        Nothing can write it here.
    """
    check(kind)
    if kind == "svg":
        return svg().encode()
    if importlib.util.find_spec("typst") is not None:
        return _typeset(svg(), kind)
    return layout(dot(), kind)


def _pure() -> str | None:
    """Find graphviz-pure, also where the environment it is installed in is not activated."""
    name = "graphviz-pure" + (".exe" if os.name == "nt" else "")
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (folder / name).is_file():
            return str(folder / name)
    return shutil.which("graphviz-pure")


def layout(dot: str, kind: str) -> bytes:
    """Lay out, and write as the layout's own program does."""
    system, pure = shutil.which("dot"), _pure()
    if system is not None:
        command = [system, f"-T{kind}"]
    elif pure is not None:
        command = [pure, f"-T{kind}"]
        if kind == "png":
            for missing, instead in _NOT_IN_ITS_FONT.items():
                dot = dot.replace(missing, instead)
    else:
        raise RuntimeError(
            f"nothing here can draw {kind}: `pip install graphviz-pure`, or install Graphviz so "
            "that `dot` is on the PATH; .dot, .json and .html can be saved without either"
        )
    if kind == "png" and f"dpi={PRINT}" not in dot:  # a picture with a size says its own
        command.append(f"-Gdpi={_SCREEN}")
    try:
        done = subprocess.run(
            command, input=dot.encode(), capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise SlowLayoutError(
            f"the layout took more than {PATIENCE} s; .html and .json have no such limit, and "
            "module= or depth= draw less"
        ) from None
    if done.returncode != 0:
        raise RuntimeError(
            f"{Path(command[0]).name} failed: {done.stderr.decode(errors='replace').strip()[:500]}"
        )
    return done.stdout


def _typeset(svg: str, kind: str) -> bytes:
    """Make a page of exactly one picture, in vectors, with the letters it needs inside."""
    import typst

    form: Literal["pdf", "png"] = "pdf" if kind == "pdf" else "png"
    fonts = typst.Fonts()
    alike = {"Arial", "Helvetica", "Liberation Sans", "Arimo"}
    if not alike & set(fonts.families()):
        # the next best: no wider than the layout expects, so nothing runs over its box
        family = re.compile(r'font-family="Arial[^"]*"')
        svg = family.sub('font-family="DejaVu Sans" font-stretch="condensed"', svg)
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', svg)
    asked = re.search(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    size = asked or box
    if size is None:
        raise RuntimeError("the SVG has no size")
    source = (
        f"#set page(width: {size[1]}pt, height: {size[2]}pt, margin: 0pt)\n"
        '#image(bytes(sys.inputs.svg), format: "svg", width: 100%, height: 100%)'
    )
    ppi = _SCREEN if asked is None else PRINT
    made = typst.compile(
        source.encode(), format=form, ppi=float(ppi), sys_inputs={"svg": svg}, font_paths=fonts
    )
    return bytes(made)
