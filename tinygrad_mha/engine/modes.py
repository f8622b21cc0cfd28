"""The switches of the engine, each per thread: recording, origins, the module in progress."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from .node import Frame


class Modes:
    """The switches of one thread, as each new one finds them.

    Attributes
    ----------
    grad_enabled : bool
        Whether operations record a graph.
    record_origin, anomaly : bool
        See the context managers of these names.
    frame : Frame or None
        The module call in progress.
    """

    __slots__ = ("anomaly", "frame", "grad_enabled", "record_origin")

    def __init__(self) -> None:
        self.grad_enabled = True
        self.record_origin = False
        self.anomaly = False
        self.frame: Frame | None = None


class _Thread(threading.local):
    def __init__(self) -> None:
        self.modes = Modes()


#: ``thread.modes`` are those of the thread that asks. To ask costs as much as a small
#: addition of arrays takes, so whoever needs several of them asks once.
thread = _Thread()


def is_grad_enabled() -> bool:
    """Whether operations in this thread record a graph.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> with tm.no_grad():
    ...     tm.is_grad_enabled()
    False
    """
    return thread.modes.grad_enabled


class _Switch(contextlib.ContextDecorator):
    """Set one attribute of the thread's state for the length of a block."""

    attribute: str
    value: bool

    def __init__(self) -> None:
        # a stack: one instance may be entered again inside itself, as a decorator is
        self._before: list[bool] = []

    def __enter__(self) -> Self:
        modes = thread.modes
        self._before.append(getattr(modes, self.attribute))
        setattr(modes, self.attribute, self.value)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        setattr(thread.modes, self.attribute, self._before.pop())


class no_grad(_Switch):
    """Context manager and decorator: what runs inside records no graph.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> w = tm.tensor([1.0, 2.0], requires_grad=True)
    >>> with tm.no_grad():
    ...     (w * 3).requires_grad
    False
    """

    attribute, value = "grad_enabled", False


class inference_mode(no_grad):
    """:class:`no_grad` under PyTorch's other name; here the two are one.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> w = tm.tensor([1.0, 2.0], requires_grad=True)
    >>> with tm.inference_mode():
    ...     (w * 3).requires_grad
    False
    """


class enable_grad(_Switch):
    """Context manager and decorator: record again inside a :class:`no_grad`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> w = tm.tensor([1.0, 2.0], requires_grad=True)
    >>> with tm.no_grad(), tm.enable_grad():
    ...     (w * 3).requires_grad
    True
    """

    attribute, value = "grad_enabled", True


class set_grad_enabled(_Switch):
    """Context manager and decorator: record, or not, as `mode` says.

    Parameters
    ----------
    mode : bool
        True records, False does not.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> w = tm.tensor([1.0], requires_grad=True)
    >>> with tm.set_grad_enabled(False):
    ...     (w * 3).requires_grad
    False
    """

    attribute = "grad_enabled"

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.value = bool(mode)


class record_origin(_Switch):
    """Context manager and decorator: each node made inside remembers its file and line.

    It costs a walk up the Python stack per operation, so it is off unless asked for.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> w = tm.tensor([1.0], requires_grad=True)
    >>> with tm.autograd.record_origin():
    ...     y = w * 3
    >>> file, line = y.grad_fn.origin
    """

    attribute, value = "record_origin", True


class detect_anomaly(_Switch):
    """Context manager and decorator: find where a gradient goes wrong.

    Put the forward and the backward inside. The backward then stops at the first
    operation whose gradient has a nan, and says which it is and on which line of yours it
    ran; and at an operation whose saved values were changed in the meantime, also through
    a NumPy array that shares their memory. All of this costs time.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([0.0, 1.0], requires_grad=True)
    >>> with tm.autograd.detect_anomaly():
    ...     try:
    ...         (tm.sqrt(x) * 0.0).sum().backward()
    ...     except RuntimeError as error:
    ...         print(str(error).split(";")[0])
    sqrt: the gradient of its input 'x' has a nan
    """

    attribute, value = "anomaly", True

    def __enter__(self) -> Self:
        modes = thread.modes
        self._before.append(modes.record_origin)
        modes.record_origin = True
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        thread.modes.record_origin = self._before.pop()
