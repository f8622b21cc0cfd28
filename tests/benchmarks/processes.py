"""P3's memory, P7 – P9: what needs a process of its own, and what is timed once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tinygrad_mha as tm

from .rows import Result
from .timing import Work

ROOT = Path(__file__).parents[2]

RESIDENT = """
from pathlib import Path
def resident(which):  # MB, from Linux; getrusage's peak includes the process that started this one
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else [which + " nan"]
    return next(float(line.split()[1]) for line in lines if line.startswith(which)) / 1024
"""

FIRST_GRADIENT = (
    RESIDENT
    + """
import json, time
start = time.perf_counter()
import {module} as lib
peak = resident("VmHWM")
x = lib.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
(x @ x).sum().backward()
print(json.dumps([time.perf_counter() - start, peak]))
"""
)

FIRST_STEP = """
import json, time
start = time.perf_counter()
import tinygrad_mha as tm
compiled = []
with tm.kernels.on_compile(lambda kernel, state, seconds: state == "done" and compiled.append(1)):
    from tinygrad_mha.nn import functional as F
    {model}
    optimizer = tm.optim.AdamW(model.parameters())
    loss().backward()
    optimizer.step()
print(json.dumps([time.perf_counter() - start, time.process_time(), len(compiled)]))
"""

MODELS = {
    "an MLP's": """
    model = tm.nn.Sequential(tm.nn.Linear(64, 128), tm.nn.ReLU(), tm.nn.Linear(128, 10))
    loss = lambda: F.cross_entropy(model(tm.randn(32, 64)), tm.tensor([1] * 32))
""",
    "a GPT's": """
    model = tm.nn.GPT(65, 64, embed_dim=64, num_heads=4, num_layers=2)
    text = tm.tensor([[i % 65 for i in range(65)]] * 8)
    loss = lambda: F.cross_entropy(model(text[:, :-1]).reshape(-1, 65), text[:, 1:].reshape(-1))
""",
}
MODELS["a GPT's, with kernels.prepare,"] = (
    '    tm.kernels.prepare("attention", "attention_backward")' + MODELS["a GPT's"]
)

ATTENTION = (
    RESIDENT
    + """
import json
import {module} as lib
F = lib.nn.functional
def peak(length, walk):
    q, k, v = (lib.ones(1, 8, length, 64, requires_grad=True) for _ in range(3))
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew
    before = resident("VmRSS")
    out = F.scaled_dot_product_attention(q, k, v)
    if walk:
        out.sum().backward()
    return resident("VmHWM") - before
peak(64, True)
print(json.dumps([peak(8192, False), peak(8192, True), 3 * 8 * 8192 * 64 * 4 / 2**20]))
"""
)


def _run(code: str, **environment: str) -> list[float]:
    """Run code in a process of its own; return what it printed last."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def _bytecode() -> Iterator[dict[str, str]]:
    """Keep bytecode, as it is kept where a package was installed in the usual way."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        _run("import numba.np.linalg, torch, tinygrad_mha, numba; print(0)", **kept)
        yield kept


def memory(quick: bool, threads: int) -> Iterator[Result]:
    """P3: what attention needs beyond its inputs, its output and the gradients of both."""
    if not Path("/proc/self/clear_refs").exists():
        return
    ours, theirs = (_run(ATTENTION.format(module=m)) for m in ("tinygrad_mha", "torch"))
    inputs = ours[2]
    for i, (what, results) in enumerate((("", 1 / 3), (", and backward", 5 / 3))):
        extra, others = (found[i] - results * inputs for found in (ours, theirs))
        yield Result(
            "P3", f"attention T = 8192, p = 64{what}: extra memory", threads, extra,
            torch=others, most=2 * inputs, unit="MB", limit=f"{extra / inputs:.2f} × the inputs",
        )  # fmt: skip


def start(quick: bool, threads: int) -> Iterator[Result]:
    """P7: a new process, with warm caches, to its first gradient; memory of the import."""
    best: dict[str, list[float]] = {}
    with _bytecode() as kept:
        for _ in range(3 if quick else 8):
            for module in ("tinygrad_mha", "torch"):
                found = _run(FIRST_GRADIENT.format(module=module), **kept)
                best[module] = [*map(min, zip(best.get(module, found), found, strict=True))]
    ours, theirs = best["tinygrad_mha"], best["torch"]
    name = "new process: import to first gradient"
    yield Result("P7", name, threads, ours[0], torch=theirs[0], aim=2.0)
    name = "new process: peak memory of the import"
    yield Result("P7", name, threads, ours[1], torch=theirs[1], aim=1.0, unit="MB")


def first_run(quick: bool, threads: int) -> Iterator[Result]:
    """P8: the first run ever: nothing compiled, to the first finished training step."""
    with _bytecode() as kept:
        for name, model in list(MODELS.items())[: 1 if quick else None]:
            with tempfile.TemporaryDirectory() as folder:
                code = FIRST_STEP.format(model=model.strip())
                seconds, worked, kernels = _run(code, NUMBA_CACHE_DIR=folder, **kept)
            yield Result(
                "P8", f"empty cache: to {name} first training step", threads, seconds, most=10.0,
                limit=f"{kernels:.0f} kernels compiled, {worked:.1f} s of processor time",
            )  # fmt: skip


class _Part(tm.nn.Module):
    """As many operations as one likes, as one module."""

    def __init__(self, operations: int) -> None:
        super().__init__()
        self.operations = operations

    def forward(self, x: Any) -> Any:
        for _ in range(self.operations // 2):
            x = (x * 0.5).tanh()
        return x


def _shortest(work: Work, times: int) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def pictures(quick: bool, threads: int) -> Iterator[Result]:
    """P9: traces and pictures of large graphs."""
    with tempfile.TemporaryDirectory() as folder:
        for operations, most in ((10_000, 3.0), (100_000, None))[: 1 if quick else 2]:
            model = tm.nn.Sequential(*(_Part(100) for _ in range(operations // 100)))
            out = model(tm.randn(4, requires_grad=True))
            file = Path(folder) / "graph.html"

            def draw(out: Any = out, model: Any = model, file: Path = file) -> None:
                tm.viz.trace(out, model=model).save(file)

            seconds = _shortest(draw, 2 if most else 1)
            yield Result(
                "P9", f"{operations} operations: trace, and an interactive page", threads, seconds,
                most=most, limit=f"a page of {file.stat().st_size / 2**20:.1f} MB",
            )  # fmt: skip
        mha = tm.nn.MultiHeadAttention(64, 8)
        out = mha(tm.randn(1, 8, 64))
        drawing = partial(draw, out, mha, Path(folder) / "heads.svg")
        yield Result(
            "P9", "a layer of 8 heads: trace, and an SVG", threads, _shortest(drawing, 3), most=1.0
        )  # fmt: skip
