"""What errors say: the shapes as they were given, what does not fit, what to do."""

from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_mha as tm
from tinygrad_mha.nn import functional as F

SEQUENCE, BIAS = tm.ones(1, 3, 4), tm.ones(2, 2)
MAPS: Any = 3 * [tm.ones(2, 2, 4)]
WHOLE: Any = 3 * [tm.ones(2, 3, dtype="int64")]
FLAT: Any = 3 * [tm.ones(3)]


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
        (
            lambda: F.layer_norm(tm.ones(2, 4), (4,), tm.ones(4, dtype="int32")),
            TypeError,
            r"weight is int32, expected float32; convert it, for example with \.float\(\)",
        ),
        (
            lambda: F.linear(tm.ones(2, 3), tm.ones(4, 3), tm.ones(4, dtype="int32")),
            TypeError,
            "bias is int32, expected float32",
        ),
        (
            lambda: F.combine_heads(tm.ones(2, 3, 2), tm.ones(5, 4), tm.ones(5, dtype="int32")),
            TypeError,
            "bias is int32, expected float32",
        ),
        (
            lambda: F.self_attention(SEQUENCE, *MAPS, None, BIAS, BIAS),
            ValueError,
            r"shapes \[None, \(2, 2\), \(2, 2\)\]; expected three times .* which is \(2, 2\)",
        ),
        (
            lambda: F.self_attention(SEQUENCE, *MAPS, tm.ones(1, 2), BIAS, tm.ones(3, 2)),
            ValueError,
            r"b_q, b_k and b_v have shapes",
        ),
        (
            lambda: F.self_attention(SEQUENCE, *MAPS, mask=tm.ones(3, 3, dtype="int64")),
            TypeError,
            "mask: dtype int64 says neither",
        ),
        (
            lambda: F.attention(SEQUENCE, SEQUENCE, SEQUENCE, tm.ones(3, 3, dtype="int64")),
            TypeError,
            "mask: dtype int64 says neither",
        ),
        (
            lambda: F.attention(SEQUENCE, SEQUENCE, SEQUENCE, tm.ones(2, 3) > 0),
            ValueError,
            r"mask: shape \(2, 3\) does not broadcast to the scores' \(1, 3, 3\)",
        ),
        (
            lambda: F.scaled_dot_product_attention(*WHOLE),
            TypeError,
            "q, k and v are int64; attention needs floating numbers",
        ),
        (
            lambda: F.scaled_dot_product_attention(*FLAT),
            ValueError,
            r"query has shape \(3,\), .* expected \(\.\.\., L, p\)",
        ),
        (lambda: F.relu(inplace=True), TypeError, "relu: its first argument, x, is missing"),
        (
            lambda: tm.norm(tm.ones(2, 2), "nuc"),
            ValueError,
            r"'fro'; .* np\.linalg\.norm",
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
