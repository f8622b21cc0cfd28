"""How torch.nn.MultiheadAttention names and lays out what MultiHeadAttention learns.

PyTorch stacks the heads' matrices, ``(h, p, d)`` here, as ``(h·p, d)``; where all widths are
equal it also stacks those of queries, keys and values, as ``in_proj_weight (3·h·p, d)``, and in
either case their biases, as ``in_proj_bias``. So both layouts are these same numbers in the same
order: a conversion reshapes, and copies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.op import plain

if TYPE_CHECKING:
    from .attention import MultiHeadAttention

#: A name that only PyTorch's module has.
MARK = "out_proj.weight"

#: Where PyTorch keeps what is called so here: in the first of these names that a state has.
THEIRS = {
    **{f"W_{c}": ("in_proj_weight", f"{c}_proj_weight") for c in "qkv"},
    **{f"b_{c}": ("in_proj_bias",) for c in "qkv"},
    "W_o": ("out_proj.weight",),
    "b_o": ("out_proj.bias",),
}


def adapt(state: Mapping[str, Any], prefix: str, module: MultiHeadAttention) -> Mapping[str, Any]:
    """Rename and reshape PyTorch's entries under a prefix; leave a state without them alone.

    Parameters
    ----------
    state : mapping of str to array
        A state dict, of this module or of a model around it.
    prefix : str
        Of this module's names, with its dot: ``"layers.0.self_attn."``.
    module : MultiHeadAttention
        Whose shapes the result has.

    Returns
    -------
    mapping of str to array
        With our names.
    """
    if prefix + MARK not in state:
        return state
    own = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    rest = {k: v for k, v in state.items() if not k.startswith(prefix)}
    return {**rest, **{prefix + k: v for k, v in from_torch(own, module).items()}}


def whence(name: str, state: Mapping[str, Any]) -> str:
    """Say for a message what a name of ours was called in a state with PyTorch's names.

    Parameters
    ----------
    name : str
        Dotted, as in a model's state.
    state : mapping of str to array
        As it was given.

    Returns
    -------
    str
        Empty where the state has this name itself, or no names of PyTorch's.

    Examples
    --------
    >>> import numpy as np
    >>> state = {"in_proj_weight": np.zeros((24, 8)), "out_proj.weight": np.zeros((8, 8))}
    >>> print(whence("W_q", state), whence("b_o", state))
     (from the given in_proj_weight (24, 8))  (PyTorch's out_proj.bias)
    """
    path, dot, last = name.rpartition(".")
    prefix = path + dot
    if name in state or prefix + MARK not in state or last not in THEIRS:
        return ""
    names = [prefix + theirs for theirs in THEIRS[last]]
    for theirs in names:
        if theirs in state:
            return f" (from the given {theirs} {np.shape(plain(state[theirs]))})"
    return f" (PyTorch's {' or '.join(names)})"


def from_torch(
    state: Mapping[str, Any], module: MultiHeadAttention | None = None, num_heads: int | None = None
) -> dict[str, np.ndarray]:
    """Convert the state of one torch.nn.MultiheadAttention, of either layout, to our names.

    Parameters
    ----------
    state : mapping of str to array
        ``in_proj_weight`` or ``{q,k,v}_proj_weight``, ``out_proj.weight``; perhaps
        ``in_proj_bias``, ``out_proj.bias``, ``bias_k``, ``bias_v``. Names that PyTorch does not
        have are kept, so that a strict load can complain about them.
    module : MultiHeadAttention, optional
        What is to read it; or instead
    num_heads : int, optional
        h.

    Returns
    -------
    dict of str to ndarray
        ``W_q``, ``W_k``, ``W_v`` of shape ``(h, p, d)``, and so on.

    Raises
    ------
    ValueError
        A stack of rows does not split into three, or into h heads; or a parameter stands there
        under two names, as in a state with both layouts.
    """
    own = {name: np.asarray(plain(value)) for name, value in state.items()}
    h = module.num_heads if module is not None else num_heads
    if h is None:
        raise ValueError("from_torch: say num_heads; PyTorch's state does not tell it")
    found: dict[str, np.ndarray] = {}
    _expect_each_once(own)
    _unstack(own, "in_proj_weight", "W", found)
    _unstack(own, "in_proj_bias", "b", found)
    for c in "qkv":
        if f"{c}_proj_weight" in own:
            found[f"W_{c}"] = own.pop(f"{c}_proj_weight")
    for theirs, ours in (("out_proj.weight", "W_o"), ("out_proj.bias", "b_o")):
        if theirs in own:
            found[ours] = own.pop(theirs)
    for name in ("bias_k", "bias_v"):
        if name in own:
            found[name] = own.pop(name).reshape(-1)  # (1, 1, h·p) -> (h·p,)
    return {n: v if n in ("W_o", "b_o") else _by_head(n, v, h) for n, v in found.items()} | own


def _expect_each_once(own: Mapping[str, np.ndarray]) -> None:
    """Refuse a state in which one parameter stands under two names."""
    for name, theirs in THEIRS.items():
        given = [n for n in (*theirs, name) if n in own]
        if len(given) > 1:
            raise ValueError(
                f"from_torch: {' and '.join(given)} are both there, and are the same parameter, "
                f"{name}: leave one of them out"
            )


def _unstack(own: dict[str, np.ndarray], name: str, ours: str, found: dict[str, Any]) -> None:
    """Split queries', keys' and values' rows."""
    if name not in own:
        return
    rows = own.pop(name)
    if not rows.ndim or rows.shape[0] % 3:
        raise ValueError(
            f"from_torch: {name} has shape {rows.shape}; its rows must be those of queries, keys "
            "and values, three equal parts"
        )
    for c, part in zip("qkv", np.split(rows, 3), strict=True):
        found[f"{ours}_{c}"] = part


def _by_head(name: str, rows: np.ndarray, h: int) -> np.ndarray:
    if not rows.ndim or rows.shape[0] % h:
        theirs = " or ".join(THEIRS.get(name, (name,)))
        count = rows.shape[0] if rows.ndim else "no"
        raise ValueError(
            f"from_torch: {theirs} has {count} rows for {name}, not a multiple of {h} heads"
        )
    return rows.reshape(h, rows.shape[0] // h, *rows.shape[1:])  # (h·p, ...) -> (h, p, ...)


def to_torch(module: MultiHeadAttention, layout: str | None = None) -> dict[str, np.ndarray]:
    """Write a module's parameters with PyTorch's names.

    Parameters
    ----------
    module : MultiHeadAttention
        With widths that torch.nn.MultiheadAttention can have: h·p = embed_dim = out_dim, as many
        key heads as heads, dot products with the usual scale.
    layout : {"packed", "separate"}, optional
        Packed needs equal widths of queries, keys and values. By default what PyTorch itself
        would use: packed where it can be.

    Returns
    -------
    dict of str to ndarray
        Sharing no memory with the module.

    Raises
    ------
    ValueError
        PyTorch has no such module, or not in this layout.
    """
    equal = module.d_q == module.d_k == module.d_v
    layout = layout or ("packed" if equal else "separate")
    _check_expressible(module, layout, equal)
    e = module.d_q
    rows = {c: getattr(module, f"W_{c}").data.reshape(e, -1) for c in "qkv"}
    if layout == "packed":
        state = {"in_proj_weight": np.concatenate(list(rows.values()))}
    else:
        state = {f"{c}_proj_weight": weight.copy() for c, weight in rows.items()}
    if module.b_q is not None:
        biases = [getattr(module, f"b_{c}").data.reshape(-1) for c in "qkv"]
        state["in_proj_bias"] = np.concatenate(biases)
    if module.bias_k is not None and module.bias_v is not None:
        state["bias_k"] = module.bias_k.data.reshape(1, 1, e).copy()
        state["bias_v"] = module.bias_v.data.reshape(1, 1, e).copy()
    state["out_proj.weight"] = module.W_o.data.copy()
    if module.b_o is not None:
        state["out_proj.bias"] = module.b_o.data.copy()
    return state


def _check_expressible(module: MultiHeadAttention, layout: str, equal: bool) -> None:
    from .pooling import DotProductAttention

    if layout not in ("packed", "separate"):
        raise ValueError(f"to_torch: layout is {layout!r}, expected 'packed' or 'separate'")
    if layout == "packed" and not equal:
        raise ValueError(
            f"to_torch: queries, keys and values are {module.d_q}, {module.d_k} and {module.d_v} "
            "wide, so their matrices cannot be packed into one; say layout='separate'"
        )
    h, e = module.num_heads, module.d_q
    reasons = {
        "its heads' widths are not embed_dim / num_heads": (
            {h * module.p_q, h * module.p_k, h * module.p_v} != {e}
        ),
        "its output is not embed_dim wide": module.p_o != e,
        "heads share keys and values (num_kv_heads)": module.num_kv_heads != h,
        "its pooling is not a dot product": (
            getattr(type(module.pooling), "scores", None) is not DotProductAttention.scores
        ),
        "its scale is not 1/√p": getattr(module.pooling, "scale", None) is not None,
        "it rotates by positions": module.rotary is not None,
    }
    why = [reason for reason, holds in reasons.items() if holds]
    if why:
        raise ValueError(f"to_torch: torch.nn.MultiheadAttention cannot be this: {'; '.join(why)}")
