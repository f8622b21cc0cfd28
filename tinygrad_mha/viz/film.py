"""A film of the training: what every head attends to, again and again, while the model learns.

Each frame is one run of the model on the same input, of which only the heads' weights are kept:
no backward, no proof of the lanes. Nothing that the training computes is changed by it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Node, Tensor, enable_grad
from .data import finite
from .head_measures import NAMES, in_batch, labels, measures, pool
from .regions import Region, head_axes, regions
from .replay import Replay, replay
from .template import asset, common, fill, in_script
from .text import fixed, label, number, visible
from .unfold import unfold

#: Of the JSON form.
VERSION = 1

#: Bytes that all maps of a film take at the most; decides how finely they are kept.
ROOM = 4_000_000

#: The sides that a map may have, in cells.
LEAST_SIDE, MOST_SIDE = 8, 64

#: Of the curve of the loss; of more steps, neighbours are averaged.
MOST_LOSSES = 1000

FORMATS = ("html", "json")


@dataclass(frozen=True)
class Layer:
    """One multi-head attention of the model.

    Attributes
    ----------
    path : str
        Of the module in which its heads are merged.
    heads : int
        How many it has.
    rows, columns : list of str
        Labels of queries and keys.
    pooled : int
        How many neighbours share a cell of the maps; 1: none.
    """

    path: str
    heads: int
    rows: list[str]
    columns: list[str]
    pooled: int


@dataclass(frozen=True)
class Frame:
    """What the heads did at one step.

    Attributes
    ----------
    step : int
        Of the training; 0 is before it.
    maps : list of ndarray
        Per layer, the roots of the weights ``(h, L, S)``, in 255ths: small ones need the
        finer steps.
    measures : dict of str to list of list of float
        Per measure, layer and head.
    """

    step: int
    maps: list[np.ndarray]
    measures: dict[str, list[list[float | None]]]


class Film:
    """Watch the heads of a model while it is trained.

    Call it once after every step of the training, with the loss; every so many steps it runs the
    model on the same input, in evaluation mode, and keeps what each head attends to.

    Parameters
    ----------
    model : Module
        Its heads are found as :func:`trace` finds them: at ``split_heads`` and ``merge_heads``.
    inputs : Tensor or array_like, optional
        What the model is called with; a single row of tokens becomes a batch of one.
    tokens : sequence of str, optional
        What stands at each position, to label the maps.
    every : int, default 10
        Steps from frame to frame.
    most : int, default 120
        Frames that are kept; when there are more, each second is dropped, and from then on half
        as many are taken. With the maps made small enough, a film stays under some megabytes.
    measures : mapping of str to callable, optional
        Further curves: each takes the weights ``(N, h, L, S)`` of a layer and returns a number per
        head, as the functions of :mod:`tinygrad_mha.nn.analysis` do.
    run : callable, optional
        Calls the model, where ``model(inputs)`` is not enough; returns its output.
    batch : int, default 0
        Which batch item's maps are shown; the numbers are means of all.
    title : str, optional
        By default the model's class.

    Attributes
    ----------
    frames : list of Frame
    layers : list of Layer
    step : int
        How many steps there have been.

    Raises
    ------
    ValueError
        The model has no heads, or keeps no weights, or the options do not fit.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> gpt = tm.nn.GPT(5, 8, embed_dim=8, num_heads=2, num_layers=1)
    >>> film = tm.viz.Film(gpt, [1, 2, 3, 4], every=2)
    >>> optimizer = tm.optim.SGD(gpt.parameters(), 0.1)
    >>> for _ in range(4):
    ...     loss = tm.cross_entropy(gpt(tm.tensor([[1, 2, 3]]))[0], tm.tensor([2, 3, 4]))
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     film(loss)
    >>> [frame.step for frame in film.frames]
    [0, 2, 4]
    """

    def __init__(
        self,
        model: Any,
        inputs: Any = None,
        *,
        tokens: Sequence[str] | None = None,
        every: int = 10,
        most: int = 120,
        measures: Mapping[str, Callable[[np.ndarray], Any]] | None = None,
        run: Callable[[], Any] | None = None,
        batch: int = 0,
        title: str = "",
    ) -> None:
        for name, value, least in (("every", every, 1), ("most", most, 2), ("batch", batch, 0)):
            if value < least:
                raise ValueError(f"Film: {name} is {value}, expected at least {least}")
        if (inputs is None) == (run is None):
            raise ValueError("Film: say inputs, or run, which calls the model; one of the two")
        self.model, self.every, self.most, self.batch = model, every, most, batch
        self.title = title or type(model).__name__
        self.tokens = list(tokens or [])
        self._run = run or (lambda: model(prepared))
        prepared = None if inputs is None else _prepared(inputs)
        self._extra = dict(measures or {})
        self.step = 0
        self.frames: list[Frame] = []
        self.layers: list[Layer] = []
        self._seen: list[np.ndarray] = []
        self._losses: list[tuple[float, float, int]] = []  # mean step, mean loss, of how many
        self._grouped = 1
        self.take()

    def __call__(self, loss: Any = None) -> None:
        """Count a step of the training, and take a frame if it is time to.

        Parameters
        ----------
        loss : Tensor or float, optional
            Of this step, for the curve.
        """
        self.step += 1
        if loss is not None:
            value = float(loss.data) if isinstance(loss, Tensor) else float(loss)
            self._losses.append((float(self.step), value, 1))
            self._merge_losses()
        if self.step % self.every == 0:
            self.take()

    def take(self) -> None:
        """Take a frame now."""
        if self.frames and self.frames[-1].step == self.step:
            return
        self.frames.append(self._frame())
        if len(self.frames) > self.most:
            self.frames = self.frames[::2]
            self.every *= 2

    # -- one frame ------------------------------------------------------------------------------

    def _frame(self) -> Frame:
        replayed = replay(unfold([self._output()]), [None])
        axes = head_axes(replayed)
        found = [(region, region.weights) for region in regions(replayed, axes)]
        if not found:
            raise ValueError(
                f"Film: no heads in the {type(self.model).__name__}: nothing between a split_heads "
                "and a merge_heads"
            )
        maps: list[np.ndarray] = []
        every: dict[str, list[list[float | None]]] = {name: [] for name in (*NAMES, *self._extra)}
        layers = []
        for k, (region, node) in enumerate(found):
            if node is None:
                raise ValueError(
                    f"Film: the heads of layer {k} pool without a softmax: they have no weights "
                    "that could be shown"
                )
            weights = _by_head(replayed, node, axes[node])  # (N, h, L, S)
            in_batch(self.batch, len(weights), "Film")
            one = weights[self.batch]  # (h, L, S)
            size = self._size(one.shape, len(found))
            layers.append(self._layer(region, one.shape, size))
            small = np.stack([pool(head, size) for head in one])
            maps.append(np.round(np.sqrt(np.clip(small, 0.0, 1.0)) * 255).astype(np.uint8))
            if len(self._seen) <= k:
                self._seen.append(np.zeros(small.shape, bool))
            if self.frames and self._seen[k].shape != small.shape:
                raise ValueError(
                    f"Film: the weights of layer {k} were {self._seen[k].shape} and are "
                    f"{small.shape} now; a film needs the same input at each frame"
                )
            self._seen[k] |= small > 0
            for name in NAMES:
                every[name].append([])
            for head in range(one.shape[0]):
                for name, value in measures(weights[:, head], region.offset).items():
                    every[name][k].append(value)
            for name, function in self._extra.items():
                every[name].append(_per_head(name, function(weights), one.shape[0]))
        if not self.layers:
            self.layers = layers
        return Frame(self.step, maps, every)

    def _output(self) -> Tensor:
        """Run the model as it would be used, and leave it as it was."""
        modules = list(self.model.modules())
        training = [module.training for module in modules]
        try:
            for module in modules:
                module.training = False
            with enable_grad():
                output = _first_tensor(self._run())
        finally:
            for module, was in zip(modules, training, strict=True):
                module.training = was
        if output is None or output.grad_fn is None:
            raise ValueError(
                "Film: the model's output has no graph; it must be a tensor, or hold one, that is "
                "made of parameters which require a gradient"
            )
        return output

    def _size(self, shape: tuple[int, ...], layers: int) -> int:
        """How many neighbours are to share a cell, for all maps to find room."""
        heads, length, keys = shape
        side = int((ROOM / (self.most * layers * heads)) ** 0.5)
        side = min(max(side, LEAST_SIDE), MOST_SIDE)
        return -(-max(length, keys) // side)

    def _layer(self, region: Region, shape: tuple[int, ...], size: int) -> Layer:
        heads, length, keys = shape
        paths = {id(module._scope): path for path, module in self.model.named_modules()}
        frame = region.merge.frame
        path = "" if frame is None else paths.get(id(frame.scope), frame.scope.kind)
        named = labels(self.tokens, (length, keys), region.offset, size)
        return Layer(path, heads, *named, size)

    def _merge_losses(self) -> None:
        """Average neighbours when there are too many points; all but the last hold as many."""
        last = self._losses[-1]
        if len(self._losses) > 1 and self._losses[-2][2] < self._grouped:
            self._losses[-2:] = [_mean(self._losses[-2], last)]
        if len(self._losses) > MOST_LOSSES:
            pairs = zip(self._losses[::2], self._losses[1::2], strict=False)
            odd = self._losses[-1:] if len(self._losses) % 2 else []
            self._losses = [_mean(a, b) for a, b in pairs] + odd
            self._grouped *= 2

    # -- forms ----------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Write all frames as JSON; the same film gives the same bytes."""
        content = {
            "version": VERSION,
            "title": self.title,
            "layers": [vars(layer) for layer in self.layers],
            "steps": [frame.step for frame in self.frames],
            # uint8, roots of the weights in 255ths: by frame, layer, head, query, key
            "maps": _base64([m for frame in self.frames for m in frame.maps]),
            "visible": _base64([seen.astype(np.uint8) for seen in self._seen]),
            "measures": {
                name: [
                    [
                        [None if x is None else round(x, 4) for x in layer]
                        for layer in frame.measures[name]
                    ]
                    for frame in self.frames
                ]
                for name in (*NAMES, *self._extra)
            },
            "losses": [[round(step, 1), float(f"{loss:.5g}")] for step, loss, _ in self._losses],
        }
        return json.dumps(finite(content), ensure_ascii=True, separators=(",", ":"))

    def to_html(self) -> str:
        """Build the page with a slider over the training: one file, which opens offline."""
        return fill(
            asset("film.html"),
            {
                "title": label(self.title, 200),
                "style": asset("film.css"),
                "data": in_script(self.to_json()),
                "around": asset("around.js"),
                "script": f'"use strict";\n{common()}\n{asset("film.js")}',
            },
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page or the data; the model as it is now is the last frame.

        Parameters
        ----------
        path : path
            Ends in .html or .json. The file appears whole or not at all.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            Another suffix.
        """
        from .graph import write_whole

        path = Path(path)
        kind = path.suffix.lstrip(".").lower()
        if kind not in FORMATS:
            raise ValueError(f"save: {path.name!r} ends neither in .html nor in .json")
        self.take()
        write_whole(path, (self.to_html() if kind == "html" else self.to_json()).encode())
        return path

    def _repr_html_(self) -> str:
        from .notebook import framed

        return framed(self.to_html(), self.title, self._told())

    def _told(self) -> list[str]:
        """What became of the loss and of each head, in a line each layer."""
        heads = sum(layer.heads for layer in self.layers)
        first, last = self.frames[0], self.frames[-1]
        told = [f"{heads} heads, {len(self.frames)} frames over {self.step} steps of training"]
        if self._losses:
            told.append(f"loss {number(self._losses[0][1])} → {number(self._losses[-1][1])}")
        for k, layer in enumerate(self.layers):
            before, after = (
                " ".join(fixed(x) for x in frame.measures["entropy"][k]) for frame in (first, last)
            )
            told.append(f"{visible(layer.path, 60)}: entropy of its heads {before} → {after}")
        return told

    def __repr__(self) -> str:
        heads = sum(layer.heads for layer in self.layers)
        return f"<Film of {self.title}: {heads} heads, {len(self.frames)} frames>"


def _prepared(inputs: Any) -> Tensor:
    tensor = inputs if isinstance(inputs, Tensor) else Tensor(np.asarray(inputs))
    return Tensor(tensor.data[None]) if tensor.ndim == 1 else tensor


def _first_tensor(output: Any) -> Tensor | None:
    """A tensor with a graph, in whatever a model returns."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = list(output.values())
    if not isinstance(output, list | tuple):
        return None
    found = [_first_tensor(part) for part in output]
    return next((t for t in found if t is not None and t.grad_fn is not None), None)


def _by_head(replayed: Replay, node: Node, axis: int) -> np.ndarray:
    """Weights as (N, h, L, S), whatever batch axes there are."""
    weights = np.moveaxis(replayed.values[node].data, axis, -3)  # (..., h, L, S)
    return weights.reshape(-1, *weights.shape[-3:])


def _per_head(name: str, values: Any, heads: int) -> list[float | None]:
    array = np.asarray(values.data if isinstance(values, Tensor) else values, np.float64)
    if array.shape != (heads,):
        raise ValueError(
            f"Film: the measure {name!r} gave shape {array.shape}, expected ({heads},): a number "
            "per head"
        )
    return [float(x) for x in array]


def _mean(a: tuple[float, float, int], b: tuple[float, float, int]) -> tuple[float, float, int]:
    count = a[2] + b[2]
    return (
        (a[0] * a[2] + b[0] * b[2]) / count,
        (a[1] * a[2] + b[1] * b[2]) / count,
        count,
    )


def _base64(arrays: list[np.ndarray]) -> str:
    return base64.b64encode(b"".join(array.tobytes() for array in arrays)).decode()
