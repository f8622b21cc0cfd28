"""What every optimizer does: hold groups of parameters, and step those that have a gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeAlias

import numpy as np

from ..engine import Tensor, touch
from ..engine.messages import describe
from . import state

#: Of one parameter, each ``(n,)``: its values, its gradient, what is remembered of earlier ones.
Row: TypeAlias = tuple[np.ndarray, ...]


#: What may stand in a group beside the optimizer's own options: PyTorch's schedules leave it.
_REMARKS = frozenset({"params", "name", "initial_lr"})


class Option:
    """An option of an optimizer as its attribute: read from the first group, set in all."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer, owner: type) -> Any:
        return optimizer.param_groups[0][self.name]

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        for group in optimizer.param_groups:
            group[self.name] = value


class Optimizer:
    """Base class of the optimizers: groups of parameters, each with options of its own.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What is to be learned: leaves that require a gradient. Or groups of them: each a dict
        with ``"params"``, and those options that are to differ from `defaults`.
    defaults : dict
        The options by name, as groups have them that say nothing else; ``"lr"`` is one.

    Attributes
    ----------
    param_groups : list of dict
        The groups, with all their options; assigning to one counts from the next step on.
    params : list of Tensor
        The parameters of all groups, in their order.
    defaults : dict
        As given.

    Raises
    ------
    ValueError
        There are no parameters, one is not a leaf or stands there twice, or an option is
        unknown or out of its range.
    TypeError
        A parameter is not a tensor.

    Examples
    --------
    Weights decay, biases do not:

    >>> import tinygrad_mha as tm
    >>> layer = tm.nn.Linear(2, 2)
    >>> groups = [{"params": [layer.weight]}, {"params": [layer.bias], "weight_decay": 0.0}]
    >>> [group["weight_decay"] for group in tm.optim.AdamW(groups).param_groups]
    [0.01, 0.0]
    """

    #: What is remembered of each parameter, by PyTorch's names; whether steps are counted there;
    #: which of its options there are not.
    remembers: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[bool] = False
    absent: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], defaults: dict[str, Any]
    ) -> None:
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__}: params is one tensor, expected several")
        if hasattr(params, "parameters"):
            kind = type(params).__name__
            raise TypeError(f"{type(self).__name__}: params is a {kind}; pass its .parameters()")
        given: list[Any] = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: params is empty")
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.params: list[Tensor] = []
        self._steps: list[int] = []
        self._seen: list[np.ndarray | None] = []
        #: What is remembered of each parameter's gradients, in the order of its numbers.
        self._memory: list[tuple[np.ndarray, ...]] = []
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Take in more parameters, for example of layers that are to be learned from now on.

        Parameters
        ----------
        group : dict
            ``"params"``: a tensor or several; and options that are to differ from the defaults.

        Raises
        ------
        ValueError, TypeError
            As when the optimizer is made.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> first, second = (tm.tensor([1.0], requires_grad=True) for _ in range(2))
        >>> optimizer = tm.optim.SGD([first], lr=0.1)
        >>> optimizer.add_param_group({"params": second, "lr": 0.01})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.01]
        """
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(
                f"{name}: a group is a dict with 'params' and options, got {describe(group)}"
            )
        unknown = group.keys() - self.defaults.keys() - _REMARKS
        if unknown:
            raise ValueError(
                f"{name}: a group has the options {sorted(unknown)}, which are unknown; there are "
                f"{sorted(self.defaults)}"
            )
        given = group["params"]
        if isinstance(given, set):
            raise TypeError(f"{name}: params is a set, whose order may change; pass a list")
        params = [given] if isinstance(given, Tensor) else list(given)
        known = {id(p): i for i, p in enumerate(self.params)}
        for i, p in enumerate(params, len(self.params)):
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{name}: params[{i}] is a {type(p).__name__}, expected a Tensor"
                    + ("; groups and tensors do not mix" if isinstance(p, dict) else "")
                )
            if not p.is_leaf or not p.requires_grad:
                raise ValueError(
                    f"{name}: params[{i}] of shape {p.shape} is not a leaf that requires a gradient"
                )
            if known.setdefault(id(p), i) != i:
                raise ValueError(
                    f"{name}: params[{i}] of shape {p.shape} is params[{known[id(p)]}] once more; "
                    "a step would change it twice"
                )
        complete = {**self.defaults, **group, "params": params}
        self._check_options(complete)
        self.param_groups.append(complete)
        self.params += params
        self._steps += [0] * len(params)
        self._seen += [None] * len(params)
        self._memory += map(self._first_memory, params)

    def _check_options(self, group: dict[str, Any]) -> None:
        """Refuse options out of their range."""
        not_negative(self, lr=group["lr"])

    def _first_memory(self, p: Tensor) -> tuple[np.ndarray, ...]:
        """What is remembered of a parameter's gradients before there was one."""
        return ()

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        first = 0
        for group in self.param_groups:
            self._update(first, group)
            first += len(group["params"])

    def _run(self, group: dict[str, Any], steps: int, rows: list[Row]) -> None:
        raise NotImplementedError(f"{type(self).__name__} defines no step()")

    lr = Option()

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        for p in self.params:
            p._grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return all that a training has to remember to go on, in PyTorch's layout.

        Returns
        -------
        dict
            ``"state"``: by number of the parameter, its count of steps and what is remembered
            of its gradients, as tensors that share memory with the optimizer.
            ``"param_groups"``: the options of each group, and its parameters by number.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> w = tm.tensor([1.0], requires_grad=True)
        >>> optimizer = tm.optim.AdamW([w])
        >>> w.sum().backward(); optimizer.step()
        >>> sorted(optimizer.state_dict()["state"][0])
        ['exp_avg', 'exp_avg_sq', 'step']
        """
        return state.written(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where another optimizer of such parameters stood, one of PyTorch's included.

        Parameters
        ----------
        state_dict : dict
            What :meth:`state_dict` returned, here or there. The values are copied.

        Raises
        ------
        ValueError
            The groups, their sizes or the shapes are others, or an option is set that this
            optimizer does not have. Nothing has changed then.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> w = tm.tensor([1.0], requires_grad=True)
        >>> optimizer = tm.optim.SGD([w], lr=0.1)
        >>> optimizer.load_state_dict(tm.optim.SGD([w], lr=0.5).state_dict())
        >>> optimizer.lr
        0.5
        """
        state.read(self, state_dict)

    def _update(self, first: int, group: dict[str, Any]) -> None:
        """Take each parameter of a group that has a gradient a step further, in place.

        ``_run`` gets what is to be updated together: parameters of one dtype that have taken
        as many steps, this one included.

        Parameters
        ----------
        first : int
            The number of the group's first parameter.
        group : dict
            One of the groups.
        """
        together: dict[tuple[int, np.dtype[Any]], list[Row]] = {}
        rows: list[Row] = []
        last, kind = 0, None
        changed: list[np.ndarray] = []
        copies: list[tuple[np.ndarray, np.ndarray]] = []
        counts, memory, seen = self._steps, self._memory, self._seen
        for i, p in enumerate(group["params"], first):
            g = p._grad
            if g is None:
                continue
            data = p.data
            flat, gradient = data.ravel(), g.data.ravel()
            dtype = flat.dtype
            if data is not seen[i] or gradient.size != flat.size or gradient.dtype is not dtype:
                self._check(i, flat, gradient)
            if flat.base is None:  # not consecutive in memory, so that ravel() made a copy
                copies.append((data, flat))
            counts[i] = steps = counts[i] + 1
            if steps != last or dtype is not kind:  # most go with the one before
                last, kind = steps, dtype
                rows = together.setdefault((steps, dtype), [])
            rows.append((flat, gradient) + memory[i])
            changed.append(data)
        for (steps, _), rows in together.items():
            self._run(group, steps, rows)
        for data, flat in copies:
            data[...] = flat.reshape(data.shape)
        touch(changed)

    def _check(self, i: int, values: np.ndarray, gradient: np.ndarray) -> None:
        """Refuse what a kernel could not bring together: it trusts sizes and dtypes."""
        p = self.params[i]
        remembered = [("what this optimizer remembers of it", row) for row in self._memory[i]]
        for what, array in [("its gradient", gradient), *remembered]:
            if (array.size, array.dtype) != (values.size, values.dtype):
                raise RuntimeError(
                    f"{type(self).__name__}: params[{i}] is {p.dtype} {p.shape}, but {what} is of "
                    f"{array.dtype} and has {array.size} elements; a parameter whose .data was "
                    "replaced, or converted as by .double(), needs a new optimizer, and a gradient "
                    "of its own"
                )
        self._seen[i] = p.data


def in_range(owner: object, **values: Any) -> None:
    """Check that options are numbers in [0, 1)."""
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(
                f"{type(owner).__name__}: {name} is {value}, expected from 0 to below 1"
            )


def not_negative(owner: object, **values: Any) -> None:
    """Check that options are at least 0."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{type(owner).__name__}: {name} is {value}, expected at least 0")


def decayed(rows: list[Row], weight_decay: float) -> list[Row]:
    """Add weight_decay · values to the gradients, in copies of them."""
    if not weight_decay:
        return rows
    return [(p, g + p.dtype.type(weight_decay) * p, *rest) for p, g, *rest in rows]
