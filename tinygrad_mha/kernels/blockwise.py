"""Additive attention in one pass: neither tanh(q + k) nor the weights are ever in memory.

A group of queries meets all keys that one of them may see. Its scores are a row each, so the
softmax is a plain one; tanh(q + k) goes through the cache in smaller blocks (:mod:`.additive`).
Backward runs over the same groups. It needs tanh(q + k) anyway, and the scores are one small
product away from it: computing them again costs less than having kept them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import reference
from .additive import PARALLEL, blocks_of, items_of
from .team import over_ranges, threads_for

Array = np.ndarray
Limits = tuple[Array | None, Array | None, bool]

SCORES = 2**15  # scores of a group of queries: 128 kB, which stay in the second-level cache


class _Call(NamedTuple):
    """Inputs with one axis of items, (items, n, width), and what limits attention."""

    q: Array
    k: Array
    v: Array
    w: Array
    mask: _PerItem | None
    bias: _PerItem | None
    causal: bool
    dropout: float
    seed: int

    def groups(self) -> list[tuple[slice, slice]]:
        """Cut into groups of queries: small ones where each sees only the keys before it."""
        scores = SCORES // 4 if self.causal else SCORES
        return blocks_of(len(self.q), self.q.shape[1], self.k.shape[1], scores)

    @property
    def some_may_see_nothing(self) -> bool:
        return not (self.mask is self.bias is None and self.k.shape[1])

    def keys(self, rows: slice) -> slice:
        """Keys that some of these queries may see."""
        last = min(rows.stop, self.q.shape[1])
        return slice(0, min(last, self.k.shape[1]) if self.causal else self.k.shape[1])

    def limited(self, s: Array, items: slice, rows: slice, keys: slice) -> Array:
        """Scores (items, rows, keys) with what is added, and −∞ where nothing may be seen."""
        nothing = s.dtype.type(-np.inf)
        if self.bias is not None:
            bias = self.bias.part(items, rows, keys)
            s = np.where(np.isneginf(bias), nothing, s + bias)
        if self.mask is not None:
            s = np.where(self.mask.part(items, rows, keys), s, nothing)
        if self.causal:
            seen = np.arange(keys.stop) <= np.arange(rows.start, rows.start + s.shape[1])[:, None]
            s = np.where(seen, s, nothing)
        return s

    def dropped(self, x: Array, items: slice, rows: slice) -> Array:
        """Drop those weights of a group that the seed says; see :func:`reference.kept`."""
        if not self.dropout:
            return x
        first = items.start * self.q.shape[1] + rows.start
        keep = reference.kept(x.shape, self.dropout, self.seed, first)
        return x * (keep * x.dtype.type(1 / (1 - self.dropout) if self.dropout < 1 else 0))

    def run(self, work: Callable[[int, int], None], groups: int) -> None:
        """Share the groups among threads."""
        numbers = len(self.q) * self.q.shape[1] * self.k.shape[1] * len(self.w)
        over_ranges(work, groups, threads_for(numbers, PARALLEL))


class _PerItem:
    """A mask that broadcasts to (*batch, L, S), read a group at a time and never spread out."""

    def __init__(self, mask: Array, batch: tuple[int, ...]) -> None:
        mask = mask.reshape((1,) * max(0, 2 - mask.ndim) + mask.shape)
        own = mask.shape[:-2]
        self.masks = mask.reshape(-1, *mask.shape[-2:]) if own else mask[None]
        order = np.arange(len(self.masks)).reshape(own)
        self.which = np.broadcast_to(order, batch).reshape(-1)  # of each item: its mask

    def part(self, items: slice, rows: slice, keys: slice) -> Array:
        """Return what broadcasts to (items, rows, keys)."""
        which = self.which[items]
        if which.size and (which == which[0]).all():  # one for all of them: no copy
            found = self.masks[which[0]][None]
        else:
            found = self.masks[which]
        rows = rows if found.shape[1] > 1 else slice(None)
        return found[:, rows, keys if found.shape[2] > 1 else slice(None)]


def _call(
    q: Array, k: Array, w: Array, v: Array, limits: Limits, dropout: float, seed: int
) -> tuple[_Call, tuple[int, ...]]:
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    qs, ks, vs = items_of(batch, q, k, v)
    mask, bias = (None if m is None else _PerItem(m, batch) for m in limits[:2])
    return _Call(qs, ks, vs, w, mask, bias, limits[2], dropout, seed), batch


def additive_attention(
    q: Array, k: Array, w: Array, v: Array, limits: Limits, dropout: float, seed: int
) -> tuple[Array, Array]:
    """Softmax of Σ w · tanh(q + k), times v; and ln Σ exp of each row of scores."""
    call, batch = _call(q, k, w, v, limits, dropout, seed)
    length, a = q.shape[-2:]
    out = np.zeros((len(call.q), length, v.shape[-1]), q.dtype)
    lse = np.full((len(call.q), length), -np.inf, q.dtype)
    groups = call.groups()

    def work(first: int, last: int) -> None:
        for items, rows in groups[first:last]:
            qs, keys = call.q[items, rows], call.keys(rows)
            ks = call.k[items, keys]
            s = np.empty((*qs.shape[:2], ks.shape[1]), q.dtype)
            for some, few in blocks_of(len(qs), qs.shape[1], ks.shape[1] * a):
                t = qs[some, few, None, :] + ks[some, None]  # (items, rows, keys, a)
                np.matmul(np.tanh(t, out=t), w, out=s[some, few])
            s = call.limited(s, items, rows, keys)
            top = s.max(-1, keepdims=True, initial=-np.inf)
            if call.some_may_see_nothing:
                top[np.isneginf(top)] = 0  # e^(−∞) for every key, and their sum is 0
            p = np.exp(np.subtract(s, top, out=s), out=s)
            total = p.sum(-1, keepdims=True)
            if call.some_may_see_nothing:
                blind = total == 0
                total += blind
                top[blind] = -np.inf
            lse[items, rows] = (np.log(total) + top)[..., 0]
            p /= total
            np.matmul(call.dropped(p, items, rows), call.v[items, keys], out=out[items, rows])

    call.run(work, len(groups))
    return out.reshape(*batch, length, v.shape[-1]), lse.reshape(*batch, length)


def additive_attention_backward(
    dout: Array, q: Array, k: Array, w: Array, v: Array, out: Array, lse: Array, limits: Limits,
    dropout: float, seed: int, scores_too: bool,
) -> tuple[Array, Array, Array, Array, Array | None]:  # fmt: skip
    """Gradients of q, k, w and v, and of the scores: of the batch axes of `dout`, w apart."""
    call, batch = _call(q, k, w, v, limits, dropout, seed)
    (length, a), n = q.shape[-2:], len(call.q)
    douts, outs = items_of(batch, dout, out)
    ends = lse.reshape(n, length, 1)
    if call.some_may_see_nothing:  # then e^(s − ∞) = 0
        ends = np.where(np.isneginf(ends), lse.dtype.type(np.inf), ends)
    dots = (douts * outs).sum(-1, keepdims=True)
    dq = np.empty(call.q.shape, q.dtype)
    dscores = np.zeros((n, length, k.shape[-2]), q.dtype) if scores_too else None
    groups = call.groups()
    sums: dict[int, tuple[Array, Array, Array]] = {}

    def work(first: int, last: int) -> None:
        dk, dw = np.zeros(call.k.shape, q.dtype), np.zeros(a, q.dtype)
        dv = np.zeros(call.v.shape, q.dtype)
        sums[first] = dk, dw, dv
        for items, rows in groups[first:last]:
            qs, keys = call.q[items, rows], call.keys(rows)
            ks, dy = call.k[items, keys], douts[items, rows]
            ds = np.matmul(dy, call.v[items, keys].swapaxes(-1, -2))
            ds = call.dropped(ds, items, rows) - dots[items, rows]
            p = np.empty_like(ds)
            into_q, into_k = dq[items, rows], dk[items, keys]
            for some, few in blocks_of(len(qs), qs.shape[1], ks.shape[1] * a):
                t = qs[some, few, None, :] + ks[some, None]  # (items, rows, keys, a)
                s = np.matmul(np.tanh(t, out=t), w)
                # where in the whole this block stands, for its part of the masks
                n0, i0 = items.start + some.start, rows.start + few.start
                place = slice(n0, n0 + s.shape[0]), slice(i0, i0 + s.shape[1])
                s = call.limited(s, *place, keys)
                np.exp(np.subtract(s, ends[place], out=s), out=p[some, few])
                d = ds[some, few]
                d *= p[some, few]
                dw += d.reshape(-1) @ t.reshape(-1, a)
                np.multiply(t, t, out=t)
                np.subtract(1, t, out=t)
                t *= d[..., None]
                t.sum(2, out=into_q[some, few])
                into_k[some] += t.sum(1)
            dv[items, keys] += np.matmul(call.dropped(p, items, rows).swapaxes(-1, -2), dy)
            if dscores is not None:
                dscores[items, rows, keys] = ds

    call.run(work, len(groups))
    first = min(sums)
    dk, dw, dv = sums.pop(first)
    for start in sorted(sums):
        for whole, part in zip((dk, dw, dv), sums[start], strict=True):
            whole += part
    dq *= w
    dk *= w
    return (
        dq.reshape(*batch, length, a),
        dk.reshape(*batch, k.shape[-2], a),
        dw,
        dv.reshape(*batch, *v.shape[-2:]),
        None if dscores is None else dscores.reshape(*batch, length, k.shape[-2]),
    )
