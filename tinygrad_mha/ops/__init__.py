"""Every operation: formula, forward, gradient. Importing this room registers them all."""

from ..engine.tensor import Tensor
from . import inplace as _inplace  # noqa: F401  (it gives tensors their methods)
from . import numpy_protocol, operators
from .attention import (
    additive_scores,
    attention_weights,
    dot_scores,
    scaled_dot_product_attention,
)
from .creation import arange, astype, clone, eye, from_numpy, full, ones, zeros
from .elementwise import (
    add,
    div,
    eq,
    erf,
    exp,
    ge,
    gelu,
    gt,
    le,
    log,
    lt,
    masked_fill,
    mul,
    ne,
    neg,
    pow,
    relu,
    sigmoid,
    sqrt,
    sub,
    tanh,
    where,
)
from .heads import merge_heads, split_heads
from .index import embedding, getitem
from .linalg import linear, matmul
from .loss import cross_entropy
from .normalize import layer_norm, log_softmax, masked_softmax, softmax
from .random import dropout, generator, manual_seed, rand, randint, randn
from .reduce import amax, argmax, mean, sum
from .shape import cat, expand, flatten, permute, reshape, squeeze, sum_to, transpose, unsqueeze

operators.attach(Tensor)
numpy_protocol.attach(Tensor)

__all__ = [
    "add",
    "additive_scores",
    "amax",
    "arange",
    "argmax",
    "astype",
    "attention_weights",
    "cat",
    "clone",
    "cross_entropy",
    "div",
    "dot_scores",
    "dropout",
    "embedding",
    "eq",
    "erf",
    "exp",
    "expand",
    "eye",
    "flatten",
    "from_numpy",
    "full",
    "ge",
    "gelu",
    "generator",
    "getitem",
    "gt",
    "layer_norm",
    "le",
    "linear",
    "log",
    "log_softmax",
    "lt",
    "manual_seed",
    "masked_fill",
    "masked_softmax",
    "matmul",
    "mean",
    "merge_heads",
    "mul",
    "ne",
    "neg",
    "ones",
    "permute",
    "pow",
    "rand",
    "randint",
    "randn",
    "relu",
    "reshape",
    "scaled_dot_product_attention",
    "sigmoid",
    "softmax",
    "split_heads",
    "sqrt",
    "squeeze",
    "sub",
    "sum",
    "sum_to",
    "tanh",
    "transpose",
    "unsqueeze",
    "where",
    "zeros",
]
