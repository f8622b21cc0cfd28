"""From the formula to the vector: matrix product, softmax and attention, step by step.

Each step is a function in steps/ that runs and is measured here, from the formula in plain Python
to what the kernels of this package do. docs/from-the-formula-to-the-vector.md tells the story; it
takes its code and its figures from here:

    python examples/from_the_formula_to_the_vector.py           # a short run, in the terminal
    python examples/from_the_formula_to_the_vector.py --write   # a longer one, into the page

Sizes are multiples of the tiles here, and numbers are float32; the package's own kernels take
all sizes, strides, masks and both types, and share the work among threads.
"""

from __future__ import annotations

import argparse
import inspect
import math
import platform
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
from steps import attention, matmul, softmax

import tinygrad_mha as tm
from tinygrad_mha import kernels
from tinygrad_mha.kernels.simd import LANES32 as LANES

# -- what is measured -----------------------------------------------------------------------------


@dataclass
class Step:
    """A step: what the table calls it, and its function.

    It writes into its last argument, or returns an array of its own.
    """

    title: str
    run: Callable[..., Any]
    slow: bool = False  # plain Python: small inputs only


def _own_attention(Q: np.ndarray, K: np.ndarray, V: np.ndarray, _: np.ndarray) -> np.ndarray:
    q, k, v = (tm.Tensor(x[None, None]) for x in (Q, K, V))
    with tm.no_grad():
        return tm.nn.functional.scaled_dot_product_attention(q, k, v).data[0, 0]


STEPS: dict[str, list[Step]] = {
    "matmul": [
        Step("1. the formula, in Python", matmul.matmul_formula, slow=True),
        Step("2. the same, compiled", matmul.matmul_compiled),
        Step("3. rows along rows, in blocks", matmul.matmul_blocked),
        Step("4. a tile in registers", matmul.matmul_tiled),
        Step("5. packed", matmul.matmul_packed),
        Step("the package's kernel", lambda A, B, C: kernels.matmul(A, B)),
    ],
    "softmax": [
        Step("1. the formula, in Python", softmax.softmax_formula, slow=True),
        Step("2. the same, compiled", softmax.softmax_compiled),
        Step("3. online: maximum and sum in one pass", softmax.softmax_online),
        Step("4. three passes, in vectors", softmax.softmax_vectors),
        Step("5. online, in vectors", softmax.softmax_online_vectors),
        Step("the package's kernel", lambda X, Y: kernels.softmax(X)),
    ],
    "attention": [
        Step("1. the formula: all weights in memory", attention.attention_formula),
        Step("2. online: one key after the other", attention.attention_online),
        Step("3. blocks, tiles and vectors: fused", attention.attention_blocks),
        Step("the package's kernel", _own_attention),
    ],
}
#: Sizes of the short run, and of the one for the page.
SIZES: dict[str, tuple[list[int], list[int]]] = {
    "matmul": ([192], [192, 768, 1536]),
    "softmax": ([1024], [1024, 16384]),
    "attention": ([384], [768, 1536]),
}
SLOW_SIZE = {"matmul": 48, "softmax": 64, "attention": 64}


def inputs(subject: str, size: int) -> list[np.ndarray]:
    """Random inputs, and room for the result."""
    shapes = {
        "matmul": 3 * [(size, size)],
        "softmax": 2 * [(256, size)],
        "attention": 4 * [(size, 64)],
    }[subject]
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def truth(subject: str, arrays: list[np.ndarray]) -> np.ndarray:
    """The same in float64."""
    first, *more = (a.astype(np.float64) for a in arrays[:-1])
    if subject == "matmul":
        return first @ more[0]
    scores = first @ more[0].T / math.sqrt(first.shape[1]) if more else first
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return weights @ more[1] if more else weights


def work(subject: str, arrays: list[np.ndarray]) -> float:
    """Operations of a product, numbers of a softmax."""
    first = arrays[0]
    if subject == "matmul":
        return 2.0 * first.size * arrays[1].shape[1]
    return 4.0 * first.size * len(first) if subject == "attention" else float(first.size)


def shortest(run: Callable[[], Any], seconds: float) -> float:
    """The shortest of several runs, in the processor time of this thread."""
    run()  # compiles
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end or best == math.inf:
        start = time.thread_time()
        run()
        best = min(best, time.thread_time() - start)
    return best


def result(step: Step, arrays: list[np.ndarray]) -> np.ndarray:
    """What a step computes."""
    made = step.run(*arrays)
    return arrays[-1] if made is None else made


@dataclass
class Found:
    """What a step took for an input of a size, and how far it was from the truth."""

    title: str
    size: int
    seconds: float
    rate: float  # operations or numbers a second
    error: float


def measure(subject: str, step: Step, size: int, seconds: float) -> Found:
    """Run a step often enough; compare with float64."""
    arrays = inputs(subject, SLOW_SIZE[subject] if step.slow else size)
    found = shortest(partial(step.run, *arrays), seconds)
    exact, values = truth(subject, arrays), result(step, arrays)
    error = float(np.sqrt(((values - exact) ** 2).mean() / (exact**2).mean()))
    return Found(step.title, len(arrays[0]), found, work(subject, arrays) / found, error)


def peak() -> float:
    """Operations a second that the multiply-add units can do; each lane counts for two."""
    times = 200_000
    run = partial(matmul.multiply_add, np.full(1, 1e-3, np.float32), times)
    return times * 24 * LANES * 2 / shortest(run, 0.3)


def copying(size: int) -> float:
    """Numbers a second that a copy of a softmax's input moves."""
    source, target = inputs("softmax", size)
    return source.size / shortest(partial(np.copyto, target, source), 0.2)


Results = dict[str, dict[int, list[Found]]]


def run_all(long: bool) -> Results:
    """Measure every step at every size."""
    return {
        subject: {
            size: [measure(subject, step, size, 0.5 if long else 0.02) for step in steps]
            for size in SIZES[subject][long]
        }
        for subject, steps in STEPS.items()
    }


# -- the page -----------------------------------------------------------------------------------


def table(subject: str, by_size: dict[int, list[Found]], limit: float) -> Iterator[str]:
    """A table in Markdown: a line for each step, a pair of columns for each size."""
    softmax = subject == "softmax"
    letter = {"matmul": "n", "softmax": "n", "attention": "T"}[subject]
    cells = [f"{letter} = {size}: {'ns a number' if softmax else 'GFLOP/s'} | "
             + ("copies" if softmax else "of the peak") for size in by_size]  # fmt: skip
    yield "| step | " + " | ".join(cells) + " | error |"
    yield "|---|" + "--:|--:|" * len(by_size) + "--:|"
    for i, step in enumerate(STEPS[subject]):
        line = [step.title]
        for size, found in by_size.items():
            rate = found[i].rate
            if softmax:
                line += [f"{1e9 / rate:.3g}", f"{copying(size) / rate:.3g}"]
            else:
                line += [f"{rate / 1e9:.3g}", f"{100 * rate / limit:.2g} %"]
        yield "| " + " | ".join(line) + f" | {max(f[i].error for f in by_size.values()):.1e} |"


COLORS = {
    "light": {"text": "#24292f", "steps": "#54aeff", "own": "#0969da", "limit": "#6e7781"},
    "dark": {"text": "#e6edf3", "steps": "#1f6feb", "own": "#58a6ff", "limit": "#8b949e"},
}


def plot(results: Results, limit: float, path: Path, theme: str) -> None:
    """Draw the steps as bars on a logarithmic axis, one panel for each subject."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    c = COLORS[theme]
    settings = {
        "svg.fonttype": "none", "svg.hashsalt": "steps", "font.family": "sans-serif",
        "text.color": c["text"], "axes.labelcolor": c["text"], "axes.edgecolor": c["limit"],
        "xtick.color": c["text"], "ytick.color": c["text"], "axes.spines.top": False,
        "axes.spines.right": False,
    }  # fmt: skip
    with mpl.rc_context(settings):
        heights = [len(steps) for steps in STEPS.values()]
        figure, panels = plt.subplots(
            len(results), 1, figsize=(8, 6), layout="constrained", height_ratios=heights
        )
        for axes, (subject, by_size) in zip(panels, results.items(), strict=True):
            size = list(by_size)[-1] if subject != "softmax" else next(iter(by_size))
            rates = [f.rate / 1e9 for f in by_size[size]]
            names = [f.title for f in by_size[size]]
            colors = [c["own"] if name == names[-1] else c["steps"] for name in names]
            axes.barh(names, rates, color=colors, height=0.7)
            for y, rate in enumerate(rates):
                axes.annotate(f"{rate:.2g}", (rate, y), (4, 0), textcoords="offset points",
                              va="center", fontsize=9)  # fmt: skip
            top = copying(size) / 1e9 if subject == "softmax" else limit / 1e9
            axes.axvline(top, color=c["limit"], linestyle="--", linewidth=1)
            axes.set_xscale("log")
            axes.set_xlim(min(rates) / 3, top * 2)
            axes.invert_yaxis()
            unit = "10⁹ numbers/s; dashed: a copy" if subject == "softmax" else (
                "GFLOP/s; dashed: the multiply-add units")  # fmt: skip
            letter = "T" if subject == "attention" else "n"
            axes.set_title(f"{subject}, {letter} = {size}, {unit}", loc="left", fontsize=10)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


def machine() -> str:
    """The processor and the versions."""
    file = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", file.read_text("utf-8")) if file.exists() else []
    return (
        f"{(names or [platform.machine()])[0]}, one core, vectors of {LANES * 32} bits; Python "
        f"{platform.python_version()}, numba {numba.__version__}, numpy {np.__version__}"
    )


def source(name: str) -> str:
    """A function of the steps as a block of code."""
    found = next(vars(m)[name] for m in (matmul, softmax, attention) if name in vars(m))
    lines = inspect.getsource(getattr(found, "py_func", found)).strip()
    return f"```python\n{lines}\n```"


def filled(page: str, parts: dict[str, str]) -> str:
    """A page with what stands between its markers made anew: code always, figures if given."""

    def replace(match: re.Match[str]) -> str:
        kind, name, before = match.groups()
        text = source(name) if kind == "code" else parts.get(name, before)
        return f"<!-- {kind}: {name} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- (code|figures): (\w+) -->\n(.*?)\n<!-- end -->", replace, page, flags=re.S)


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="a longer run, into the page")
    options = parser.parse_args()
    kernels.set_num_threads(1)
    limit = peak()
    print(f"{machine()}\nThe multiply-add units reach {limit / 1e9:.0f} GFLOP/s\n")
    results = run_all(options.write)
    parts = {name: "\n".join(table(name, found, limit)) for name, found in results.items()}
    for name, text in parts.items():
        print(f"{name}\n{text}\n")
    if options.write:
        docs = Path(__file__).parents[1] / "docs"
        page = docs / "from-the-formula-to-the-vector.md"
        parts["machine"] = (
            f"Measured on: {machine()}. Its multiply-add units reach {limit / 1e9:.0f} GFLOP/s."
        )
        page.write_text(filled(page.read_text(encoding="utf-8"), parts), encoding="utf-8")
        for theme in COLORS:
            plot(results, limit, docs / "images" / f"steps-{theme}.svg", theme)


if __name__ == "__main__":
    main()
