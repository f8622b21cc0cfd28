"""Where PyTorch calls its first argument ``input``, ours may be given by that name."""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.nn import functional as F


def _first(function: Any) -> str | None:
    """The name of a PyTorch function's first argument, from its signature or its docstring."""
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:
        found = re.match(r"\s*\w+\((\w+)", function.__doc__ or "")
        names = [found.group(1)] if found else []
    return names[0] if names else None


def _called_input(torch: ModuleType) -> dict[str, Any]:
    pairs = ((tm, torch, ""), (F, torch.nn.functional, "nn.functional."))
    return {
        prefix + name: getattr(ours, name)
        for ours, theirs, prefix in pairs
        for name in ours.__all__
        if callable(getattr(theirs, name, None))
        and not inspect.isclass(getattr(ours, name))
        and _first(getattr(theirs, name)) == "input"
    }


def test_input_is_a_name_wherever_it_is_torchs(torch: ModuleType) -> None:
    functions = _called_input(torch)
    assert len(functions) > 200
    wrong, equal = [], 0
    for name, function in functions.items():
        x = tm.tensor([[0.25, 0.5], [0.75, 0.125]])
        try:
            tm.manual_seed(1)
            by_name = function(input=x)
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            # other arguments are missing, or the values do not suit it: but the name is known
            if re.search(r"'input'|'x'", str(error)):
                wrong.append(f"{name}: {error}")
            continue
        tm.manual_seed(1)
        by_place = function(x)
        if isinstance(by_name, tm.Tensor):
            np.testing.assert_array_equal(by_name.data, by_place.data, err_msg=name)
            equal += 1
    assert not wrong
    assert equal > 100


@pytest.mark.parametrize("call", [lambda x: tm.squeeze(x, input=x), lambda x: tm.squeeze(inputs=x)])
def test_a_wrong_name_is_still_an_error(call: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'input"):
        call(tm.ones(1, 2))
