"""Lanes are held against the whole: their sum must be the real output, and so with gradients."""

from __future__ import annotations

import numpy as np

from ..engine import Node, Tensor, grad
from .alone import Alone, cut
from .data import Proof
from .regions import Region
from .replay import Replay
from .shares import WEIGHT, Shares, X


def prove(
    region: Region,
    alone: list[Alone],
    shares: Shares,
    axes: dict[Node, int],
    replayed: Replay,
) -> Proof:
    """Add the heads up and compare.

    Parameters
    ----------
    region : Region
        Whose heads they are.
    alone : list of Alone
        Every head.
    shares : Shares
        What the recorded gradients say of each head's part.
    axes : dict of Node to int
        Which axis of each node's value is the heads'.
    replayed : Replay
        What really ran.
    """
    real = replayed.values[region.output].data
    contributions = [one.contribution.data.astype(np.float64) for one in alone]
    if region.combine is None:
        together = np.concatenate(contributions, axis=-1)
    else:
        together = np.sum(contributions, axis=0)
        bias = replayed.value(region.combine.inputs[2])
        together = together if bias is None else together + bias
    tolerance = 1e-9 if real.dtype == np.float64 else 2e-4
    gradient = None
    if region.output in replayed.incoming:
        gradient = _gradient_difference(region, alone, shares, axes, replayed)
    return Proof(difference(together, real), gradient, tolerance)


def difference(found: np.ndarray, real: np.ndarray) -> float:
    """Largest difference, relative to the largest real element."""
    if real.size == 0:
        return 0.0
    scale = float(np.abs(real).max()) or 1.0
    with np.errstate(invalid="ignore"):  # what is not finite differs, and may
        return float(np.abs(found - real).max()) / scale


def _gradient_difference(
    region: Region,
    alone: list[Alone],
    shares: Shares,
    axes: dict[Node, int],
    replayed: Replay,
) -> float | None:
    """Largest difference of the lanes' gradients from those of the real backward pass."""
    flows = replayed.flows
    leaks = _leaks(region, replayed)
    every = [_gradients(region, i, one, leaks, axes, replayed) for i, one in enumerate(alone)]
    pairs = list(shares.pairs)
    for k, (split, projection) in enumerate(zip(region.splits, region.projections, strict=True)):
        own = [sources[k] for sources, _, _ in every]
        if projection is None:
            pairs += _both(_joined(own, axes[split]), replayed.incoming.get(split))
        elif region.alone(projection, replayed):
            pairs += _both(_summed(own), flows.get((projection, X)))
            blocks = _joined([matrices[k] for _, matrices, _ in every], 0)
            pairs += _both(blocks, flows.get((projection, WEIGHT)))
    if region.combine is not None:
        blocks = _joined([share for _, _, share in every], 1)
        pairs += _both(blocks, flows.get((region.combine, WEIGHT)))
    worst = [difference(found, real) for found, real in pairs]
    return float(np.max(worst)) if worst else None  # nan where one of them is


def _leaks(region: Region, replayed: Replay) -> dict[Node, np.ndarray]:
    """What flows to the region's values from elsewhere, such as from a loss on the weights."""
    here = {*region.inside, region.merge}
    found: dict[Node, np.ndarray] = {}
    for node in (*region.splits, *region.inside, *([region.merge] if region.combine else [])):
        parts = [replayed.seeds[node]] if node in replayed.seeds else []
        for user in dict.fromkeys(replayed.users.get(node, ())):
            if user not in here and user is not region.combine:
                which = [i for i, source in enumerate(user.inputs) if source is node]
                parts += [replayed.flows[user, i] for i in which if (user, i) in replayed.flows]
        if parts:
            found[node] = np.sum(parts, axis=0)
    return found


def _gradients(
    region: Region,
    head: int,
    one: Alone,
    leaks: dict[Node, np.ndarray],
    axes: dict[Node, int],
    replayed: Replay,
) -> tuple[list[Tensor | None], list[Tensor | None], Tensor | None]:
    """Of one head alone: gradients of what is read, of its matrices, of its block of the output."""
    roots, seeds = [one.contribution], [replayed.incoming[region.output]]
    if region.combine is None:
        seeds = [_columns(seeds[0], head, region.heads)]
    for node, leak in leaks.items():
        merged = node is region.merge
        value = one.merged if merged else one.values[node]
        if value.requires_grad:
            roots.append(value)
            part = _columns(leak, head, region.heads) if merged else cut(leak, axes[node], head)
            seeds.append(part)
    wanted = [*one.sources, *(m for m in one.matrices if m is not None)]
    wanted += [] if one.share is None else [one.share]
    found = iter(grad(roots, wanted, [Tensor(seed) for seed in seeds], allow_unused=True))
    sources = [next(found) for _ in one.sources]
    matrices = [None if m is None else next(found) for m in one.matrices]
    return sources, matrices, None if one.share is None else next(found)


def _columns(array: np.ndarray, head: int, heads: int) -> np.ndarray:
    width = array.shape[-1] // heads
    return array[..., head * width : (head + 1) * width]


def _both(found: np.ndarray | None, real: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray]]:
    return [] if found is None or real is None else [(found, real)]


def _summed(parts: list[Tensor | None]) -> np.ndarray | None:
    arrays = [part.data for part in parts if part is not None]
    return np.sum(arrays, axis=0) if arrays else None


def _joined(parts: list[Tensor | None], axis: int) -> np.ndarray | None:
    arrays = [part.data for part in parts if part is not None]
    return np.concatenate(arrays, axis) if arrays and len(arrays) == len(parts) else None
