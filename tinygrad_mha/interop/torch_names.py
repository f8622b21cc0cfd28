"""Checkpoints of torch.nn.MultiheadAttention, read and written without PyTorch.

A module's own ``load_state_dict`` reads PyTorch's names too, at any depth of a model; these
functions are for whoever has the numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..engine import Tensor
from ..nn import MultiHeadAttention, torch_layout


def mha_from_torch(
    state_dict: Mapping[str, Any], prefix: str = "", *, num_heads: int
) -> dict[str, Tensor]:
    """Convert a state of torch.nn.MultiheadAttention to the names of ours.

    Parameters
    ----------
    state_dict : mapping of str to array or Tensor
        Packed (``in_proj_weight``) or separate (``q_proj_weight``, …).
    prefix : str, default ""
        What the names begin with, for example ``"encoder.layers.0.self_attn."``; others are
        left out.
    num_heads : int
        h, which the state does not tell.

    Returns
    -------
    dict of str to Tensor
        For ``MultiHeadAttention.load_state_dict``.

    Raises
    ------
    KeyError
        There is no ``out_proj.weight`` under this prefix.
    ValueError
        The rows do not split into h heads.

    Examples
    --------
    >>> import numpy as np
    >>> state = {"in_proj_weight": np.zeros((24, 8)), "out_proj.weight": np.zeros((8, 8))}
    >>> {name: t.shape for name, t in mha_from_torch(state, num_heads=2).items()}
    {'W_q': (2, 4, 8), 'W_k': (2, 4, 8), 'W_v': (2, 4, 8), 'W_o': (8, 8)}
    """
    own = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
    if torch_layout.MARK not in own:
        raise KeyError(
            f"mha_from_torch: no {prefix + torch_layout.MARK!r} among the names "
            f"{sorted(state_dict)[:12]}; is the prefix right?"
        )
    converted = torch_layout.from_torch(own, num_heads=num_heads)
    return {name: Tensor(array) for name, array in converted.items()}


def mha_to_torch(
    module: MultiHeadAttention, layout: str | None = None, prefix: str = ""
) -> dict[str, Tensor]:
    """Write a module's parameters with the names of torch.nn.MultiheadAttention.

    Parameters
    ----------
    module : MultiHeadAttention
        Of widths that PyTorch's can have: h·p = embed_dim = out_dim.
    layout : {"packed", "separate"}, optional
        By default the one that PyTorch would use: packed where kdim and vdim are embed_dim.
    prefix : str, default ""
        Put before the names.

    Returns
    -------
    dict of str to Tensor
        Copies.

    Raises
    ------
    ValueError
        PyTorch has no such module, or not in this layout.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> mha = tm.nn.MultiHeadAttention(8, 2, bias=False)
    >>> {name: t.shape for name, t in mha_to_torch(mha).items()}
    {'in_proj_weight': (24, 8), 'out_proj.weight': (8, 8)}
    """
    state = torch_layout.to_torch(module, layout)
    return {prefix + name: Tensor(array) for name, array in state.items()}
