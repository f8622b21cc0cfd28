"""Where the microseconds of a training step go: arithmetic, recording, walking back, updating.

Each part is timed by itself, as the shortest of many repetitions: the forward pass with and
without recording, every operation's forward and gradient rule alone on the arrays of the step,
the backward pass, the optimizer. What is left over is what holds the parts together.

    python examples/where_a_step_goes.py           # print
    python examples/where_a_step_goes.py --write   # into docs/where-a-step-goes.md too
"""

from __future__ import annotations

import argparse
import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tinygrad_mha as tm
from tinygrad_mha.engine import Node
from tinygrad_mha.viz.replay import replay

F = tm.nn.functional
PAGE = Path(__file__).parent.parent / "docs" / "where-a-step-goes.md"


def shortest(work: Callable[[], object], seconds: float) -> float:
    """Return the shortest time of a call in µs, of batches that together take so long."""
    for _ in range(3):
        work()
    start = time.perf_counter()
    work()
    count = max(1, int(1e-3 / max(time.perf_counter() - start, 1e-7)))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.thread_time()  # of this thread only: others do not count
        for _ in range(count):
            work()
        best = min(best, (time.thread_time() - start) / count)
    return best * 1e6


def mlp(sizes: tuple[int, ...], batch: int) -> tuple[tm.nn.Module, Callable[[], tm.Tensor]]:
    """Build a perceptron with relu between its layers, and the loss of one batch."""
    layers: list[tm.nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers += [tm.nn.ReLU()] * (i > 0) + [tm.nn.Linear(a, b)]
    model = tm.nn.Sequential(*layers)
    x = tm.randn(batch, sizes[0])
    if sizes[-1] > 1:
        y = tm.randint(0, sizes[-1], (batch,))
        return model, lambda: F.cross_entropy(model(x), y)
    y = tm.randn(batch, 1)
    return model, lambda: F.mse_loss(model(x), y)


def operations(loss: tm.Tensor, seconds: float) -> list[tuple[str, float, float]]:
    """Time the forward and the rules of each operation of a graph alone, in µs."""
    again = replay([loss], [None])
    backward = {step.node: step for step in tm.autograd.steps(loss, retain_graph=True)}
    return [(_name(node), *_alone(node, again, backward[node], seconds)) for node in again.nodes]


def _alone(node: Node, again: Any, step: Any, seconds: float) -> tuple[float, float]:
    op, saved = node.op, node.saved
    inputs = [again.value(x) for x in node.inputs]
    forward = shortest(lambda: op.forward(*inputs, *node.params), seconds)
    rules = shortest(lambda: op.gradients(step.incoming, node.wanted, saved, fused=True), seconds)
    return forward, rules


def _name(node: Node) -> str:
    return f"{node.op.name} {' × '.join(map(str, node.shape))}".strip()


def breakdown(sizes: tuple[int, ...], batch: int, seconds: float = 0.1) -> str:
    """Measure a training step with AdamW; return a table.

    Parameters
    ----------
    sizes : tuple of int
        Widths of the perceptron.
    batch : int
        Rows.
    seconds : float, default 0.1
        How long each part is measured.
    """
    model, compute = mlp(sizes, batch)
    optimizer = tm.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        compute().backward()
        optimizer.step()

    for _ in range(20):
        step()
    whole = shortest(step, 2 * seconds)
    forward = shortest(compute, seconds)
    with tm.no_grad():
        unrecorded = shortest(compute, seconds)
    loss = compute()
    parts = operations(loss, seconds / 4)
    loss.backward()
    update = shortest(optimizer.step, seconds)
    arithmetic = sum(part[1] for part in parts)
    rules = sum(part[2] for part in parts)
    back = whole - forward - update
    rows = [
        ("**forward**", forward),
        ("arithmetic: the operations' forwards on bare arrays", arithmetic),
        ("modules, arguments, dtypes, the tensor around each result", unrecorded - arithmetic),
        ("recording: a node per operation, and what its rule saves", forward - unrecorded),
        ("**backward**", back),
        ("arithmetic: the gradient rules on bare arrays", rules),
        ("the walk: order, sums, gradients of leaves, freeing", back - rules),
        (f"**AdamW**, {len(optimizer.params)} parameters in one call", update),
        ("**the step**", whole),
    ]
    lines = ["| part | µs | share |", "|---|---|---|"]
    lines += [f"| {name} | {took:.1f} | {took / whole:.0%} |" for name, took in rows]
    lines += ["", "| operation | forward, µs | rules, µs |", "|---|---|---|"]
    lines += [f"| {name} | {ahead:.1f} | {behind:.1f} |" for name, ahead, behind in parts]
    return "\n".join(lines)


CASES = {"small": ((2, 16, 16, 1), 32), "wide": ((64, 128, 64, 10), 64)}


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help="into the page of the docs too")
    parser.add_argument("--seconds", type=float, default=0.1, help="for each part")
    options = parser.parse_args()
    tm.set_num_threads(1)
    page = PAGE.read_text("utf-8") if options.write else ""
    for name, (sizes, batch) in CASES.items():
        table = breakdown(sizes, batch, options.seconds)
        print(f"{' → '.join(map(str, sizes))}, batch {batch}\n\n{table}\n")
        pattern = rf"(<!-- figures: {name} -->\n).*?(\n<!-- end -->)"
        page = re.sub(pattern, lambda found, t=table: f"{found[1]}{t}{found[2]}", page, flags=re.S)
    if options.write:
        PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
