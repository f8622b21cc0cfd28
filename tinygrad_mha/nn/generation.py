"""Sampling: one token after the other, with or without chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..engine import Tensor, no_grad
from ..engine.op import plain
from .checks import expect_size

if TYPE_CHECKING:
    from .module import Module
    from .transformer import GPT


def sample(
    logits: Any,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    rng: np.random.Generator | None = None,
) -> int:
    """Choose one token by its logits.

    Parameters
    ----------
    logits : Tensor or array_like
        ``(V,)``.
    temperature : float, default 1
        Below 1 more predictable, above 1 less; 0 takes the likeliest.
    top_k : int, optional
        Among the k likeliest only.
    top_p : float, optional
        Among the likeliest whose probabilities together reach p, of those that `top_k` leaves
        (nucleus sampling; Holtzman et al. 2020, section 3.1).
    rng : numpy.random.Generator, optional
        By default the one that ``tm.manual_seed`` sets.

    Returns
    -------
    int
        From 0 to V − 1.

    Raises
    ------
    ValueError
        An option is out of range, or the logits hold nan or nothing but −inf.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.sample([0.0, 3.0, 1.0], temperature=0)
    1
    >>> {tm.nn.sample([0.0, 3.0, 2.9], top_p=0.6) for _ in range(50)} <= {1, 2}
    True
    """
    _check(temperature, top_k, top_p)
    scores = np.asarray(logits.data if isinstance(logits, Tensor) else logits, np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ValueError(f"sample: logits has shape {scores.shape}, expected (V,) with V ≥ 1")
    if np.isnan(scores).any() or scores.max() == -np.inf:
        raise ValueError(
            "sample: logits hold nan, or nothing but −inf: no token is likelier than another"
        )
    if temperature == 0 or scores.max() == np.inf:
        return int(scores.argmax())
    order = np.argsort(-scores, kind="stable")[:top_k]  # the likeliest first
    with np.errstate(over="ignore"):  # −inf, at temperatures near 0: never drawn
        p = np.exp((scores[order] - scores[order[0]]) / temperature)
    p /= p.sum()
    if top_p is not None:
        # keep those before which less than top_p has been gathered: always the first
        kept = np.cumsum(p) - p < top_p
        order, p = order[kept], p[kept] / p[kept].sum()
    return int((rng or ops.generator()).choice(order, p=p))


def generate(
    model: GPT,
    tokens: Any,
    count: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    use_cache: bool = True,
) -> np.ndarray:
    """Let a model continue a sequence, one sampled token after the other.

    Parameters
    ----------
    model : GPT
        One in training mode is in evaluation mode meanwhile: nothing is dropped.
    tokens : array_like of int
        ``(T,)``, at least one.
    count : int
        How many to add.
    temperature, top_k, top_p
        See :func:`sample`.
    seed : int, optional
        The same seed gives the same tokens, whatever else has drawn random numbers.
    use_cache : bool, default True
        Compute each token's keys and values once. Past the model's context the window slides, and
        with it every token's position, so from there on all of it is computed anew.

    Returns
    -------
    ndarray
        ``(T + count,)``.

    Raises
    ------
    TypeError
        `tokens` is not one sequence of whole numbers.
    ValueError
        There is no token to begin with, or an option is out of range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> gpt = tm.nn.GPT(65, 16, embed_dim=32, num_heads=4, num_layers=1)
    >>> len(tm.nn.generate(gpt, [0], 5))
    6
    """
    _check(temperature, top_k, top_p)
    expect_size(count, "generate: count", 0)
    sequence = token_list(tokens, "generate: tokens")
    rng = None if seed is None else np.random.default_rng(seed)
    cache = model.make_cache() if use_cache else None
    with no_grad(), evaluating(model):
        for _ in range(count):
            if cache is not None and len(sequence) > model.context:
                cache = None
            seen = len(cache[0]) if cache else 0
            window = sequence[seen:] if cache else sequence[-model.context :]
            logits = model(Tensor(np.array([window])), cache=cache).data[0, -1]
            token = sample(logits, temperature=temperature, top_k=top_k, top_p=top_p, rng=rng)
            sequence.append(token)
    return np.array(sequence)


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back into its own afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def token_list(tokens: Any, name: str) -> list[int]:
    """Bring one sequence of tokens to a list, and refuse what is none.

    Raises
    ------
    TypeError
        It is not one sequence of whole numbers.
    ValueError
        It is empty.
    """
    found = np.asarray(plain(tokens))
    if found.ndim == 1 and not found.size:
        raise ValueError(f"{name} is empty; there must be one to begin with")
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise TypeError(
            f"{name} has shape {found.shape} and dtype {found.dtype}, expected whole numbers of "
            "shape (T,): one sequence, of which each token is a number"
        )
    return [int(t) for t in found]


def _check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not isinstance(temperature, int | float | np.number) or not temperature >= 0:
        raise ValueError(f"temperature is {temperature!r}, expected 0 or more")
    if top_k is not None:
        expect_size(top_k, "top_k")
    if top_p is not None and not (isinstance(top_p, int | float | np.number) and 0 < top_p <= 1):
        raise ValueError(f"top_p is {top_p!r}, expected a number above 0, up to 1")
