"""What an optimizer remembers, written and read in PyTorch's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import Tensor

if TYPE_CHECKING:
    from .optimizer import Optimizer

#: Options of PyTorch's optimizers that ours do not have, and what it means to leave them alone.
_ABSENT = {"amsgrad": False, "maximize": False, "nesterov": False, "dampening": 0}


def written(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state, as :meth:`Optimizer.state_dict` says."""
    found: dict[int, dict[str, Any]] = {}
    for i, (p, steps, memory) in enumerate(
        zip(optimizer.params, optimizer._steps, optimizer._memory, strict=True)
    ):
        if not steps:
            continue
        found[i] = {"step": Tensor(np.asarray(steps, np.float32))} if optimizer.counts else {}
        for name, row in zip(optimizer.remembers, memory, strict=False):
            found[i][name] = Tensor(row.reshape(p.shape))
    groups, first = [], 0
    for group in optimizer.param_groups:
        count = len(group["params"])
        absent = {k: v for k, v in _ABSENT.items() if k in optimizer.absent}
        groups.append({**group, **absent, "params": list(range(first, first + count))})
        first += count
    return {"state": found, "param_groups": groups}


def read(optimizer: Optimizer, given: dict[str, Any]) -> None:
    """Take the state in, as :meth:`Optimizer.load_state_dict` says."""
    name = type(optimizer).__name__
    groups = _groups(optimizer, given)
    numbers = [number for group in given["param_groups"] for number in group["params"]]
    steps, memory = [0] * len(numbers), [*map(optimizer._first_memory, optimizer.params)]
    for i, (p, number) in enumerate(zip(optimizer.params, numbers, strict=True)):
        entry = given["state"].get(number)
        if not entry:
            continue
        steps[i] = int(np.asarray(entry.get("step", 1)))
        rows = [(what, entry.get(what)) for what in optimizer.remembers]
        for what, row in rows:
            if row is not None and np.shape(row) != p.shape:
                raise ValueError(
                    f"{name}: {what} of parameter {i} has shape {tuple(np.shape(row))}, but the "
                    f"parameter has {p.shape}; the state is one of another model"
                )
        if all(row is not None for _, row in rows):
            memory[i] = tuple(np.asarray(row).astype(p.dtype).reshape(-1) for _, row in rows)
        elif optimizer.counts:
            missing = [what for what, row in rows if row is None]
            raise ValueError(
                f"{name}: the state of parameter {i} has no {', '.join(missing)}; it is that of "
                f"another kind of optimizer, {sorted(entry)}"
            )
    for group, options in zip(optimizer.param_groups, groups, strict=True):
        group.update(options)
    optimizer._steps, optimizer._memory = steps, memory
    optimizer._seen = [None] * len(steps)


def _groups(optimizer: Optimizer, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Check the groups, and return what of their options is ours."""
    name = type(optimizer).__name__
    if not {"state", "param_groups"} <= given.keys():
        raise ValueError(
            f"{name}: expected the keys 'state' and 'param_groups', as state_dict() gives them, "
            f"got {sorted(map(str, given))[:5]}"
        )
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    there = [len(group["params"]) for group in given["param_groups"]]
    if sizes != there:
        raise ValueError(
            f"{name}: the state has groups of {there} parameters, this optimizer has groups of "
            f"{sizes}; make it with the same groups in the same order"
        )
    found = []
    for group in given["param_groups"]:
        for key, absent in _ABSENT.items():
            if group.get(key, absent) != absent:
                raise ValueError(
                    f"{name}: the state has {key}={group[key]!r}, which this optimizer cannot do"
                )
        ours = {k: v for k, v in group.items() if k in optimizer.defaults or k == "initial_lr"}
        ours["lr"] = float(ours.get("lr", optimizer.defaults["lr"]))
        optimizer._check_options({**optimizer.defaults, **ours})
        found.append(ours)
    return found
