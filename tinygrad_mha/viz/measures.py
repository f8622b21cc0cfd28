"""What a head's weights say about it, in five numbers."""

from __future__ import annotations

import numpy as np

#: In the order of the fields of a Lane.
NAMES = ("entropy", "peak", "to_self", "to_previous", "to_first")


def measures(weights: np.ndarray) -> dict[str, float]:
    """Measure one head; see :class:`~tinygrad_mha.viz.data.Lane` for what the numbers mean.

    Parameters
    ----------
    weights : ndarray
        ``(N, L, S)``.

    Returns
    -------
    dict of str to float
        Means over batch items and queries.

    Examples
    --------
    >>> import numpy as np
    >>> measures(np.full((1, 4, 4), 0.25))["entropy"]
    2.0
    """
    weights = weights.astype(np.float64)
    diagonal = np.arange(min(weights.shape[-2:]))
    entropy = -(weights * np.log2(np.maximum(weights, 1e-30))).sum(-1)
    previous = weights[:, diagonal[1:], diagonal[:-1]]
    found = (
        entropy.mean(),
        weights.max(-1).mean(),
        weights[:, diagonal, diagonal].mean(),
        previous.mean() if previous.size else 0.0,
        weights[:, :, 0].mean(),
    )
    return dict(zip(NAMES, map(float, found), strict=True))
