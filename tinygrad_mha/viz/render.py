"""From Graphviz's language to a picture, with or without a Graphviz on the machine.

First the system's ``dot``, if there is one; then ``graphviz-pure``, which comes with
this package from pip; else an error that names both.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

#: Seconds after which a layout is given up.
PATIENCE = 60


def _pure() -> str | None:
    """Find graphviz-pure, also where the environment it is installed in is not activated."""
    name = "graphviz-pure" + (".exe" if os.name == "nt" else "")
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (folder / name).is_file():
            return str(folder / name)
    return shutil.which("graphviz-pure")


def render(dot: str, kind: str) -> bytes:
    """Lay out and draw.

    Parameters
    ----------
    dot : str
        A graph in Graphviz's language.
    kind : {"svg", "png", "pdf"}
        PDF needs the system's ``dot``.

    Returns
    -------
    bytes

    Raises
    ------
    RuntimeError
        Nothing can draw it here, or the layout failed or took too long.
    """
    system, pure = shutil.which("dot"), _pure()
    if system is not None:
        command = [system, f"-T{kind}"]
    elif kind == "pdf":
        raise RuntimeError(
            "PDF needs Graphviz's own `dot`: install Graphviz (for example `apt install graphviz`, "
            "`brew install graphviz`), or save .svg, which needs nothing and is vectors too"
        )
    elif pure is not None:
        command = [pure, f"-T{kind}"]
    else:
        raise RuntimeError(
            f"nothing here can draw {kind}: `pip install graphviz-pure`, or install Graphviz so "
            "that `dot` is on the PATH; .dot, .json and .html can be saved without either"
        )
    try:
        done = subprocess.run(
            command, input=dot.encode(), capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(
            f"the layout took more than {PATIENCE} s; .html and .json have no such limit"
        ) from None
    if done.returncode != 0:
        raise RuntimeError(
            f"{Path(command[0]).name} failed: {done.stderr.decode(errors='replace').strip()[:500]}"
        )
    return _responsive(done.stdout) if kind == "svg" else done.stdout


#: Fonts as wide as the one the layout was measured with; the last is the usual one of a Linux
#: without it, whose ordinary width would run over the boxes.
_FONTS = "Arial, Helvetica, 'Liberation Sans', 'DejaVu Sans Condensed', sans-serif"


def _responsive(svg: bytes) -> bytes:
    """Let a picture shrink with what it stands in: notebooks would clip it."""
    text = svg.decode().replace('font-family="Arial"', f'font-family="{_FONTS}"')
    size = re.search(r'<svg width="([\d.]+)pt" height="[\d.]+pt"', text)
    if size is None:
        return svg
    style = f'<svg width="100%" style="max-width:{float(size.group(1)) * 4 / 3:.0f}px;height:auto"'
    return text.replace(size.group(0), style, 1).encode()
