"""P1 – P3: matrix products, softmax, attention."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import partial

import torch

import tinygrad_mha as tm

from .limits import copy_of
from .rows import Row, arrays, backward, both

functional = torch.nn.functional


def products(quick: bool, threads: int) -> Iterator[Row]:
    """P1: square matrices, as they are and transposed, and heads."""
    sizes = [8, 32, 128, 512] if quick else [8, 16, 32, 64, 128, 256, 512, 1024, 2048]
    kinds = ("nn",) if quick else ("nn", "nt", "tn")
    shapes = [((n, n), kind) for n in sizes for kind in kinds]
    for shape, kind in [*shapes, ((4, 8, 64, 8), "nt"), ((8, 512, 32), "nt")]:
        a, b = arrays(shape, shape)
        a = a.swapaxes(-1, -2) if kind[0] == "t" else a
        b = b.swapaxes(-1, -2) if kind[1] == "t" else b
        u, v = torch.from_numpy(a), torch.from_numpy(b)
        yield Row(
            "P1",
            f"matmul {' × '.join(map(str, shape))} {kind}",
            partial(operator.matmul, tm.Tensor(a), tm.Tensor(b)),
            partial(operator.matmul, u, v),
            partial(operator.matmul, a, b),
            aim=0.95,
            flops=2.0 * a.size * b.shape[-1],
            exact=partial(operator.matmul, u.double(), v.double()),
        )


def softmaxes(quick: bool, threads: int) -> Iterator[Row]:
    """P2: softmax over the last axis."""
    shapes = [(64, 64), (512, 512)] + ([] if quick else [(4096, 1024), (512, 8192)])
    for shape in shapes:
        (a,) = arrays(shape)
        x, u = both(a)
        yield Row(
            "P2",
            f"softmax {shape[0]} × {shape[1]}",
            partial(tm.softmax, x, -1),
            partial(functional.softmax, u, -1),
            aim=2.0,
            moved=copy_of(a, threads),
            exact=partial(functional.softmax, u.double(), -1),
        )


def attentions(quick: bool, threads: int) -> Iterator[Row]:
    """P3: fused attention, 8 heads, forward; forward and backward."""
    mine = tm.nn.functional.scaled_dot_product_attention
    other = functional.scaled_dot_product_attention
    lengths, widths = ((512,), (32,)) if quick else ((512, 1024, 2048, 4096), (32, 64))
    for length, width in [(length, width) for length in lengths for width in widths]:
        numbers = arrays(*3 * ((1, 8, length, width),))
        for causal in (False, True):
            ours, theirs = (list(t) for t in zip(*(both(a, True) for a in numbers), strict=True))
            exact = [t.detach().double().requires_grad_() for t in theirs]
            forward = [
                partial(function, *inputs, is_causal=causal)
                for function, inputs in ((mine, ours), (other, theirs), (other, exact))
            ]
            name = f"attention T = {length}, p = {width}" + (", causal" if causal else "")
            flops = 4.0 * 8 * length * length * width * (0.5 if causal else 1.0)
            tested = length <= 1024  # the truth takes its time too
            yield Row(
                "P3", name, *forward[:2], aim=1.15, flops=flops,
                exact=forward[2] if tested else None,
            )  # fmt: skip
            yield Row(
                "P3",
                f"{name}, and backward",
                partial(backward, forward[0], ours),
                partial(backward, forward[1], theirs),
                aim=1.2,
                grad=True,
                flops=3.5 * flops,  # seven products instead of two
                exact=partial(backward, forward[2], exact) if tested else None,
            )
