"""Einstein summation, taken apart into diagonals, sums and one matrix product per pair."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import string
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from .axes import Shape
from .index import getitem
from .linalg import matmul
from .reduce import sum
from .shape import permute, reshape

#: In the order in which an implicit output sorts its letters, which is PyTorch's.
LETTERS = string.ascii_uppercase + string.ascii_lowercase

#: A letter, or for an axis of the ellipsis its distance from the ellipsis' right end.
Label = str | int


@dataclass(frozen=True)
class Term:
    """A value, and what each of its axes is called."""

    value: Any
    labels: tuple[Label, ...]

    def size(self, label: Label) -> int:
        """Length of the axis of that name."""
        return int(self.value.shape[self.labels.index(label)])


def einsum(*args: Any) -> Any:
    """Sum of products, with a letter for every axis (Einstein's convention).

    Axes of one letter are multiplied together, and summed where the letter is not in the output.
    A letter twice in one operand takes its diagonal. Axes of size 1 broadcast.

    Parameters
    ----------
    equation : str
        ``"ij,jk->ik"``: for each operand a letter per axis, then the letters of the output.
        Without an arrow the output has, in alphabetical order, the letters that occur once.
        ``...`` stands for any number of axes, which broadcast.
    *operands : Tensor
        One per part of the equation; or one list of them. Or the other way of writing it:
        operands and lists of numbers from 0 to 51 in turn, then perhaps the output's list.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        The equation cannot be read, or does not fit the operands.

    Notes
    -----
    Each pair of operands is permuted and reshaped to one batched :func:`matmul`. With three or
    more, the order is opt_einsum's if that package is installed, else from left to right.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> a, b = tm.ones(2, 3), tm.ones(3, 4)
    >>> tm.einsum("ij,jk->ik", a, b).shape
    (2, 4)
    >>> tm.einsum("ii", tm.eye(3)).item()
    3.0
    >>> tm.einsum(a, [0, 1], b, [1, 2], [2, 0]).shape
    (4, 2)
    """
    equation, operands = _equation(args)
    inputs, output, shapes = _parse(equation, [x.shape for x in operands])
    sizes = _sizes(inputs, shapes)
    terms = [_prepared(x, labels, sizes) for x, labels in zip(operands, inputs, strict=True)]
    for i, j in _path(equation, [x.shape for x in operands]):
        b, a = terms.pop(max(i, j)), terms.pop(min(i, j))
        needed = {*output}.union(*(term.labels for term in terms))
        terms.append(_pair(a, b, needed))
    return _arranged(_summed(terms[0], {*output}), output)


# -- what was written ----------------------------------------------------------------------


def _equation(args: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """Bring the three ways of calling to one: an equation and its operands."""
    if not args:
        raise ValueError("einsum: needs an equation and the operands it names")
    if isinstance(args[0], str):
        operands = args[1:]
        if len(operands) == 1 and isinstance(operands[0], list | tuple):
            operands = tuple(operands[0])
        return args[0].replace(" ", ""), list(operands)
    parts = [_written(labels) for labels in args[1::2]]
    equation = ",".join(parts)
    if len(args) % 2:  # operand, list, …, and the list of the output
        return f"{equation}->{_written(args[-1])}", list(args[:-1:2])
    return equation, list(args[::2])


def _written(labels: Any) -> str:
    """[0, ..., 27] as "A...b"."""
    text = ""
    for label in labels:
        if label is ...:
            text += "..."
        elif isinstance(label, int) and 0 <= label < len(LETTERS):
            text += LETTERS[label]
        else:
            raise ValueError(
                f"einsum: {label!r} in a list of axes; expected ... or a number from 0 to 51"
            )
    return text


def _parse(
    equation: str, shapes: list[Shape]
) -> tuple[list[tuple[Label, ...]], tuple[Label, ...], list[Shape]]:
    """Give every axis of every operand, and of the output, its label."""
    left, arrow, right = equation.partition("->")
    parts = left.split(",")
    if len(parts) != len(shapes):
        raise ValueError(
            f"einsum: the equation {equation!r} names {len(parts)} operands, {len(shapes)} given"
        )
    for part in [*parts, right]:
        if strange := set(part.replace("...", "", 1)) - set(LETTERS):
            raise ValueError(
                f"einsum: {equation!r} contains {', '.join(map(repr, sorted(strange)))}; an axis "
                "is a letter from a to z or A to Z, and each part may have one ellipsis '...'"
            )
    inputs = [
        _labelled(part, shape, f"operand {i}")
        for i, (part, shape) in enumerate(zip(parts, shapes, strict=True))
    ]
    covered = max((len([x for x in labels if isinstance(x, int)]) for labels in inputs), default=0)
    ellipsis = tuple(range(-covered, 0))
    counts = Counter(label for labels in inputs for label in labels if isinstance(label, str))
    if not arrow:
        once = sorted((x for x, n in counts.items() if n == 1), key=LETTERS.index)
        return inputs, (*ellipsis, *once), shapes
    before, dots, after = right.partition("...")
    for letter, n in Counter(before + after).items():
        if n > 1:
            raise ValueError(f"einsum: the output of {equation!r} has {letter!r} more than once")
        if letter not in counts:
            raise ValueError(
                f"einsum: the output of {equation!r} has {letter!r}, which no operand has"
            )
    return inputs, (*before, *(ellipsis if dots else ()), *after), shapes


def _labelled(part: str, shape: Shape, which: str) -> tuple[Label, ...]:
    before, dots, after = part.partition("...")
    covered = len(shape) - len(before) - len(after)
    if covered < 0 or (covered and not dots):
        raise ValueError(
            f"einsum: {which} has shape {shape}, but {part!r} names "
            f"{len(before) + len(after)} axes{' beside its ellipsis' if dots else ''}"
        )
    return (*before, *range(-covered, 0), *after)


def _sizes(inputs: list[tuple[Label, ...]], shapes: list[Shape]) -> dict[Label, int]:
    """Length of every label; those of size 1 broadcast, but not within one operand."""
    sizes: dict[Label, int] = {}
    for i, (labels, shape) in enumerate(zip(inputs, shapes, strict=True)):
        own: dict[Label, int] = {}
        for label, n in zip(labels, shape, strict=True):
            if own.setdefault(label, n) != n:
                raise ValueError(
                    f"einsum: {label!r} is twice in operand {i}, of shape {shape}, but with sizes "
                    f"{own[label]} and {n}; a diagonal needs equal ones"
                )
            seen = sizes.get(label, 1)
            if n != 1 and seen not in (1, n):
                name = repr(label) if isinstance(label, str) else f"axis {label} of the ellipsis"
                raise ValueError(
                    f"einsum: {name} has size {n} in operand {i}, of shape {shape}, but size "
                    f"{seen} in an operand before it"
                )
            sizes[label] = n if seen == 1 else seen
    return sizes


def _path(equation: str, shapes: list[Shape]) -> list[tuple[int, int]]:
    """Which two terms to join, step by step; the result goes to the end of the list."""
    if len(shapes) > 2 and importlib.util.find_spec("opt_einsum") is not None:
        opt_einsum = importlib.import_module("opt_einsum")
        path: list[tuple[int, ...]] = []
        with contextlib.suppress(ValueError):  # what it cannot read we still can
            path = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize="auto")[0]
        if path and all(len(step) == 2 for step in path):
            return [(step[0], step[1]) for step in path]
    # from left to right: after the first step the running product stands at the end
    return [(0, 1) if i == 0 else (0, len(shapes) - 1 - i) for i in range(len(shapes) - 1)]


# -- what is computed ----------------------------------------------------------------------


def _prepared(x: Any, labels: tuple[Label, ...], sizes: dict[Label, int]) -> Term:
    """Take diagonals, and drop axes of size 1 that others stretch."""
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            at = [i for i, other in enumerate(labels) if other == label]
            rest = [i for i in range(len(labels)) if i not in at]
            every = np.arange(x.shape[at[0]])
            # the repeated axes first, then one index array for all of them: (n, …)
            x = getitem(permute(x, (*at, *rest)), (every,) * len(at))
            labels = (label, *(labels[i] for i in rest))
    kept = [i for i, label in enumerate(labels) if x.shape[i] == sizes[label]]
    if len(kept) < len(labels):
        x = reshape(x, tuple(x.shape[i] for i in kept))
    return Term(x, tuple(labels[i] for i in kept))


def _summed(term: Term, needed: set[Label]) -> Term:
    """Sum over what nobody needs any more."""
    gone = tuple(i for i, label in enumerate(term.labels) if label not in needed)
    if not gone:
        return term
    return Term(sum(term.value, gone), tuple(x for x in term.labels if x in needed))


def _arranged(term: Term, labels: tuple[Label, ...]) -> Any:
    """Bring the axes into an order."""
    order = tuple(term.labels.index(label) for label in labels)
    return term.value if order == tuple(range(len(order))) else permute(term.value, order)


def _pair(a: Term, b: Term, needed: set[Label]) -> Term:
    """Multiply two terms, and sum over the labels that only they have: one batched matmul."""
    a = _summed(a, needed | {*b.labels})
    b = _summed(b, needed | {*a.labels})
    batch = tuple(x for x in a.labels if x in b.labels and x in needed)
    inner = tuple(x for x in a.labels if x in b.labels and x not in needed)
    rows = tuple(x for x in a.labels if x not in b.labels)
    columns = tuple(x for x in b.labels if x not in a.labels)
    labels = (*batch, *rows, *columns)
    outer = tuple(a.size(x) for x in (*batch, *rows)) + tuple(b.size(x) for x in columns)
    if not inner:  # nothing to sum: an elementwise product with broadcasting
        left = _arranged(a, (*batch, *rows))
        left = reshape(left, (*left.shape, *(1 for _ in columns)))
        right = _arranged(b, (*batch, *columns))
        k = len(batch)
        right = reshape(right, (*right.shape[:k], *(1 for _ in rows), *right.shape[k:]))
        return Term(left * right, labels)
    left = _folded(a, batch, rows, inner)  # (batch, rows, inner)
    right = _folded(b, batch, inner, columns)  # (batch, inner, columns)
    return Term(reshape(matmul(left, right), outer), labels)


def _folded(term: Term, *groups: tuple[Label, ...]) -> Any:
    """One axis per group of labels; without a batch, a matrix."""
    value = _arranged(term, tuple(label for group in groups for label in group))
    groups = groups if groups[0] else groups[1:]
    return reshape(value, tuple(math.prod(term.size(x) for x in group) for group in groups))
