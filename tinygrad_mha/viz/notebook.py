"""Pages in notebooks: in a frame of their own, which neither side can reach out of."""

from __future__ import annotations

import html
from collections.abc import Sequence
from urllib.parse import quote

from .template import asset
from .text import label

#: Above so many characters a picture would double what a notebook has to carry, for nobody's use.
MOST = 600_000


def framed(
    page: str, title: str, words: Sequence[str], picture: str | None = None, height: int = 720
) -> str:
    """Put a whole page into a frame.

    Parameters
    ----------
    page : str
        HTML, complete in itself.
    title : str
        What a screen reader calls the frame.
    words : sequence of str
        What there is to say where no frame is shown, a line each.
    picture : str, optional
        SVG to see there; a very large one is left out.
    height : int
        In pixels; the width is all there is.

    Returns
    -------
    str
        An ``iframe`` whose page runs its scripts with an origin of its own: it sees nothing of
        the notebook, and the notebook's styles do not change it. A notebook that is not trusted
        takes the frame away and leaves what is inside the element, which is for readers without
        frames: there stand the words and the picture.
    """
    return (
        f'<iframe title="{label(title, 200)}" loading="lazy" '
        f'sandbox="allow-scripts allow-downloads" '
        f'style="width:100%;height:{height}px;border:0;display:block;background:transparent" '
        f'onload="{html.escape(asset("frame.js"), quote=True)}" '
        f'srcdoc="{html.escape(page, quote=True)}">{_without(title, words, picture)}</iframe>'
    )


def _without(title: str, words: Sequence[str], picture: str | None) -> str:
    """What a notebook shows that is not trusted."""
    lines = [
        *words,
        "The interactive page is shown once this notebook is trusted (command “Trust Notebook”), "
        "or the cell has run again.",
    ]
    text = f"<p><b>{label(title, 200)}</b></p><p>{'<br>'.join(map(html.escape, lines))}</p>"
    if picture is None or len(picture) > MOST:
        return text
    return f'{text}<img alt="{label(title, 200)}" src="data:image/svg+xml,{quote(picture)}">'
