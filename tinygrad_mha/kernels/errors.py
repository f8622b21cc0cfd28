"""How far numbers are from what they should be."""

from __future__ import annotations

import numpy as np

from .dispatch import backend_for
from .shapes import check_fit

Array = np.ndarray


def squared_error(x: Array, target: Array, scale: float) -> tuple[float, Array]:
    """Sum of squared differences, and its slope but for a factor.

    Parameters
    ----------
    x, target : ndarray
        Of one shape and dtype.
    scale : float
        The factor, 2 for the slope of the sum itself.

    Returns
    -------
    total : float
        Σ (x − target)².
    slope : ndarray
        scale · (x − target).

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> kernels.squared_error(np.array([1.0, 2.0]), np.array([1.0, 5.0]), 2.0)
    (9.0, array([ 0., -6.]))
    """
    if x.dtype is not target.dtype or x.shape != target.shape:
        check_fit(x.dtype, x.shape, target=target)
    total, slope = backend_for(x).squared_error(x, target, scale)
    return total, slope
