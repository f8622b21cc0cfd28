"""Print what a user would call beside NumPy and PyTorch; with --write, as a page of the docs.

Each number of threads gets a process of its own, because NumPy's BLAS reads how many it may
use when it starts. A ratio above 1 means that this project is faster than the best of the
others; bold lines miss their aim.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

import tinygrad_mha as tm

from . import kernels, limits, models, processes, report
from .rows import Result, Row, cores, measure

ROOT = Path(__file__).parents[2]
ROWS = (
    (("P1",), kernels.products),
    (("P2",), kernels.softmaxes),
    (("P3",), kernels.attentions),
    (("P4",), models.layers),
    (("P5", "P6"), models.training),
)
#: What does not depend on the number of threads, or is as the user finds it.
ONCE = (
    (("P3",), processes.memory),
    (("P7",), processes.start),
    (("P8",), processes.first_run),
    (("P9",), processes.pictures),
)


def _results(options: argparse.Namespace, peak: float) -> Iterator[Result]:
    """Measure what was asked for, in this process."""
    only, (threads,) = options.only, options.threads
    for names, section in ROWS:
        rows: Iterator[Row] = section(options.quick, threads)
        for row in rows if not only or set(names) & set(only) else ():
            if not only or row.section in only:
                yield measure(row, threads, 0.3 if options.quick else 1.5, peak)
    for names, once in ONCE if options.once else ():
        if not only or set(names) & set(only):
            yield from once(options.quick, threads)


def _measure(options: argparse.Namespace) -> None:
    """Be the process of one number of threads: print its table, and leave its results."""
    (threads,) = options.threads
    tm.set_num_threads(threads)
    torch.set_num_threads(threads)
    peak = limits.peak(threads)
    print(f"\n{threads} thread(s); the multiply-add units reach {peak / 1e9:.0f} GFLOP/s\n")
    print(report.HEADER + "\n" + report.RULE, flush=True)
    results: list[Result] = []
    for result in _results(options, peak):
        results.append(result)
        print(report.line(result), flush=True)
    for section in sorted({r.section for r in results}):
        average = report.mean(r for r in results if r.section == section)
        if average is not None:
            print(f"| *{section}: geometric mean* | {threads} | | | | {average:.2f} | | | |")
    found = {"peak": peak, "results": [asdict(r) for r in results]}
    options.leave.write_text(json.dumps(found), encoding="utf-8")


def _processes(options: argparse.Namespace) -> tuple[list[Result], dict[int, float]]:
    """Start a process for each number of threads; gather what they leave."""
    results: list[Result] = []
    peaks: dict[int, float] = {}
    # an old choice of BLAS kernels, where one is set, slows NumPy down
    drop = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    inherited = {k: v for k, v in os.environ.items() if k not in drop}
    for i, threads in enumerate(options.threads):
        with tempfile.TemporaryDirectory() as folder:
            leave = Path(folder) / "results.json"
            command = [sys.executable, "-m", "tests.benchmarks", "--threads", str(threads)]
            command += ["--leave", str(leave)] + ["--quick"] * options.quick + ["--once"] * (i == 0)
            command += ["--only", *options.only] if options.only else []
            environment = {"OPENBLAS_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
            subprocess.run(command, cwd=ROOT, check=True, env={**inherited, **environment})
            found = json.loads(leave.read_text(encoding="utf-8"))
        peaks[threads] = found["peak"]
        results += [Result(**r) for r in found["results"]]
    return results, peaks


def _write(results: list[Result], peaks: dict[int, float], load: float) -> None:
    """Write the page and its pictures."""
    names = [f"images/benchmarks-{theme}.svg" for theme in report.THEMES]
    for theme, name in zip(report.THEMES, names, strict=True):
        report.plot(results, peaks, ROOT / "docs" / name, theme)
    page = ROOT / "docs" / "benchmarks.md"
    page.write_text(report.page(results, peaks, names, load), encoding="utf-8")
    print(f"\nwritten: {page}, and {', '.join(names)}")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes, shorter")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2][: cores()])
    parser.add_argument("--only", nargs="+", choices=report.SECTIONS, default=[])
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md too")
    parser.add_argument("--leave", type=Path, help=argparse.SUPPRESS)  # be one of the processes
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.leave:
        _measure(options)
        return
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(report.busy(load))
    results, peaks = _processes(options)
    if options.write:
        _write(results, peaks, load)


if __name__ == "__main__":
    main()
