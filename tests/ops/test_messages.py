"""What errors say: the shapes as they were given, what does not fit, what to do."""

from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_mha as tm


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (
            lambda: tm.ones(3, 4) + tm.ones(5, 4),
            ValueError,
            r"add: shapes \(3, 4\) and \(5, 4\) do not broadcast: axis -2 has the sizes 3 and 5",
        ),
        (
            lambda: tm.where(tm.ones(2) > 0, tm.ones(1, 3), 0.0),
            ValueError,
            r"where: shapes \(2,\) and \(1, 3\) and \(\) .* axis -1 has the sizes 2 and 3",
        ),
        (
            lambda: tm.ones(2, 3).reshape(5, 7),
            ValueError,
            r"x has 6 elements, for shape \(5, 7\) it must have 35",
        ),
        (
            lambda: tm.ones(2, 3).view(5, -1),
            ValueError,
            r"x has 6 elements, for shape \(5, -1\) it must have a multiple of 5",
        ),
        (
            lambda: tm.cat([tm.ones(2, 3), tm.ones(2, 4)]),
            ValueError,
            r"cat joins along dim 0, so all other axes must be equal; .* \(2, 3\), \(2, 4\)",
        ),
        (lambda: tm.tensor([[1, 2], [3]]), ValueError, "lists of different lengths; pad them"),
        (lambda: tm.tensor([1.0], dtype="float33"), TypeError, "'float33' is no dtype"),
    ],
)
def test_mistakes_are_explained(
    mistake: Callable[[], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        mistake()
