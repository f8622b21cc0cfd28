"""Print a table: what a user would call, beside NumPy and PyTorch, in one run.

A ratio above 1 means that this project is faster than the best of the others. The errors
are root mean squares against float64, relative to it: ours / PyTorch's.

Set ``OPENBLAS_NUM_THREADS=1`` for the rows of one thread: NumPy's BLAS reads it when it
starts. Without it, NumPy is left out where fewer threads are asked for than it uses.
"""

from __future__ import annotations

import argparse
import operator
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import tinygrad_mha as tm

from .timing import Work, alternate

functional = torch.nn.functional
HEADER = "| work | threads | ours µs | NumPy | PyTorch | ratio | of the limit | error |"


@dataclass
class Row:
    """One line: the same work, by each."""

    name: str
    ours: Work
    theirs: Work  # PyTorch's
    numpy: Work | None = None
    flops: float = 0.0
    moved: Work | None = None  # a copy of as many numbers: the limit of memory
    exact: np.ndarray | None = None


def _arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def _both(array: np.ndarray, grad: bool = False) -> tuple[Any, Any]:
    return tm.Tensor(array, grad), torch.from_numpy(array.copy()).requires_grad_(grad)


def _backward(forward: Work) -> None:
    out: Any = forward()
    (out[0] if isinstance(out, tuple) else out).sum().backward()


def products(quick: bool) -> Iterator[Row]:
    """P1: square matrices, as they are and transposed, and heads."""
    sizes = [8, 32, 128, 512] if quick else [8, 16, 32, 64, 128, 256, 512, 1024, 2048]
    shapes = [((n, n), kind) for n in sizes for kind in (("nn",) if quick else ("nn", "nt", "tn"))]
    for shape, kind in [*shapes, ((4, 8, 64, 8), "nt"), ((8, 512, 32), "nt")]:
        a, b = _arrays(shape, shape)
        a = a.swapaxes(-1, -2) if kind[0] == "t" else a
        b = b.swapaxes(-1, -2) if kind[1] == "t" else b
        x, y = tm.Tensor(a), tm.Tensor(b)
        u, v = torch.from_numpy(a), torch.from_numpy(b)
        yield Row(
            f"P1 matmul {shape} {kind}",
            partial(operator.matmul, x, y),
            partial(operator.matmul, u, v),
            partial(operator.matmul, a, b),
            flops=2.0 * a.size * b.shape[-1],
            exact=a.astype(np.float64) @ b.astype(np.float64),
        )


def softmaxes(quick: bool) -> Iterator[Row]:
    """P2: softmax over the last axis."""
    shapes = [(64, 64), (512, 512)] + ([] if quick else [(4096, 1024), (512, 8192)])
    for shape in shapes:
        (a,) = _arrays(shape)
        x, u = _both(a)
        to = np.empty_like(a)
        e = np.exp(a.astype(np.float64))
        yield Row(
            f"P2 softmax {shape}",
            partial(tm.softmax, x, -1),
            partial(functional.softmax, u, -1),
            moved=partial(np.copyto, to, a),
            exact=e / e.sum(-1, keepdims=True),
        )


def attentions(quick: bool) -> Iterator[Row]:
    """P3: fused attention, 8 heads, forward; forward and backward."""
    mine = tm.nn.functional.scaled_dot_product_attention
    other = functional.scaled_dot_product_attention
    sizes = [(512, 32)] if quick else [(512, 32), (512, 64), (2048, 32), (2048, 64)]
    for length, width in sizes:
        arrays = _arrays(*3 * ((1, 8, length, width),))
        for causal in (False, True):
            ours, theirs = zip(*(_both(a, True) for a in arrays), strict=True)
            flops = 4.0 * 8 * length * length * width * (0.5 if causal else 1.0)

            name = f"P3 attention T={length} p={width}" + (" causal" if causal else "")
            exact = [torch.from_numpy(a).double() for a in arrays]
            yield Row(
                name,
                partial(mine, *ours, is_causal=causal),
                partial(other, *theirs, is_causal=causal),
                flops=flops,
                exact=other(*exact, is_causal=causal).numpy(),
            )
            yield Row(
                f"{name}, and backward",
                partial(_backward, partial(mine, *ours, is_causal=causal)),
                partial(_backward, partial(other, *theirs, is_causal=causal)),
                flops=3.5 * flops,  # seven products instead of two
            )


def layers(quick: bool) -> Iterator[Row]:
    """P4: MultiHeadAttention, forward and backward."""
    sizes = [(2, 16, 32, 4), (4, 64, 64, 8)]
    for batch, length, width, heads in sizes + ([] if quick else [(1, 512, 256, 8)]):
        (a,) = _arrays((batch, length, width))
        x, u = _both(a, True)
        mine = tm.nn.MultiHeadAttention(width, heads)
        other = torch.nn.MultiheadAttention(width, heads, batch_first=True)
        yield Row(
            f"P4 MultiHeadAttention {(batch, length, width)}, {heads} heads, and backward",
            partial(_backward, partial(mine, x)),
            partial(_backward, partial(other, u, u, u, need_weights=False)),
        )


def _mlp(lib: Any, sizes: tuple[int, ...]) -> Any:
    inner: list[Any] = []
    for a, b in pairwise(sizes):
        inner += [lib.nn.Linear(a, b), lib.nn.ReLU()]
    return lib.nn.Sequential(*inner[:-1])


class TorchGPT(torch.nn.Module):
    """The same decoder-only transformer as ``tm.nn.GPT``, from PyTorch's own layers."""

    def __init__(self, vocabulary: int, length: int, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(vocabulary, width)
        self.positions = torch.nn.Embedding(length, width)
        layer = torch.nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, torch.nn.functional.gelu, batch_first=True,
            norm_first=True,
        )  # fmt: skip
        norm = torch.nn.LayerNorm(width)
        self.blocks = torch.nn.TransformerEncoder(layer, depth, norm, enable_nested_tensor=False)
        self.head = torch.nn.Linear(width, vocabulary)
        mask = torch.nn.Transformer.generate_square_subsequent_mask(length)
        self.register_buffer("mask", mask)

    def forward(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        return self.head(self.blocks(x, mask=self.mask, is_causal=True))


def _step(lib: Any, model: Any, loss: Callable[[], Any]) -> Work:
    optimizer = lib.optim.AdamW(list(model.parameters()), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def training(quick: bool) -> Iterator[Row]:
    """P5, P6: one training step, eager: forward, backward, AdamW."""
    rng = np.random.default_rng(0)
    for sizes, batch in (((2, 16, 16, 1), 32), ((64, 128, 64, 10), 64)):
        works = []
        for lib in (tm, torch):
            model, x = _mlp(lib, sizes), lib.randn(batch, sizes[0])
            if sizes[-1] == 1:
                y = lib.randn(batch, 1)

                def loss(model: Any = model, x: Any = x, y: Any = y) -> Any:
                    apart = model(x) - y
                    return (apart * apart).mean()
            else:
                y = lib.tensor(rng.integers(0, sizes[-1], batch))

                def loss(model: Any = model, x: Any = x, y: Any = y, lib: Any = lib) -> Any:
                    return lib.nn.functional.cross_entropy(model(x), y)

            works.append(_step(lib, model, loss))
        yield Row(f"P5 training step, backward included: MLP {sizes}, batch {batch}", *works)
    models = [(32, 4, 1, 16, 8)] if quick else [(32, 4, 1, 16, 8), (128, 4, 4, 64, 12)]
    for width, heads, depth, length, batch in models:
        works, text = [], rng.integers(0, 65, (batch, length + 1))
        ours = tm.nn.GPT(65, length, embed_dim=width, num_heads=heads, num_layers=depth)
        for lib, model in ((tm, ours), (torch, TorchGPT(65, length, width, heads, depth))):
            tokens, targets = lib.tensor(text[:, :-1]), lib.tensor(text[:, 1:].reshape(-1))

            def loss(m: Any = model, x: Any = tokens, y: Any = targets, lib: Any = lib) -> Any:
                return lib.nn.functional.cross_entropy(m(x).reshape(-1, 65), y)

            works.append(_step(lib, model, loss))
        shape = f"width {width}, {heads} heads, {depth} layers, {batch} × {length} tokens"
        yield Row(f"P6 training step, backward included: GPT {shape}", *works)


def peak(seconds: float) -> float:
    """Operations a second of the best product that the others reach: the limit, nearly."""
    (a,) = _arrays((768, 768))
    t = torch.from_numpy(a)
    return float(2 * 768**3 / min(alternate([lambda: t @ t, lambda: a @ a], seconds)))


def _error(found: Any, exact: np.ndarray) -> float:
    values = found.detach().numpy() if isinstance(found, torch.Tensor) else found.data
    return float(np.sqrt(((values - exact) ** 2).mean() / (exact**2).mean()))


def line(row: Row, threads: int, seconds: float, limit: float) -> tuple[str, float]:
    """Measure a row; return it as a line of the table, and its ratio."""
    alone = row.numpy if threads == _blas_threads() else None
    works = [row.ours, row.theirs, *(w for w in (alone, row.moved) if w)]
    mine, other, *more = alternate(works, seconds)
    numpy = more[0] if alone else None
    ratio = min(other, numpy or other) / mine
    share = f"{row.flops / mine / 1e9:.0f} GFLOP/s, {row.flops / mine / limit:.2f}"
    if row.moved:
        share = f"{mine / more[-1]:.2f} × a copy"
    error = ""
    if row.exact is not None:
        a, b = _error(row.ours(), row.exact), _error(row.theirs(), row.exact)
        error = f"{a:.1e} / {b:.1e}"
    beside = f"{numpy * 1e6:.1f}" if numpy else ""
    cells = [
        row.name, threads, f"{mine * 1e6:.1f}", beside, f"{other * 1e6:.1f}", f"{ratio:.2f}",
        share if row.flops or row.moved else "", error,
    ]  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |", ratio


def _blas_threads() -> int:
    return int(os.environ.get("OPENBLAS_NUM_THREADS") or os.cpu_count() or 1)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes, shorter")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--only", default="", help="for example P3")
    options = parser.parse_args()
    seconds = 0.3 if options.quick else 1.5
    for threads in options.threads:
        tm.set_num_threads(threads)
        torch.set_num_threads(threads)
        limit = peak(2.0)
        print(f"\n{threads} thread(s); the best product reaches {limit / 1e9:.0f} GFLOP/s\n")
        print(HEADER + "\n|" + "---|" * (HEADER.count("|") - 1))
        for section in (products, softmaxes, attentions, layers, training):
            ratios = []
            for row in section(options.quick):
                if not row.name.startswith(options.only):
                    continue
                steps = "backward" in row.name
                with tm.enable_grad() if steps else tm.no_grad(), torch.set_grad_enabled(steps):
                    text, ratio = line(row, threads, seconds, limit)
                ratios.append(ratio)
                print(text, flush=True)
            if ratios:
                mean = float(np.exp(np.mean(np.log(ratios))))
                print(f"| *geometric mean* | {threads} | | | | **{mean:.2f}** | | |", flush=True)


main()
