"""Kernels compiled ahead, by another process, while this one goes on.

Compiling takes seconds, once per machine, and threads that compile wait for each other. Processes
do not; and what one of them has compiled reaches the other by the cache on disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import dispatch, reference
from .backend import backend

_lock = threading.Lock()
_helper: subprocess.Popen[str] | None = None
_waiting: set[str] = set()

_CODE = "import sys; from tinygrad_mha.kernels import ready; ready.compile_now(sys.argv[1:])"


def prepare(*names: str) -> None:
    """Compile kernels in a process of their own, if none has been compiled on this machine yet.

    Who needs one of them meanwhile waits for that one. Where kernels cannot be kept on disk, or
    there is one core only, nothing happens: they are compiled when they are needed.

    Parameters
    ----------
    *names : str
        Of kernels, as :func:`on_compile` tells them; for float32.

    Raises
    ------
    ValueError
        There is no such kernel.

    Examples
    --------
    >>> from tinygrad_mha import kernels
    >>> kernels.prepare("attention", "attention_backward")
    """
    global _helper
    if backend() == "numpy" or dispatch.load() is reference:
        return
    from . import jit, ready

    if unknown := set(names) - ready.names():
        raise ValueError(f"prepare: no kernel {sorted(unknown)}, only {sorted(ready.names())}")
    folder = jit.usable_folder()
    if folder is None or (os.cpu_count() or 1) < 2 or any(folder.rglob("*.nbi")):
        return
    root = str(Path(__file__).parents[2])
    found = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with _lock:
        if _helper is None:
            _waiting.update(names)
            _helper = subprocess.Popen(
                [sys.executable, "-c", _CODE, *names],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": found},
            )


def wait_for(name: str) -> None:
    """Wait until the other process has compiled a kernel, if it is to do so."""
    if name not in _waiting:
        return
    from . import jit

    with _lock:
        if name not in _waiting or _helper is None or _helper.stdout is None:
            return
        start = time.perf_counter()
        jit.tell(name, "start", 0.0)
        while name in _waiting:
            line = _helper.stdout.readline()
            if not line:  # it has ended; what it did not get done is compiled here
                _waiting.clear()
            _waiting.discard(line.strip())
        jit.tell(name, "done", time.perf_counter() - start)
