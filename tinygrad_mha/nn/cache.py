"""What a layer remembers of the keys and values that it has seen, for generation."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..engine import Tensor


class KeyValueCache:
    """Projected keys and values of one attention layer, from all calls so far.

    Pass it to :class:`MultiHeadAttention` with every call of one sequence: new tokens are
    then projected once, and attend to all that came before them. Nothing is global: one
    cache per layer and sequence, made by whoever generates.

    Parameters
    ----------
    fixed : bool, default False
        Remember the first call's keys and values, and take them for those of all later calls: for
        attention to a memory that stays the same, such as an encoder's output.

    Attributes
    ----------
    keys, values : Tensor or None
        ``(N, T, h·p_k)`` and ``(N, T, h·p_v)`` after T tokens, with h the number of key/value
        heads; None at first.

    Examples
    --------
    >>> import numpy as np, tinygrad_mha as tm
    >>> mha = tm.nn.MultiHeadAttention(8, 2)
    >>> x, cache = tm.randn(1, 5, 8), tm.nn.KeyValueCache()
    >>> whole = mha(x, is_causal=True)
    >>> begin = mha(x[:, :3], is_causal=True, cache=cache)
    >>> rest = mha(x[:, 3:], is_causal=True, cache=cache)
    >>> len(cache), bool(np.allclose(tm.cat([begin, rest], dim=1).data, whole.data, atol=1e-5))
    (5, True)
    """

    def __init__(self, *, fixed: bool = False) -> None:
        self.fixed = fixed
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        # memory for more than what is remembered, and how much of it is taken
        self._room: dict[str, tuple[np.ndarray, int]] = {}

    def __len__(self) -> int:
        return 0 if self.keys is None else self.keys.shape[1]

    @property
    def known(self) -> bool:
        """Whether keys and values need not be projected any more."""
        return self.fixed and self.keys is not None

    def all(self) -> tuple[Tensor, Tensor]:
        """Return all keys and values.

        Raises
        ------
        RuntimeError
            There are none.
        """
        if self.keys is None or self.values is None:
            raise RuntimeError("KeyValueCache: nothing is remembered yet")
        return self.keys, self.values

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Remember more, and return everything.

        There is room for more tokens than have come, so that one more costs no copy of those
        before it; when it is used up, twice as much is made. What has a gradient is
        concatenated instead.

        Parameters
        ----------
        keys, values : Tensor
            ``(N, T', h·p_k)`` and ``(N, T', h·p_v)``.

        Returns
        -------
        keys, values : Tensor
            ``(N, T + T', h·p_k)`` and ``(N, T + T', h·p_v)``.

        Raises
        ------
        ValueError
            There are not three axes, or the batch size or a width is not that of what is
            remembered.
        TypeError
            The dtype is not.
        """
        for name, old, new in (("keys", self.keys, keys), ("values", self.values, values)):
            if new.ndim != 3:
                raise ValueError(
                    f"KeyValueCache: {name} have shape {new.shape}, expected (N, T, width), all "
                    "heads side by side"
                )
            if old is not None and (old.shape[0], old.shape[2]) != (new.shape[0], new.shape[2]):
                raise ValueError(
                    f"KeyValueCache: {name} have shape {new.shape}, but those remembered "
                    f"{old.shape}; batch size and width must agree: a cache belongs to one layer "
                    "and one batch of sequences"
                )
            if old is not None and old.dtype != new.dtype:
                raise TypeError(
                    f"KeyValueCache: {name} are {new.dtype}, those remembered {old.dtype}; a cache "
                    "belongs to a model of one dtype"
                )
        self.keys = self._joined("keys", self.keys, keys)
        self.values = self._joined("values", self.values, values)
        return self.keys, self.values

    def _joined(self, name: str, old: Tensor | None, new: Tensor) -> Tensor:
        """Put new tokens after the old ones: (N, T, w) and (N, T', w) to (N, T + T', w)."""
        if old is None:
            return new
        if old.requires_grad or new.requires_grad:
            joined: Tensor = ops.cat([old, new], dim=1)
            return joined
        n, past, width = old.shape
        length, (room, taken) = past + new.shape[1], self._room.get(name, (None, 0))
        # a copy of this cache may have gone on in the same memory
        if room is None or old.data.base is not room or room.shape[1] < length or taken != past:
            room = np.empty((n, 2 * length, width), old.dtype)
            room[:, :past] = old.data
        room[:, past:length] = new.data
        self._room[name] = room, length
        return Tensor(room[:, :length])

    def select(self, items: np.ndarray | list[int]) -> None:
        """Keep these batch items, in this order, as beam search needs it.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> cache = tm.nn.KeyValueCache()
        >>> _ = cache.append(tm.zeros(3, 2, 4), tm.zeros(3, 2, 4))
        >>> cache.select([0, 0])
        >>> cache.keys.shape
        (2, 2, 4)
        """
        if self.keys is not None and self.values is not None:
            index = np.asarray(items)
            self.keys, self.values = self.keys[index], self.values[index]

    def clear(self) -> None:
        """Forget everything."""
        self.keys = self.values = None
        self._room.clear()

    def __repr__(self) -> str:
        shape = None if self.keys is None else self.keys.shape
        return f"KeyValueCache(length={len(self)}, keys={shape})"
