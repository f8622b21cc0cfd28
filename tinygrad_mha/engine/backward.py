"""How a gradient walks back: the reverse pass, written as steps.

Nodes are numbered as they are made, and an operation's inputs always exist
before it. So the node with the highest number among those that wait has
already received everything that will ever flow into it: taking nodes in falling
order is reverse-mode differentiation, without recursion, without a sort of the
whole graph beforehand, and in the same order every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from heapq import heappop, heappush
from typing import Any

import numpy as np

from . import memory
from .hooks import run
from .messages import describe
from .modes import enable_grad, no_grad, thread
from .node import Node, fingerprints
from .op import plain
from .step import Flow, Step
from .tensor import Tensor


def backward(
    tensors: Tensor | Sequence[Tensor],
    gradients: Tensor | Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradients of `tensors` to ``.grad`` of the leaves; see ``Tensor.backward``."""
    for _ in _walk(
        *_roots(tensors, gradients),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
    ):
        pass


Tensor._backward = staticmethod(backward)


def steps(
    tensors: Tensor | Sequence[Tensor],
    gradients: Tensor | Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> Iterator[Step]:
    """Run backward one node at a time.

    The gradients reach ``.grad`` as the iterator advances; what is not taken does not run.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        Where to start.
    gradients : Tensor or sequence of Tensor, optional
        What flows in; 1 for tensors with one element.
    retain_graph, create_graph : bool
        As in ``Tensor.backward``.

    Yields
    ------
    Step
        The node, what came in, which rule sent what where, and whether it met
        another contribution there.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor(2.0, requires_grad=True)
    >>> for step in tm.autograd.steps(x * x + x):
    ...     print(step.node.name, [(f.input, float(f.gradient), f.accumulated) for f in step.flows])
    add [('a', 1.0, False), ('b', 1.0, False)]
    mul [('a', 2.0, True), ('b', 2.0, True)]
    """
    return _walk(
        *_roots(tensors, gradients),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        watch=True,
    )


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return gradients instead of accumulating them.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        What is differentiated.
    inputs : Tensor or sequence of Tensor
        With respect to what; leaves or not.
    grad_outputs : Tensor or sequence of Tensor, optional
        What flows into `outputs`; 1 for tensors with one element.
    retain_graph : bool, optional
        Keep the saved values for another pass. Default: `create_graph`.
    create_graph : bool, default False
        Return gradients that can be differentiated again.
    allow_unused : bool, default False
        Return None for an input that `outputs` do not depend on, instead of raising.

    Returns
    -------
    tuple of Tensor or None
        One per input.

    Raises
    ------
    RuntimeError
        An input requires no gradient, or is unused and `allow_unused` is False.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor(2.0, requires_grad=True)
    >>> (first,) = tm.autograd.grad(x**3, x, create_graph=True)
    >>> (second,) = tm.autograd.grad(first, x)
    >>> first.item(), second.item()
    (12.0, 12.0)
    """
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, tensor in enumerate(wanted):
        if not tensor.requires_grad:
            raise RuntimeError(
                f"autograd.grad: inputs[{i}] of shape {tensor.shape} does not require a gradient"
            )
    captured: dict[Node | Tensor, Any] = {t.grad_fn or t: None for t in wanted}
    for _ in _walk(
        *_roots(outputs, grad_outputs),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        captured=captured,
    ):
        pass
    found = [captured[t.grad_fn or t] for t in wanted]
    for i, (tensor, gradient) in enumerate(zip(wanted, found, strict=True)):
        if gradient is None and not allow_unused:
            raise RuntimeError(
                f"autograd.grad: the outputs do not depend on inputs[{i}] of shape {tensor.shape}; "
                "allow_unused=True returns None for it"
            )
    return tuple(g if g is None or isinstance(g, Tensor) else Tensor(np.array(g)) for g in found)


def grad_above(
    outputs: list[Tensor],
    inputs: list[Tensor],
    seeds: list[Tensor],
    floor: int,
    create_graph: bool,
) -> list[Tensor | None]:
    """Gradients that do not pass through anything made before the clock showed `floor`."""
    captured: dict[Node | Tensor, Any] = {t.grad_fn or t: None for t in inputs}
    for _ in _walk(
        *_roots(outputs, seeds),
        retain_graph=create_graph,
        create_graph=create_graph,
        captured=captured,
        floor=floor,
    ):
        pass
    found = [captured[t.grad_fn or t] for t in inputs]
    return [g if g is None or isinstance(g, Tensor) else Tensor(g) for g in found]


def _roots(
    tensors: Tensor | Sequence[Tensor],
    gradients: Tensor | Sequence[Tensor | None] | None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Pair each starting tensor with what flows into it."""
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if gradients is None:
        given: list[Any] = [None] * len(roots)
    else:
        given = [gradients] if isinstance(gradients, Tensor) else list(gradients)
    if len(given) != len(roots):
        raise RuntimeError(f"backward: {len(roots)} tensors but {len(given)} gradients")
    seeds = []
    for root, seed in zip(roots, given, strict=True):
        if not root.requires_grad:
            raise RuntimeError(
                f"backward: the tensor of shape {root.shape} has no graph: nothing it was made of "
                "requires a gradient, or it was made under no_grad()"
            )
        if seed is None:
            if root.data.size != 1:
                raise RuntimeError(
                    f"backward: only a tensor with one element has an implicit gradient of 1; this "
                    f"one has shape {root.shape}: reduce it, for example with .sum(), or pass "
                    "gradient="
                )
            one = _one(root.data.dtype, root.data.ndim)
            # a hook may write into the gradient that it is given
            seed = Tensor(one.copy() if (root._grad_fn or root).hooks else one)
        elif not isinstance(seed, Tensor):
            seed = Tensor(np.asarray(seed, dtype=root.dtype))
        elif seed.data.dtype != root.data.dtype:
            seed = seed.astype(root.data.dtype)
        if seed.shape != root.shape:
            raise RuntimeError(
                f"backward: gradient has shape {seed.shape}, its tensor has shape {root.shape}"
            )
        seeds.append(seed)
    return roots, seeds


@cache
def _one(dtype: np.dtype[Any], ndim: int) -> np.ndarray:
    """Return the number 1 as an array, which nobody may write to: every loss begins with it."""
    one = np.ones((1,) * ndim, dtype)
    one.flags.writeable = False
    return one


def _walk(
    roots: list[Tensor],
    seeds: list[Tensor],
    *,
    retain_graph: bool,
    create_graph: bool,
    captured: dict[Node | Tensor, Any] | None = None,
    watch: bool = False,
    floor: int = -1,
) -> Iterator[Step]:
    """Walk back from `roots`; the one loop behind backward, grad and steps.

    `captured` is a dict to fill instead of ``.grad``. Nodes below `floor` are the end of the
    way; hooks there, and at leaves, wait for the walk that this one is a part of. Unless
    someone watches, nothing is yielded and the generator runs through in a single step.
    """
    waiting: list[tuple[int, Node]] = []
    arrived: dict[Node, Any] = {}
    on_path = None if captured is None else leading_to(captured, roots, floor)
    for root, seed in zip(roots, seeds, strict=True):
        value = seed if create_graph else seed.data
        start = root.grad_fn
        if start is None:  # backward of a leaf: its gradient is what flows in
            if captured is None:
                _accumulate(root, value, value)
            elif root in captured:
                before = captured[root]
                captured[root] = value if before is None else _sum(before, value)
        elif start in arrived:
            arrived[start] = _sum(arrived[start], value)
        elif on_path is None or start in on_path:
            arrived[start] = value
            heappush(waiting, (-start.sequence, start))
    held: dict[Tensor, Any] = {}  # gradients of leaves with hooks
    modes, index = thread.modes, 0
    while waiting:
        node = heappop(waiting)[1]
        dy = arrived.pop(node)
        if node.hooks and node.sequence >= floor:
            dy = _hooked(node.hooks, dy)
        wanted = node.wanted
        if captured is not None and on_path is not None:
            if node in captured:
                captured[node] = dy
            if node.sequence < floor:
                continue
            wanted = [i for i in wanted if node.inputs[i] in on_path]
            if not wanted:
                continue  # asked for itself, and nothing below it is
        op, saved = node.op, node.saved
        if saved is None:
            raise freed(node, "backward")
        if node.sequence < memory.last_write:
            check_unwritten(node, wanted, saved, "backward")
        if create_graph:
            with enable_grad():
                gradients = op.gradients(dy, wanted, as_tensors(node, saved), fused=False)
        else:
            gradients = op.gradients(dy, wanted, saved, fused=True)
        if modes.anomaly:
            _examine(node, wanted, saved, gradients)
        if not retain_graph and op.saves_values:
            node.saved = None
        flows: list[Flow] = []
        inputs = node.inputs
        for i, gradient in zip(wanted, gradients):  # noqa: B905  (one each, and this is the loop)
            target = inputs[i]
            like = target if type(target) is Node else target.data
            if (
                type(gradient) is not np.ndarray
                or gradient.dtype is not like.dtype
                or gradient.shape != like.shape
            ):
                gradient = fit(gradient, node, target)
            if like is target:  # a node
                met = target in arrived
                if met:
                    arrived[target] = _sum(arrived[target], gradient)
                else:
                    arrived[target] = gradient
                    heappush(waiting, (-target.sequence, target))
            elif target.hooks and floor < 0:
                # they see the whole gradient, so it waits until all is here
                met = target in held
                held[target] = _sum(held[target], gradient) if met else gradient
            elif captured is None:
                # whoever watches keeps the gradient as it was sent, before the next one is added
                met = _accumulate(target, gradient, gradient if watch else dy)
            else:
                before = captured[target]
                met = before is not None
                captured[target] = gradient if before is None else _sum(before, gradient)
            if watch:
                name, rule, _ = op.plan[0 if op.variadic else i]
                flows.append(Flow(name, rule, gradient, target, met))
        if watch:
            yield Step(index, node, dy, tuple(flows), node.saved is None)
            index += 1
    for leaf, gradient in held.items():
        whole = _hooked(leaf.hooks or {}, gradient)
        if captured is None:
            _accumulate(leaf, whole, whole)
        else:
            captured[leaf] = whole


def freed(node: Node, walk: str) -> RuntimeError:
    """Say that the values are gone that a walk, backward or forward, needs."""
    return RuntimeError(
        f"{walk}: the values that {node.name} {node.shape} saved for its gradient are freed; pass "
        "retain_graph=True to the first backward to go through it again"
    )


def check_unwritten(node: Node, wanted: list[int], saved: tuple[Any, ...], walk: str) -> None:
    """Refuse to use saved values that were changed in place after they were saved."""
    # those only that the rules of the wanted inputs take: x · 2 does not need x
    overwritten = memory.written_since(node.sequence, node.op.needed(wanted, saved))
    if overwritten is not None:
        raise RuntimeError(
            f"{walk}: {node.name} needs a value of shape {overwritten.shape} that it saved for "
            "its gradient, but an operation in place (one whose name ends in _, an assignment to "
            "x[…], or an optimizer's step) has changed it since; work on a .clone(), or use the "
            "operation that returns a new tensor"
            + ("" if node.origin is None else f"; it ran at {node.origin[0]}:{node.origin[1]}")
        )


def _hooked(hooks: dict[int, Any], gradient: Any) -> Any:
    """Pass a gradient through the user's hooks, which take tensors."""
    if isinstance(gradient, Tensor):
        return run(hooks, gradient)
    with no_grad():
        return run(hooks, Tensor(gradient)).data


def _examine(
    node: Node, wanted: list[int], saved: tuple[Any, ...], gradients: Sequence[Any]
) -> None:
    """In anomaly mode: look whether saved values changed, or gradients are nan."""
    made = "" if node.origin is None else f"; it ran at {node.origin[0]}:{node.origin[1]}"
    if node.fingerprints is not None and node.fingerprints != fingerprints(saved):
        raise RuntimeError(
            f"{node.op.name}: a value that it saved for its gradient was changed after it ran, in "
            f"place or through an array that shares its memory{made}"
        )
    for i, gradient in zip(wanted, gradients, strict=True):
        if np.isnan(plain(gradient)).any():
            name = node.op.plan[0 if node.op.variadic else i][0]
            raise RuntimeError(
                f"{node.op.name}: the gradient of its input {name!r} has a nan{made}"
            )


def fit(gradient: Any, node: Node, target: Node | Tensor) -> Any:
    """Undo broadcasting and promotion: a gradient has its input's shape and dtype."""
    if isinstance(gradient, Tensor):
        with enable_grad():
            return _fitted(gradient, node, target)
    return _fitted(np.asarray(gradient), node, target)


def _fitted(gradient: Any, node: Node, target: Node | Tensor) -> Any:
    if gradient.shape != target.shape and node.op.reduce is not None:
        gradient = node.op.reduce(gradient, target.shape)
    if gradient.shape != target.shape:
        raise RuntimeError(
            f"{node.op.name}: a gradient is {describe(gradient)}, its input has shape "
            f"{target.shape}"
        )
    return gradient if gradient.dtype == target.dtype else gradient.astype(target.dtype)


def _accumulate(leaf: Tensor, gradient: Any, held: Any) -> bool:
    """Add a gradient to a leaf's; returns whether there was one.

    A leaf's ``.grad`` shares memory with nothing: so what is `held` by somebody else, as the
    incoming gradient is, or is a view, is copied. Other arrays that rules give are their own.
    """
    if leaf._grad is None:
        if type(gradient) is np.ndarray:
            shared = gradient is held or gradient.base is not None
            leaf._grad = Tensor(gradient.copy() if shared else gradient)
            return False
        with enable_grad():
            shared = gradient.data is held.data or gradient.data.base is not None
            leaf._grad = gradient.clone() if shared else gradient
        return False
    if isinstance(gradient, Tensor):
        leaf._grad = _sum(leaf._grad, gradient)  # a new tensor: it has a graph of its own
    else:
        np.add(leaf._grad.data, gradient, out=leaf._grad.data)
    return True


def _sum(before: Any, more: Any) -> Any:
    """Add two gradients; tensors do so on the record, wherever backward was called from."""
    if isinstance(more, Tensor):
        with enable_grad():
            return before + more
    return before + more


def as_tensors(node: Node, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """Make tensors of saved arrays again, tied to the graph where they came from.

    An input gets back the node or leaf that it came from; the output gets this
    very node. So a rule run on them is differentiable through all of them.
    """
    op = node.op
    if op.variadic:
        sources: dict[str, Any] = {op.input_names[0]: tuple(node.inputs), "out": node}
    else:
        sources = {**dict(zip(op.input_names, node.inputs, strict=True)), "out": node}

    def lift(value: Any, source: Any) -> Any:
        if isinstance(source, tuple):
            return tuple(lift(v, s) for v, s in zip(value, source, strict=True))
        if isinstance(source, Node):
            return Tensor(value, True, source)
        if isinstance(source, Tensor):
            return source
        return Tensor(value) if isinstance(value, np.ndarray) else value

    return tuple(
        lift(value, sources[name]) if name in sources else value
        for name, value in zip(op.saved_names, saved, strict=True)
    )


def leading_to(captured: dict[Node | Tensor, Any], roots: list[Tensor], floor: int) -> set[Any]:
    """Those nodes below `roots` through which a gradient reaches what is asked for."""
    order: list[Node] = []
    seen: set[Any] = set()
    stack = [root.grad_fn for root in roots if root.grad_fn is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.sequence < floor:
            continue
        order.append(node)
        stack.extend(p for p in node.inputs if isinstance(p, Node) and p not in seen)
    order.sort(key=lambda n: n.sequence)
    leading: set[Any] = set(captured)
    for node in order:  # inputs come first, so one pass decides
        if any(p in leading for p in node.inputs if isinstance(p, Node | Tensor)):
            leading.add(node)
    return leading
