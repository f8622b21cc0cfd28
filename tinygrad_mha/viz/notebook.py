"""Pages in notebooks: in a frame of their own, which neither side can reach out of."""

from __future__ import annotations

import html

from .text import label


def framed(page: str, title: str, height: int = 720) -> str:
    """Put a whole page into a frame.

    Parameters
    ----------
    page : str
        HTML, complete in itself.
    title : str
        What a screen reader calls the frame.
    height : int
        In pixels; the width is all there is.

    Returns
    -------
    str
        An ``iframe`` whose page runs its scripts with an origin of its own: it sees nothing of
        the notebook, and the notebook's styles do not change it.
    """
    return (
        f'<iframe title="{label(title, 200)}" sandbox="allow-scripts" loading="lazy" '
        f'style="width:100%;height:{height}px;border:0;display:block;background:transparent" '
        f'srcdoc="{html.escape(page, quote=True)}"></iframe>'
    )
