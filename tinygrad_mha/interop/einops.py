"""einops on our tensors: ``rearrange(t, "b (h p) -> b h p", h=4)``, with its gradient.

einops asks each of its backends whether a tensor is theirs; this is ours. Importing
``tinygrad_mha`` registers it where einops is installed.
"""

from __future__ import annotations

from typing import Any

from einops._backends import AbstractBackend

from .. import ops
from ..engine import Tensor


class TinygradMhaBackend(AbstractBackend):
    """What einops needs to know about a tensor."""

    framework_name = "tinygrad_mha"
    _reductions = {"max": "amax", "min": "amin"}  # noqa: RUF012

    def is_appropriate_type(self, tensor: Any) -> bool:
        """Whether it is one of ours."""
        return isinstance(tensor, Tensor)

    def from_numpy(self, x: Any) -> Tensor:
        """Wrap an array."""
        return Tensor(x)

    def to_numpy(self, x: Tensor) -> Any:
        """Return the array of a tensor without a gradient."""
        return x.numpy()

    def arange(self, start: int, stop: int) -> Tensor:
        """Count."""
        return ops.arange(start, stop)

    def transpose(self, x: Tensor, axes: Any) -> Any:
        """Put the axes into another order."""
        return x.permute(axes)

    def reduce(self, x: Tensor, operation: str, axes: Any) -> Any:
        """Reduce over axes."""
        return getattr(ops, self._reductions.get(operation, operation))(x, dim=tuple(axes))

    def stack_on_zeroth_dimension(self, tensors: list[Tensor]) -> Any:
        """Join along a new first axis."""
        return ops.stack(tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Any:
        """Put in an axis of size 1."""
        return ops.unsqueeze(x, new_position)

    def tile(self, x: Tensor, repeats: Any) -> Any:
        """Repeat along each axis."""
        return ops.tile(x, tuple(repeats))

    def concat(self, tensors: list[Tensor], axis: int) -> Any:
        """Join along an axis."""
        return ops.cat(tensors, dim=axis)

    def is_float_type(self, x: Tensor) -> bool:
        """Whether means can be taken."""
        return x.is_floating_point()

    def einsum(self, pattern: str, *x: Tensor) -> Any:
        """Sum of products."""
        return ops.einsum(pattern, *x)
