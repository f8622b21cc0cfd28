"""Operations in place: compute, write the values into the old memory, rewrite the history.

An operation in place is its ordinary self followed by a write. The tensor keeps its memory
and gets the result's history. If it is a view, the tensor it is a view of gets a history too:
*it with the viewed part replaced*; and every other view of it is made anew when next looked at.

Squeezing or transposing in place (:func:`view_`) writes nothing: the tensor becomes a view.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .memory import touch
from .messages import not_a_tensor
from .modes import enable_grad, is_grad_enabled, thread
from .node import Node
from .op import REGISTRY
from .tensor import Tensor


def apply_(operation: Any, tensor: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Run an operation on a tensor and put the result in its place.

    Raises
    ------
    RuntimeError
        The tensor is a leaf that requires a gradient, or a view of one; or the result has
        another shape, or a dtype that does not go into the tensor's; or several elements of
        the tensor lie in one place of memory.
    """
    name = f"{getattr(operation, 'name', operation.__name__)}_"
    check_writable(tensor, name)
    if not is_grad_enabled():
        return write(tensor, operation(tensor, *args, **kwargs), name)
    # what the operation saves for its gradient must not be what is overwritten
    before = Tensor(tensor.data.copy(), tensor.requires_grad, tensor.grad_fn)
    same = {name: before if value is tensor else value for name, value in kwargs.items()}
    out = operation(before, *(before if a is tensor else a for a in args), **same)
    return write(tensor, out, name)


def check_writable(tensor: Tensor, name: str) -> None:
    """Refuse to write where autograd, or memory, does not allow it."""
    _check_no_leaf(tensor, name)
    array = tensor.data
    if array.size and any(
        stride == 0 and n > 1 for stride, n in zip(array.strides, array.shape, strict=True)
    ):
        raise RuntimeError(
            f"{name}: several elements of this tensor of shape {array.shape} lie in one place of "
            "memory, as expand() makes them; .clone() it first"
        )
    if not array.flags.writeable:
        raise RuntimeError(
            f"{name}: the memory of this tensor of shape {array.shape} is read-only, as its owner, "
            "NumPy or another framework, said; .clone() it first"
        )


def _check_no_leaf(tensor: Any, name: str) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: {not_a_tensor('what is written to', tensor)}")
    base = tensor if tensor._view is None else tensor._view.origin()
    if is_grad_enabled() and base.requires_grad and base.is_leaf:
        what = "" if base is tensor else " a view of"
        raise RuntimeError(
            f"{name}:{what} a leaf of shape {base.shape} that requires a gradient cannot be "
            "changed in place while operations are recorded; do it under tm.no_grad(), or on a "
            ".clone()"
        )


def view_(
    name: str, operation: Any, tensor: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    """Make a tensor the view of itself that an operation gives; no value is written.

    What it was lives on as the tensor that it, and every earlier view of it, is a view of.

    Raises
    ------
    RuntimeError
        The tensor is a leaf that requires a gradient, or a view of one.
    """
    _check_no_leaf(tensor, name)
    if tensor.requires_grad and tensor.is_leaf:  # under no_grad: a leaf it stays
        tensor.data = operation(tensor.data, *args, **kwargs)
        return tensor
    before = Tensor(tensor.data, tensor.requires_grad, tensor.grad_fn)
    before._view, before._epoch = tensor._view, tensor._epoch
    with enable_grad():  # the history must have the shape of the values
        out = operation(before, *args, **kwargs)
    if out is not before:
        tensor.data, tensor._view = out.data, out._view
        tensor._grad_fn, tensor._requires_grad = out._grad_fn, out._requires_grad
    return tensor


def write(tensor: Tensor, out: Tensor, name: str) -> Tensor:
    """Put a result into a tensor's memory, and its history into the tensor's."""
    if out.shape != tensor.shape:
        raise RuntimeError(
            f"{name}: the result has shape {out.shape}, which does not fit into the tensor's "
            f"{tensor.shape}"
        )
    whole = out.dtype.kind in "iu" and tensor.dtype.kind in "iu"  # which wraps, as in PyTorch
    if not whole and not np.can_cast(out.dtype, tensor.dtype, "same_kind"):
        raise RuntimeError(
            f"{name}: the result is {out.dtype} and cannot be kept in a {tensor.dtype} tensor; "
            "convert that first, or use the operation that returns a new tensor"
        )
    np.copyto(tensor.data, out.data, casting="unsafe" if whole else "same_kind")
    touch((tensor.data,))
    if is_grad_enabled():
        _rewrite(tensor, out)
    return tensor


def _rewrite(tensor: Tensor, out: Tensor) -> None:
    view = tensor._view
    if view is None:
        tensor._grad_fn, tensor._requires_grad = out.grad_fn, out.requires_grad
        tensor._epoch += 1
        return
    base = view.origin()
    if not (base.requires_grad or out.requires_grad):
        return
    # recorded by hand: the base has its new values already
    sources = [(t.grad_fn or t) if t.requires_grad else t.data for t in (base, out)]
    wanted = [i for i, t in enumerate((base, out)) if t.requires_grad]
    assign, params = REGISTRY["assign"], (view.steps,)
    saved = assign.save([base.data, out.data], params, base.data, ())
    base._grad_fn = Node(assign, sources, wanted, params, saved, base.data, thread.modes)
    base._requires_grad = True
    base._epoch += 1
    tensor.refresh()
