"""Multi-head attention: h poolings in parallel, each with its own view, then combined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import ops
from ..engine import Tensor
from ..ops.fused_attention import new_seed
from ..ops.multi_head import self_attention_and_weights
from . import attention_inputs, head_by_head, initial, torch_keywords, torch_layout
from .attention_inputs import Call
from .cache import KeyValueCache
from .checks import expect_number
from .module import Module, Parameter
from .pooling import AdditiveAttention, DotProductAttention, GaussianAttention

METHODS = ("fused", "formula")


class MultiHeadAttention(Module):
    """h attention poolings in parallel, each on its own learned view, then combined.

    Head i projects with matrices of its own, pools, and all heads' outputs are
    combined by one more::

        hᵢ  = f(Wᵢ^(q) q, Wᵢ^(k) k, Wᵢ^(v) v)          i = 1 … h
        out = W_o [h₁; …; hₕ] = Σᵢ W_o[:, i-th block] hᵢ

    (Vaswani et al. 2017, section 3.2.2). All widths are free; h·p = embed_dim is the default.

    Parameters
    ----------
    embed_dim : int
        Width d_q of the queries.
    num_heads : int
        h.
    kdim, vdim : int, optional
        Widths d_k and d_v of keys and values; by default embed_dim.
    qk_head_dim : int or (int, int), optional
        Width p_q = p_k of a head's queries and keys, or the two apart, which additive
        attention allows; by default embed_dim / h.
    v_head_dim : int, optional
        Width p_v of a head's values; by default embed_dim / h.
    out_dim : int, optional
        Width p_o of the output; by default embed_dim.
    attention : {"dot", "additive", "gaussian"} or Module
        The pooling f, shared by the heads; or one of your own, for example a subclass of
        :class:`AttentionPooling`. The Gaussian's width is learned, and begins at p^¼: its scores
        then contain qᵀk / √p, as dot products do.
    bias : bool, default True
        Whether the projections have biases b_q, b_k, b_v, b_o.
    dropout : float, default 0
        Probability with which a weight is dropped, in training. A pooling of your own has its own.
    scale : float, optional
        Of the dot product, instead of 1/√p.
    num_kv_heads : int, optional
        Number g of heads of keys and values, a divisor of h; by default h. Each is shared by
        h/g consecutive heads: grouped queries (Ainslie et al. 2023), and for g = 1 the one
        key/value head of multi-query attention (Shazeer 2019).
    add_bias_kv : bool, default False
        Append one learned key and value that every query may see.
    add_zero_attn : bool, default False
        Append one key and value of zeros, so that a head may attend to nothing.
    rotary : RotaryPositions, optional
        Rotates every head's queries and keys by their positions.
    method : {"fused", "formula"}
        All heads in one product, or one after the other just as the formula reads. The results
        are the same; ``mha.method`` may be switched at any time.
    init : {"heads", "torch"}
        First values: Xavier-uniform (Glorot, Bengio 2010), every matrix by each head's own fan,
        W_o by its own; or as PyTorch draws them: by the fan of all heads' matrices stacked, and
        of those for queries, keys and values too where their widths are equal, which makes the
        bound smaller by 1/√2 there; W_o uniform within ±1/√(h·p_v).

    Attributes
    ----------
    W_q, W_k, W_v : Parameter
        ``(h, p_q, d_q)``, ``(g, p_k, d_k)``, ``(g, p_v, d_v)``: ``W_q[i]`` is the formula's
        Wᵢ^(q).
    W_o : Parameter
        ``(p_o, h·p_v)``.
    b_q, b_k, b_v, b_o : Parameter or None
        ``(h, p_q)``, ``(g, p_k)``, ``(g, p_v)``, ``(p_o,)``; at first 0.
    bias_k, bias_v : Parameter or None
        ``(g, p_k)``, ``(g, p_v)``: the appended key and value, if `add_bias_kv`.
    pooling : Module
        f.

    Raises
    ------
    ValueError
        Widths or options that do not fit.
    TypeError
        An option that there is not, such as PyTorch's ``batch_first``: the batch is always first.

    Notes
    -----
    A mask of two axes is ``(L, S)``, one row per query. PyTorch's ``key_padding_mask`` has two
    axes too, ``(N, S)``, and the other polarity; where N = L the shapes cannot tell the two
    apart, and it would be read as ``(L, S)``. Padding therefore has its own functions, from
    lengths or from such a mask, whose results ``(N, 1, S)`` cannot be mistaken:
    ``masks.padding([3, 5], 5)`` and ``masks.from_key_padding_mask(ignored)``.

    Under dot products b_k changes nothing, and its gradient is 0: it adds the same number to a
    query's scores with all keys, which a softmax does not see (unless a key is appended, which
    has no bias). It is there because PyTorch's checkpoints have it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> mha = tm.nn.MultiHeadAttention(32, 4)
    >>> x = tm.randn(2, 5, 32)
    >>> out, weights = mha(x, is_causal=True, need_weights=True)
    >>> out.shape, weights.shape
    ((2, 5, 32), (2, 4, 5, 5))

    Items of 3 and of 5 words, padded to 5: nobody attends to the padding.

    >>> _, weights = mha(x, mask=tm.nn.masks.padding([3, 5], 5), need_weights=True)
    >>> weights[0, ..., 3:].sum().item(), bool((weights[1] > 0).all())
    (0.0, True)

    A head's importance is the gradient at its gate (Michel et al. 2019, eq. 2):

    >>> gates = tm.ones(4, requires_grad=True)
    >>> mha(x, head_mask=gates).sum().backward()
    >>> gates.grad.shape
    (4,)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *more: Any,
        kdim: int | None = None,
        vdim: int | None = None,
        qk_head_dim: int | tuple[int, int] | None = None,
        v_head_dim: int | None = None,
        out_dim: int | None = None,
        attention: str | Module = "dot",
        bias: bool = True,
        dropout: float = 0.0,
        scale: float | None = None,
        num_kv_heads: int | None = None,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        rotary: Module | None = None,
        method: str = "fused",
        init: str = "heads",
        **unknown: Any,
    ) -> None:
        super().__init__()
        torch_keywords.refuse("MultiHeadAttention", unknown, more)
        self.num_heads = num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        attention_inputs.check_sizes(
            self, embed_dim, qk_head_dim, v_head_dim, kdim=kdim, vdim=vdim, out_dim=out_dim
        )
        self.method = method
        if rotary is not None and add_bias_kv:
            raise ValueError("MultiHeadAttention: add_bias_kv's key has no position to be rotated")
        even = embed_dim // num_heads
        p_qk = even if qk_head_dim is None else qk_head_dim
        self.p_q, self.p_k = p_qk if isinstance(p_qk, tuple) else (p_qk, p_qk)
        self.p_v = even if v_head_dim is None else v_head_dim
        self.d_q = embed_dim
        self.d_k = embed_dim if kdim is None else kdim
        self.d_v = embed_dim if vdim is None else vdim
        self.p_o = embed_dim if out_dim is None else out_dim
        self.add_zero_attn = add_zero_attn
        self.pooling = _pooling(attention, self.p_q, self.p_k, dropout, scale)
        self.rotary = rotary
        attention_inputs.check_rotary(rotary, self.p_q, self.p_k)
        equal = isinstance(self.pooling, DotProductAttention | GaussianAttention)
        if self.p_q != self.p_k and equal:
            raise ValueError(
                f"MultiHeadAttention: qk_head_dim={qk_head_dim}: a dot product or a distance needs "
                "equal widths for queries and keys; attention='additive' does not"
            )
        self._make_parameters(init, bias, add_bias_kv)

    def _make_parameters(self, init: str, bias: bool, add_bias_kv: bool) -> None:
        h, g, bound = self.num_heads, self.num_kv_heads, initial.bounds(self, init)
        self.W_q = initial.uniform(bound["q"], h, self.p_q, self.d_q)
        self.W_k = initial.uniform(bound["k"], g, self.p_k, self.d_k)
        self.W_v = initial.uniform(bound["v"], g, self.p_v, self.d_v)
        self.W_o = initial.uniform(bound["o"], self.p_o, h * self.p_v)
        self.b_q = initial.zeros(h, self.p_q) if bias else None
        self.b_k = initial.zeros(g, self.p_k) if bias else None
        self.b_v = initial.zeros(g, self.p_v) if bias else None
        self.b_o = initial.zeros(self.p_o) if bias else None
        self.bias_k = initial.normal(g, self.p_k) if add_bias_kv else None
        self.bias_v = initial.normal(g, self.p_v) if add_bias_kv else None

    @property
    def method(self) -> str:
        """How the heads are computed: "fused" or "formula"."""
        return self._method

    @method.setter
    def method(self, method: str) -> None:
        if method not in METHODS:
            raise ValueError(f"MultiHeadAttention: method is {method!r}, expected one of {METHODS}")
        self._method = method

    # -- the computation ---------------------------------------------------------------

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *more: Any,
        mask: Tensor | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
        head_mask: Any = None,
        cache: KeyValueCache | None = None,
        **unknown: Any,
    ) -> Any:
        """Attend.

        Parameters
        ----------
        query : Tensor
            ``(N, L, d_q)`` or ``(L, d_q)``.
        key : Tensor, optional
            ``(N, S, d_k)``; by default the query: self-attention.
        value : Tensor, optional
            ``(N, S, d_v)``; by default the key.
        mask : Tensor, optional
            Boolean, **True = may attend**; or floating, added to the scores. Shape ``(L, S)``,
            ``(N, L, S)``, or four dimensions that broadcast to ``(N, h, L, S)``. With a cache,
            S counts the remembered keys too.
        is_causal : bool, default False
            Query i sees keys 0 … i; with a cache, all remembered ones besides. Where the queries
            are the last L of S keys, say ``mask=masks.causal(L, S, offset=S - L)``.
        need_weights : bool, default False
            Return every head's weights too.
        head_mask : Tensor or array_like, optional
            ``(h,)`` or ``(N, h)``: gates by which each hᵢ is multiplied, before W_o. 0 takes a
            head away; the gradient at a gate of 1 is the head's importance.
        cache : KeyValueCache, optional
            Keys and values of earlier calls come before those of this one, and these are
            remembered in turn. A fixed one stands for the keys and values themselves.

        Returns
        -------
        out : Tensor
            ``(N, L, p_o)``.
        weights : Tensor
            ``(N, h, L, S)``, per head, before dropout; only if `need_weights`. The appended
            keys are the last columns: S + 1 or S + 2.

        Raises
        ------
        ValueError
            A width, a length or the mask does not fit.
        TypeError
            An input is no tensor of the parameters' dtype, the mask is of integers, or a
            keyword is PyTorch's.

        Warns
        -----
        UserWarning
            A floating mask holds only zeros and ones: it is added all the same. Or a boolean one
            shows every query only what comes after it, as PyTorch's causal mask does here.
        """
        if unknown or more:
            torch_keywords.refuse("MultiHeadAttention", unknown, more)
        pooled, weights, batched = self._pool(
            query, key, value, mask, is_causal, need_weights, head_mask, cache
        )
        if self.method == "fused":
            out = ops.combine_heads(pooled, self.W_o, self.b_o)  # (N, h, L, p_v) -> (N, L, p_o)
        else:
            out = head_by_head.sum_of_heads(self, pooled)
        if not batched:
            out = out.squeeze(0)
            weights = None if weights is None else weights.squeeze(0)
        return (out, weights) if need_weights else out

    def contributions(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        is_causal: bool = False,
        head_mask: Any = None,
    ) -> Tensor:
        """What each head adds to the output: W_o[:, i-th block] hᵢ.

        The output is their sum over the heads, plus b_o.

        Parameters
        ----------
        query, key, value, mask, is_causal, head_mask
            As in a call of the module.

        Returns
        -------
        Tensor
            ``(N, h, L, p_o)``.

        Examples
        --------
        >>> import numpy as np, tinygrad_mha as tm
        >>> mha, x = tm.nn.MultiHeadAttention(8, 2), tm.randn(1, 3, 8)
        >>> parts = mha.contributions(x)
        >>> parts.shape, np.allclose((parts.sum(1) + mha.b_o).data, mha(x).data, atol=1e-6)
        ((1, 2, 3, 8), True)
        """
        pooled, _, batched = self._pool(query, key, value, mask, is_causal, False, head_mask, None)
        if isinstance(pooled, list):
            pooled = ops.cat([one.unsqueeze(1) for one in pooled], dim=1)  # (N, h, L, p_v)
        # (p_o, h·p_v) -> (p_o, h, p_v) -> (h, p_v, p_o)
        blocks = ops.permute(ops.reshape(self.W_o, (self.p_o, self.num_heads, self.p_v)), (1, 2, 0))
        parts: Tensor = pooled @ blocks
        return parts if batched else parts.squeeze(0)

    def _pool(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        mask: Tensor | None,
        is_causal: bool,
        need_weights: bool,
        head_mask: Any,
        cache: KeyValueCache | None,
    ) -> tuple[Any, Any, bool]:
        """Pool in every head: (N, h, L, p_v), or a list of h tensors (N, L, p_v); weights."""
        key = query if key is None else key
        value = key if value is None else value
        attention_inputs.check_call(is_causal, cache)
        attention_inputs.check_inputs(self, query, key, value)
        batched = query.ndim == 3
        if not batched:
            one = query is key is value
            query = query.unsqueeze(0)
            key, value = (query, query) if one else (key.unsqueeze(0), value.unsqueeze(0))
        past = 0 if cache is None or cache.fixed else len(cache)
        if cache is not None and cache.known and cache.all()[0].shape[:2] != key.shape[:2]:
            n, keys = cache.all()[0].shape[:2]
            raise ValueError(
                f"MultiHeadAttention: key has shape {key.shape}, but the fixed cache holds "
                f"{keys} keys of {n} items; it serves one memory: make another, or clear() it"
            )
        mask, is_causal = attention_inputs.brought_mask(self, mask, is_causal, query, key, past)
        gates = attention_inputs.brought_gates(self, head_mask, query.shape[0])
        call = Call(mask, is_causal, need_weights, gates, cache, past)
        if self.method == "fused":
            return *self._fused(query, key, value, call), batched
        return *head_by_head.pool_each(self, query, key, value, call), batched

    def _fused(self, query: Tensor, key: Tensor, value: Tensor, call: Call) -> tuple[Any, Any]:
        """All heads in one product."""
        if query is key is value and self._plain(call):
            return self._self_attention(query, call)
        q = ops.split_heads(_together(query, self.W_q, self.b_q), self.num_heads)  # (N, h, L, p_q)
        cache = call.cache
        if cache is not None and cache.known:
            keys, values = cache.all()
        else:
            keys, values = _together(key, self.W_k, self.b_k), _together(value, self.W_v, self.b_v)
            if cache is not None:
                keys, values = cache.append(keys, values)
        k = self._heads(keys, self.bias_k)  # (N, h, S, p_k)
        v = self._heads(values, self.bias_v)  # (N, h, S, p_v)
        if self.rotary is not None:
            q, k = self.rotary(q, call.past), self.rotary(k)
        pooled, weights = attention_inputs.pooled_by(
            self.pooling, call.need_weights, q, k, v, mask=call.mask, is_causal=call.is_causal
        )
        if call.gates is not None:
            pooled = pooled * call.gates
        return pooled, weights

    def _plain(self, call: Call) -> bool:
        """Whether nothing stands between projecting and pooling, or wants to see it."""
        pooling = self.pooling
        return (
            type(pooling) is DotProductAttention
            and pooling._hooks is None
            and not self.add_zero_attn
            and (call.cache is None and self.rotary is None and self.bias_k is None)
            and self.W_q.shape == self.W_k.shape == self.W_v.shape
        )

    def _self_attention(self, x: Tensor, call: Call) -> tuple[Any, Any]:
        """Projections of one input, and pooling by dot products, as one operation."""
        pooling = self.pooling
        assert isinstance(pooling, DotProductAttention)
        dropout = pooling.dropout if pooling.training else 0.0
        given = (
            x, self.W_q, self.W_k, self.W_v, self.b_q, self.b_k, self.b_v, call.mask,
            pooling.scale, call.is_causal, dropout, new_seed(dropout),
        )  # fmt: skip
        if call.need_weights:
            pooled, weights = self_attention_and_weights(*given)
        else:
            pooled, weights = ops.self_attention(*given), None
        return pooled if call.gates is None else pooled * call.gates, weights

    def _heads(self, together: Tensor, bias: Parameter | None) -> Any:
        """Append what is to be appended, and share: (N, S, g·p) -> (N, h, S, p).

        All of it happens before the heads are split, so that what lies between there and
        ``merge_heads`` has one part for each head, and can be followed head by head.
        """
        h, g = self.num_heads, self.num_kv_heads
        together = attention_inputs.appended(self, together, bias)
        if g < h:
            n, length, width = together.shape
            p = width // g
            # (N, S, g·p) -> (N, S, g, 1, p) -> (N, S, g, h/g, p) -> (N, S, h·p)
            each = ops.reshape(together, (n, length, g, 1, p))
            each = ops.expand(each, (n, length, g, h // g, p))
            together = ops.reshape(each, (n, length, h * p))
        return ops.split_heads(together, h)

    def _adapt_state(self, state: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
        """Read PyTorch's names and layouts too; see :mod:`tinygrad_mha.nn.torch_layout`."""
        return torch_layout.adapt(state, prefix, self)

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        shared = "" if self.num_kv_heads == self.num_heads else f", kv heads={self.num_kv_heads}"
        return f"{self.d_q}, h={self.num_heads}{shared}, p={self.p_q}/{self.p_v}, out={self.p_o}"


def _together(x: Tensor, weight: Parameter, bias: Parameter | None) -> Any:
    """All heads' projections as one product: (N, T, d) -> (N, T, h·p)."""
    h, p, d = weight.shape
    return ops.linear(
        x,
        ops.reshape(weight, (h * p, d)),
        None if bias is None else ops.reshape(bias, (h * p,)),
    )


def _pooling(
    attention: str | Module, p_q: int, p_k: int, dropout: float, scale: float | None
) -> Module:
    if isinstance(attention, Module) and dropout:
        raise ValueError(
            f"MultiHeadAttention: dropout={dropout} belongs to the poolings made here; give it to "
            f"yours, {type(attention).__name__}"
        )
    if scale is not None:
        expect_number(scale, "MultiHeadAttention: scale")
    if scale is not None and attention != "dot":
        raise ValueError(
            f"MultiHeadAttention: scale={scale} belongs to attention='dot'; a pooling of another "
            "kind has its own options"
        )
    if isinstance(attention, Module):
        return attention
    if attention == "dot":
        return DotProductAttention(dropout, scale)
    if attention == "additive":
        return AdditiveAttention(p_q, p_k, p_q, dropout)
    if attention == "gaussian":
        return GaussianAttention(dropout, width=p_q**0.25, learn_width=True)
    raise ValueError(
        f"MultiHeadAttention: attention is {attention!r:.80}; it can be 'dot', 'additive', "
        "'gaussian' or a module: an instance, for example of a subclass of AttentionPooling"
    )
