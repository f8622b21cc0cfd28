"""What is no tensor, given where one belongs: it works, or the error names it and the remedy."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.engine import REGISTRY
from tinygrad_mha.nn import functional as F

#: Those that take anything but numbers: files, threads, and what makes tensors of lists.
OTHERS = {"load", "save", "set_num_threads", "get_num_threads", "is_grad_enabled", "from_dlpack"}


def _functions() -> dict[str, Callable[..., Any]]:
    found = {
        name: getattr(module, name)
        for module in (tm, F)
        for name in module.__all__
        if callable(getattr(module, name)) and not inspect.isclass(getattr(module, name))
    }
    return {k: f for k, f in {**REGISTRY, **found}.items() if k not in OTHERS}


FUNCTIONS = _functions()

#: What people write.
GIVEN: list[Any] = [
    [[1.0, 2.0], [3.0, 4.0]],
    np.array([[1.0, 2.0], [3.0, 4.0]], np.float32),
    1.5,
    2,
    np.float64(1.5),
    None,
    "a",
    [tm.ones(2), tm.ones(2)],
]


def _needed(function: Any) -> int:
    """How many arguments have no default."""
    parameters = inspect.signature(getattr(function, "forward", function)).parameters.values()
    return max(1, sum(p.default is p.empty and p.kind in (0, 1) for p in parameters))


@pytest.mark.filterwarnings("ignore")  # of losses that broadcast, and NumPy's of old dtype names
@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_works_or_the_error_says_who_complains(name: str) -> None:
    function = FUNCTIONS[name]
    count = _needed(function)
    good = [tm.ones(2, 2)] * (count - 1)
    for value in GIVEN:
        for arguments in ([value] * count, [value, *good], [*good, value]):
            try:
                function(*arguments)
            except TypeError as error:
                assert re.match(r"[\w.]+(\[\d+\])?: ", str(error))  # noqa: PT017
            except (ValueError, IndexError, RuntimeError):
                pass


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: F.relu([1.0, -1.0]),
        lambda: F.gelu([1.0]),
        lambda: F.dropout([1.0, 2.0]),
        lambda: F.rms_norm([[1.0, 2.0]], (2,)),
        lambda: F.softmax([1.0, 2.0], dim=-1),
        lambda: tm.sin([1.0]),
        lambda: tm.sum([1.0, 2.0]),
        lambda: F.mse_loss([1.0], [2.0]),
        lambda: F.relu([1.0], inplace=True),
    ],
)
def test_lists_are_named_with_the_remedy(mistake: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"^\w+: .* is a list, expected a tensor; tm.tensor makes"):
        mistake()


def test_arrays_and_numbers_that_work() -> None:
    row = np.array([[3.0, -3.0]], np.float32)
    assert F.relu(row).tolist() == [[3.0, 0.0]]
    assert F.rms_norm(row, (2,)).tolist() == [[1.0, -1.0]]
    assert F.dropout(row, p=0.0).tolist() == row.tolist()
    assert np.add(tm.ones(2), [1.0, 2.0]).dtype == np.float32
