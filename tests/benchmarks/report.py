"""What was measured, as tables and as a plot."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Result, cores

#: Each section, and what we want of it.
SECTIONS = {
    "P1": ("Matrix products", "geometric mean ≥ 1.05 × the best of both, none below 0.95"),
    "P2": ("Softmax over the last axis", "≥ 2 × PyTorch; out of the cache ≤ 1.4 × a copy"),
    "P3": ("Fused attention, 8 heads", "≥ 1.15 × PyTorch forward, ≥ 1.2 × with backward; "
           "extra memory at T = 8192 below twice the inputs"),
    "P4": ("Multi-head attention layers, forward and backward",
           "≥ 3 × PyTorch at the smallest, ≥ 1.5 × in the middle, ≥ 1.2 × at the largest"),
    "P5": ("A training step of a small perceptron, AdamW", "≥ 6 × and ≥ 3 × PyTorch"),
    "P6": ("A training step of a small language model, AdamW", "≥ 3 × and ≥ 1.3 × PyTorch"),
    "P7": ("Start of a process, caches warm", "≤ half of PyTorch's time"),
    "P8": ("The first run ever, nothing compiled", "≤ 10 s"),
    "P9": ("Large graphs, drawn", "10 000 operations ≤ 3 s; a layer of 8 heads ≤ 1 s"),
}  # fmt: skip
HEADER = "| work | threads | ours | NumPy | PyTorch | ratio | aim | of the limit | error |"
RULE = "|---|--:|--:|--:|--:|--:|--:|---|---|"


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit != "s":
        return f"{value:.0f} {unit}"
    for factor, name in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or name == "µs":
            return f"{value * factor:.3g} {name}" if value * factor < 1000 else f"{value:.0f} s"
    return ""


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + "s" * (n != 1)


def line(r: Result) -> str:
    """A result as a line of the table; bold where the aim was missed."""
    ratio = "" if r.ratio is None else f"{r.ratio:.2f}"
    aim = f"≥ {r.aim:g}" if r.aim else ""
    aim = f"≤ {_amount(r.most, r.unit)}" if r.most else aim
    mark = "**" if r.reached < 1 else ""
    return (
        f"| {mark}{r.name}{mark} | {r.threads} | {_amount(r.ours, r.unit)} "
        f"| {_amount(r.numpy, r.unit)} | {_amount(r.torch, r.unit)} | {ratio} | {aim} "
        f"| {r.limit} | {r.error} |"
    )


def mean(results: Iterable[Result]) -> float | None:
    """The geometric mean of the ratios of times."""
    ratios = [r.ratio for r in results if r.ratio and r.unit == "s"]
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> str:
    """The processor and the versions, in a sentence."""
    from tinygrad_mha.kernels.simd import REGISTER_BYTES

    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch", "numba"))
    return (
        f"{_processor()}, {_count(cores(), 'core')}, vectors of {REGISTER_BYTES * 8} bits; "
        f"Python {platform.python_version()}, {versions}"
    )


def busy(load: float) -> str:
    """Say so where other programs ran before the measurement began, else nothing."""
    if load < 0.5:
        return ""
    return (
        f"Other programs ran meanwhile (load {load:.1f}): figures of several threads, and of "
        "whole processes, say little."
    )


def page(
    results: list[Result], peaks: dict[int, float], pictures: list[str], load: float = 0.0
) -> str:
    """The page of the documentation."""
    limit = ", ".join(f"{p / 1e9:.0f} GFLOP/s with {_count(t, 'thread')}" for t, p in peaks.items())
    light, dark = pictures
    parts = [
        "# Benchmarks\n",
        "What a user would call, beside NumPy and PyTorch, in float32, Python's overhead included. "
        "All of it comes from one run of one command, which also wrote this page:\n",
        "```sh\npython -m tests.benchmarks --write\n```\n",
        f"Measured on: {machine()}. {busy(load)}".rstrip() + "\n",
        "Works are timed in turns, and the shortest time of each counts: with one thread "
        "its processor time, which other "
        "processes disturb least, with several the time on the wall. A *ratio* above 1 means "
        "that this project is faster than the best of the others. The *limit* is what the machine "
        f"can do: its multiply-add units from registers ({limit}), or a copy of as many "
        "numbers. *Error* is the root of the mean squared deviation from the same in float64, "
        "relative to it: ours / PyTorch's. **Bold** lines miss their aim.\n",
        f"<picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"{dark}\">\n"
        f"  <img alt=\"Ratios of all works, and the speed of matrix products by size\" "
        f"src=\"{light}\">\n</picture>\n",
        "## In short\n",
        "| | what | aim | threads | geometric mean | least | lines that miss |\n"
        "|---|---|---|--:|--:|--:|--:|",
    ]  # fmt: skip
    ordered = sorted(results, key=lambda r: (r.section, r.threads))
    for (section, threads), group in groupby(ordered, key=lambda r: (r.section, r.threads)):
        found = list(group)
        average, missed = mean(found), sum(r.reached < 1 for r in found)
        ratios = [r.ratio for r in found if r.ratio and r.unit == "s"]
        parts.append(
            f"| {section} | {SECTIONS[section][0]} | {SECTIONS[section][1]} | {threads} "
            f"| {'' if average is None else f'{average:.2f}'} "
            f"| {f'{min(ratios):.2f}' if ratios else ''} | {missed} of {len(found)} |"
        )
    misses = sorted((r for r in results if r.reached < 1), key=lambda r: r.reached)
    if misses:
        parts += ["\n## What misses its aim, furthest first\n", HEADER, RULE, *map(line, misses)]
    for section, group in groupby(ordered, key=lambda r: r.section):
        title, aim = SECTIONS[section]
        parts += [f"\n## {section}: {title}\n", f"Aim: {aim}.\n", HEADER, RULE, *map(line, group)]
    return "\n".join(parts) + "\n"


THEMES = {
    "light": {"text": "#24292f", "grid": "#d0d7de", "ours": "#0969da", "more": "#54aeff",
              "NumPy": "#bf8700", "PyTorch": "#cf222e", "limit": "#6e7781"},
    "dark": {"text": "#e6edf3", "grid": "#30363d", "ours": "#58a6ff", "more": "#1f6feb",
             "NumPy": "#e3b341", "PyTorch": "#ff7b72", "limit": "#8b949e"},
}  # fmt: skip


def plot(results: list[Result], peaks: dict[int, float], path: Path, theme: str) -> None:
    """Draw all ratios, and the speed of matrix products by size; text stays text."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    c = THEMES[theme]
    settings = {
        "svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.family": "sans-serif",
        "font.size": 10, "text.color": c["text"], "axes.labelcolor": c["text"],
        "axes.edgecolor": c["grid"], "xtick.color": c["text"], "ytick.color": c["text"],
        "axes.spines.top": False, "axes.spines.right": False, "grid.color": c["grid"],
    }  # fmt: skip
    with mpl.rc_context(settings):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
        _ratios(left, results, c)
        _products(right, results, peaks, c)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


def _ratios(axes: Any, results: list[Result], c: dict[str, str]) -> None:
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    timed = [r for r in results if r.ratio and r.unit == "s"]
    sections = sorted({r.section for r in timed})
    threads = sorted({r.threads for r in timed})
    for place, section in enumerate(sections):
        for i, count in enumerate(threads):
            found = [r for r in timed if (r.section, r.threads) == (section, count)]
            if not found:
                continue
            y = place + (i - (len(threads) - 1) / 2) * 0.3
            color = c["ours"] if i == 0 else c["more"]
            axes.plot([r.ratio for r in found], [y] * len(found), "o", color=color, alpha=0.45,
                      markersize=5, markeredgewidth=0)  # fmt: skip
            axes.plot([mean(found)] * 2, [y - 0.13, y + 0.13], color=color, linewidth=3)
    axes.axvline(1, color=c["limit"], linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(
        range(len(sections)), [f"{s}  {SECTIONS[s][0].split(',')[0]}" for s in sections]
    )
    axes.invert_yaxis()
    axes.grid(axis="x", linewidth=0.5)
    axes.set_xlabel("times faster than the best of NumPy and PyTorch")
    axes.set_title("All works: a dot each, bars are geometric means\n"
                   f"upper row of each: {threads[0]} thread"
                   + (f", lower: {threads[-1]}" if len(threads) > 1 else ""),
                   loc="left", fontsize=10)  # fmt: skip


def _products(axes: Any, results: list[Result], peaks: dict[int, float], c: dict[str, str]) -> None:
    one = min(peaks)
    found = [
        (int(r.name.split()[1]), r) for r in results
        if r.section == "P1" and r.threads == one and r.name.endswith("nn")
    ]  # fmt: skip
    sizes = [n for n, _ in found]
    for name, attribute in (("ours", "ours"), ("NumPy", "numpy"), ("PyTorch", "torch")):
        times = [getattr(r, attribute) for _, r in found]
        speeds = [2e-9 * n**3 / t if t else np.nan for n, t in zip(sizes, times, strict=True)]
        label = "tinygrad_mha" if name == "ours" else name
        axes.plot(sizes, speeds, "o-", color=c[name], markersize=4, label=label,
                  linewidth=2 if name == "ours" else 1.2)  # fmt: skip
    axes.axhline(peaks[one] / 1e9, color=c["limit"], linewidth=1, linestyle="--",
                 label="multiply-add units")  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", linewidth=0.5)
    axes.set_xlabel("n")
    axes.set_title(f"Product of two n × n matrices, {one} thread, GFLOP/s", loc="left", fontsize=10)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
