"""Arrays of other frameworks, without a copy (the DLPack protocol)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Tensor


def from_dlpack(array: Any) -> Tensor:
    """Wrap an array of another framework; the two share memory.

    Parameters
    ----------
    array : object
        Anything on the CPU with ``__dlpack__``: a PyTorch tensor, a NumPy or JAX array.

    Returns
    -------
    Tensor
        Of the same dtype; writing to one changes the other, where the owner allows it.

    Raises
    ------
    TypeError
        It does not speak DLPack, or its numbers are neither boolean, integer nor floating.

    Examples
    --------
    >>> import numpy as np, tinygrad_mha as tm
    >>> array = np.zeros(2)
    >>> tm.from_dlpack(array).data[0] = 5
    >>> array
    array([5., 0.])
    """
    if not hasattr(array, "__dlpack__"):
        raise TypeError(
            f"from_dlpack: a {type(array).__name__} has no __dlpack__; tm.tensor copies lists and "
            "numbers"
        )
    try:
        found = np.from_dlpack(array)
    except RuntimeError as error:  # NumPy's, of bfloat16 and the like
        raise TypeError(
            f"from_dlpack: NumPy has no counterpart of {getattr(array, 'dtype', 'this dtype')} "
            f"({error}); convert it first, for example to float32"
        ) from error
    return Tensor(found)
