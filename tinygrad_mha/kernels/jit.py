"""How kernels are compiled, cached on disk, and announced while that happens.

There is no ``fastmath``: masks are made of infinities and results may be nan, and a
compiler that may reorder sums would remove the very additions by which :mod:`.functions`
rounds. Multiplications and additions are fused where a kernel says so.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import config, event, types
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys

from . import door

Listener = Callable[[str, str, float], object]
_listeners: list[Listener] = []


@contextlib.contextmanager
def on_compile(listener: Listener) -> Iterator[None]:
    """Call `listener` when a kernel is compiled, which happens once per machine.

    Parameters
    ----------
    listener : callable
        Called with the kernel's name, "start" or "done", and the seconds it took.

    Examples
    --------
    >>> from tinygrad_mha import kernels
    >>> with kernels.on_compile(lambda kernel, state, seconds: None):
    ...     pass
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class _Announcer(event.Listener):  # type: ignore[misc]
    """Pass numba's compile events on, those of whole kernels only."""

    def __init__(self) -> None:
        self._depth, self._began = 0, 0.0

    def on_start(self, occurrence: Any) -> None:
        self._depth += 1
        if self._depth == 1:
            self._began = time.perf_counter()
            self._tell(occurrence, "start", 0.0)

    def on_end(self, occurrence: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._tell(occurrence, "done", time.perf_counter() - self._began)

    @staticmethod
    def _tell(occurrence: Any, state: str, seconds: float) -> None:
        tell(name_of(occurrence.data["dispatcher"]), state, seconds)


def name_of(dispatcher: Any) -> str:
    """Return what a kernel is called."""
    name: str = dispatcher.py_func.__name__
    return name.strip("_")


def tell(name: str, state: str, seconds: float) -> None:
    """Tell the listeners that a kernel is being compiled, or is compiled."""
    for listener in [*_listeners]:  # one may leave when it is told
        listener(name, state, seconds)


event.register("numba:compile", _Announcer())


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache on disk; a damaged file cannot stop it, and it does not load the compiler."""

    uses: tuple[Any, ...] = ()  # what has to be there before machine code that calls it is loaded

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        for part in self.uses:
            part.provide(sig[0].dtype)
        try:
            # not super().load_overload: it would first import all that numba knows how to compile,
            # half of the time to a first result. Machine code needs memory management alone
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)
        except Exception:  # cut short, or written by something else: as good as not there
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        # a full disk or a folder that became read-only costs the next start, not this one
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def cache_folder() -> Path:
    """Where compiled kernels are kept: private to the user, one per version of their sources.

    Numba looks only at the file of the kernel itself to see whether a cached version is
    stale. The name of this folder holds what it does not look at: the other files of this
    room, its own version, the processor, and whether bounds are checked. It lies in
    ``NUMBA_CACHE_DIR`` if that is set, else in ``XDG_CACHE_HOME`` or ``~/.cache``.
    """
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    options = (config.CPU_NAME, config.CPU_FEATURES, config.BOUNDSCHECK)
    digest.update(f"{numba.__version__} {np.__version__} {options}".encode())
    home = (
        os.environ.get("NUMBA_CACHE_DIR")
        or os.environ.get("XDG_CACHE_HOME")
        or os.path.join(os.path.expanduser("~"), ".cache")
    )
    return Path(home) / "tinygrad_mha" / digest.hexdigest()[:16]


_folder: Path | None = None
_warned = False


def _usable_folder() -> Path:
    """Make the folder, once, and make sure that nobody else can put files into it."""
    global _folder
    if _folder is None:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is not writable")
        if os.name == "posix":  # what lies in it will be run
            state = folder.stat()
            if state.st_uid != os.getuid() or state.st_mode & 0o022:
                raise PermissionError(f"{folder} belongs to, or can be written to by, another user")
        _folder = folder
    return _folder


def usable_folder() -> Path | None:
    """Return where kernels are kept; None where they cannot be."""
    try:
        return _usable_folder()
    except (OSError, RuntimeError):
        return None


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, and keep the result on disk; a decorator."""
    return kernel_with()(function)


def kernel_with(
    *uses: Callable[..., None], nogil: bool = False, **made: tuple[tuple[str, int], ...]
) -> Callable[[Callable[..., Any]], Any]:
    """Make a :func:`kernel`; a decorator.

    Parameters
    ----------
    *uses : callable
        Functions that it calls and that are :func:`.shared`.
    nogil : bool, default False
        Give the interpreter lock away even if there are few numbers, as there is much to do with
        each.
    **made : tuple of (str, int)
        A parameter that is written, and for each of its axes the parameter and axis that are as
        long: it has a :mod:`.door` that makes that array and returns it.
    """
    return partial(
        stored, uses=uses, no_cpython_wrapper=True, pipeline_class=door.compiler(made, nogil)
    )


class _Unopened(CPUDispatcher):  # type: ignore[misc]
    """Code without numba's way in: a kernel is called through its :mod:`.door`."""

    def __call__(self, *arguments: Any) -> Any:
        raise TypeError(f"{name_of(self)} is called through kernels.ready.kernel_for")


def stored(
    function: Callable[..., Any], uses: tuple[Callable[..., None], ...] = (), **options: Any
) -> Any:
    """Compile a function when it is wanted, and keep the result on disk."""
    global _warned
    dispatcher = numba.njit(error_model="numpy", **options)(function)
    if options.get("no_cpython_wrapper"):
        dispatcher.__class__ = _Unopened
    before = config.CACHE_DIR
    try:
        config.CACHE_DIR = str(_usable_folder())
        dispatcher._cache = _Cache(function)
        dispatcher._cache.uses = uses
    except (OSError, RuntimeError) as error:
        if not _warned:
            _warned = True
            warnings.warn(
                f"tinygrad_mha: compiled kernels cannot be kept ({error}); each new process "
                "compiles them again, some seconds each time. Set NUMBA_CACHE_DIR, or else "
                "XDG_CACHE_HOME, to a folder that only you can write to",
                RuntimeWarning,
                stacklevel=2,
            )
    finally:
        config.CACHE_DIR = before
    return dispatcher


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """What is only ever part of kernels: it has no machine code of its own, which nobody would run.

    Numba would optimize and translate each function, then once more those that call it, which
    took as long as all the rest of compiling.
    """

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        """Leave it to the kernel, which optimizes all of its parts together."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0  # nowhere

    @property
    def codegen(self) -> Any:
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing: an environment is what Python objects are taken from."""


class _PartCompiler(Compiler):  # type: ignore[misc]
    """Numba's compiler, into a :class:`_Part`."""

    def define_pipelines(self) -> Any:
        name = self.state.func_id.func_qualname
        self.state.library = _Part(self.state.targetctx.codegen(), name)
        return super().define_pipelines()


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Collect no garbage: of all that a compiler makes there is little, and looking takes long."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function as part of the kernels that call it; a decorator."""
    return numba.njit(
        error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True,
        pipeline_class=_PartCompiler,
    )(function)  # fmt: skip


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into the middle of those that call it; a decorator.

    It may take compiled functions as arguments. In a call proper, those would be addresses of
    this process, and nothing that holds one can be kept on disk.
    """
    return numba.njit(
        error_model="numpy", forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True,
        pipeline_class=_PartCompiler,
    )(function)  # fmt: skip


def source(dtype: Any, ndim: int) -> types.Array:
    """Return the type of arrays that are read: any strides, writable or not.

    A kernel compiled for it takes every array of this dtype and number of dimensions; left
    alone, numba would compile once more for each layout and each read-only flag.
    """
    return types.Array(dtype, ndim, "A", readonly=True)


def target(dtype: Any, ndim: int) -> types.Array:
    """Return the type of arrays that are written: consecutive in memory."""
    return types.Array(dtype, ndim, "C")
