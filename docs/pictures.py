"""Draw the pictures of the documentation, light and dark, into docs/images.

    python docs/pictures.py           # draws them
    python docs/pictures.py --check   # says which of those that are there are out of date

The same code gives the same picture on every machine: weights are random numbers of a fixed
seed in float64, and the layout is graphviz-pure's, also where there is a system ``dot``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_mha as tm

IMAGES = Path(__file__).parent / "images"
WORDS = ["the", "cat", "sat", "on", "the", "mat"]


def _layer(heads: int = 4, width: int = 32, **options: Any) -> tm.viz.Graph:
    """One layer of attention, with what follows it.

    Without biases: the gradient of the keys' is zero but for rounding errors.
    """
    attention = tm.nn.MultiHeadAttention(width, heads, bias=False, **options).double()
    out = attention(tm.randn(1, len(WORDS), width, dtype=np.float64), is_causal=True)
    return tm.viz.trace((out * out).mean(), model=attention, tokens=WORDS)


def _gpt(layers: int) -> tm.viz.Graph:
    """A small language model and its loss."""
    gpt = tm.nn.GPT(11, 8, embed_dim=16, num_heads=2, num_layers=layers).double()
    loss = tm.cross_entropy(gpt(tm.tensor([[1, 2, 3, 4]])).reshape(-1, 11), tm.tensor([2, 3, 4, 5]))
    return tm.viz.trace(loss, model=gpt, tokens=list("word"))


def _translation() -> tm.viz.Graph:
    """Queries of one sentence, keys and values of another, shared by pairs of heads."""
    attention = tm.nn.MultiHeadAttention(32, 4, num_kv_heads=2, attention="additive").double()
    query, memory = (tm.randn(1, n, 32, dtype=np.float64) for n in (4, 3))
    return tm.viz.trace(attention, (query, memory, memory))


def _encoder_decoder() -> tm.viz.Graph:
    """Sentences of two languages, and how well the second is foretold."""
    model = tm.nn.EncoderDecoder(12, 14, embed_dim=16, num_heads=2, num_layers=3).double()
    out = model(tm.tensor([[1, 2, 3, 4, 5]]), tm.tensor([[1, 6, 7, 8]]))
    loss = tm.cross_entropy(out.reshape(-1, 14), tm.tensor([6, 7, 8, 9]))
    return tm.viz.trace(loss, model=model, tokens=["I", "am", "a", "cat", "."])


def _perceptron() -> tm.viz.Graph:
    """A model without any attention."""
    model = tm.nn.Sequential(tm.nn.Linear(2, 3), tm.nn.Tanh(), tm.nn.Linear(3, 1)).double()
    return tm.viz.trace(model(tm.ones(4, 2, dtype=np.float64)).mean(), model=model)


def _changed() -> Any:
    """One layer before and after it learnt to copy the previous word."""
    attention = tm.nn.MultiHeadAttention(16, 4, bias=False).double()
    x = tm.randn(1, len(WORDS), 16, dtype=np.float64)
    graphs = []
    for steps in (0, 40):
        optimizer = tm.optim.SGD(attention.parameters(), 0.3)
        for _ in range(steps):
            optimizer.zero_grad()
            _copying(attention, x).backward()
            optimizer.step()
        loss = _copying(attention, x)
        graphs.append(tm.viz.trace(loss, model=attention, tokens=WORDS, elements=10**5))
    return graphs[0].diff(graphs[1], names=("untrained", "trained"))


def _copying(attention: Any, x: Any) -> Any:
    """How far the output of each word is from the word before it."""
    apart = attention(x, is_causal=True)[:, 1:] - x[:, :-1]
    return (apart * apart).mean()


#: Name of each picture, what is traced, and how it is drawn.
PICTURES: dict[str, tuple[Callable[[], tm.viz.Graph], dict[str, Any]]] = {
    "layer": (_layer, {}),
    "both": (_layer, {"direction": "both"}),
    "head": (_layer, {"head": 1}),
    "column": (_layer, {"size": "column"}),
    "many-heads": (lambda: _layer(12, 48), {"size": "slide"}),
    "slide": (lambda: _gpt(4), {"size": "slide"}),
    "cross": (_translation, {}),
    "encoder-decoder": (_encoder_decoder, {"size": "slide"}),
    "fused": (_layer, {"heads": "fused"}),
    "backward": (_perceptron, {"direction": "backward"}),
    "gpt": (lambda: _gpt(12), {}),
    "gpt-block": (lambda: _gpt(12), {"module": "blocks.7", "direction": "backward"}),
    "gpt-depth-1": (lambda: _gpt(12), {"depth": 1}),
    "changed": (_changed, {}),
    "changed-slide": (_changed, {"size": "slide"}),
}


def draw(name: str, theme: str) -> str:
    """Draw one picture."""
    make, options = PICTURES[name]
    tm.manual_seed(1)
    return make().to_svg(theme=theme, **options)


def alike(a: str, b: str) -> bool:
    """Whether two pictures are the same but for rounding errors: each processor has its own."""
    return _without_errors(a) == _without_errors(b)


def _without_errors(svg: str) -> str:
    return re.sub(r"largest difference [^)]*\)", "", svg)


def main() -> int:
    """Draw all, or compare all; returns the exit code."""
    os.environ["PATH"] = ""  # no system dot: it would lay out differently
    check = "--check" in sys.argv[1:]
    stale = []
    for name in PICTURES:
        for theme in ("light", "dark"):
            path = IMAGES / f"{name}{'' if theme == 'light' else '-dark'}.svg"
            svg = draw(name, theme)
            if path.exists() and alike(path.read_text("utf-8"), svg):
                continue
            if check:
                stale.append(path.name)
            else:
                path.write_text(svg, "utf-8")
                print(f"drawn: {path.name}")
    if stale:
        print("out of date: " + ", ".join(stale) + "; `python docs/pictures.py` draws them anew")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
