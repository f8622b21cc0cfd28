"""Arrays in, arrays out, fast.

Each function checks the shapes and dtypes of its arguments and hands them to one of two
backends: kernels written on a SIMD vector type and compiled by numba when first called
(:mod:`.compiled`, on :mod:`.matrix`, :mod:`.rows`, :mod:`.elements`,
:mod:`.fused_attention`), or their twins in plain NumPy (:mod:`.reference`), which say in a
line or two what is computed.
"""

from .activations import (
    erf,
    exp,
    gelu,
    gelu_backward,
    relu_backward,
    sigmoid,
    silu,
    silu_backward,
    tanh,
)
from .ahead import prepare
from .attentions import (
    additive_attention,
    additive_attention_backward,
    additive_scores,
    additive_scores_backward,
    attention,
    attention_backward,
    attention_weights,
    kept,
)
from .backend import BACKENDS, backend, use_backend
from .dispatch import on_compile
from .errors import squared_error
from .norms import layer_norm, layer_norm_backward
from .products import (
    column_sums,
    embedding_backward,
    linear,
    linear_gradients,
    matmul,
    quick_product,
)
from .softmaxes import (
    cross_entropy,
    cross_entropy_backward,
    log_softmax,
    log_softmax_backward,
    logsumexp,
    small_softmax,
    softmax,
    softmax_backward,
)
from .threads import get_num_threads, set_num_threads
from .updates import adamw_step, sgd_step

__all__ = [
    "BACKENDS",
    "adamw_step",
    "additive_attention",
    "additive_attention_backward",
    "additive_scores",
    "additive_scores_backward",
    "attention",
    "attention_backward",
    "attention_weights",
    "backend",
    "column_sums",
    "cross_entropy",
    "cross_entropy_backward",
    "embedding_backward",
    "erf",
    "exp",
    "gelu",
    "gelu_backward",
    "get_num_threads",
    "kept",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_gradients",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "matmul",
    "on_compile",
    "prepare",
    "quick_product",
    "relu_backward",
    "set_num_threads",
    "sgd_step",
    "sigmoid",
    "silu",
    "silu_backward",
    "small_softmax",
    "softmax",
    "softmax_backward",
    "squared_error",
    "tanh",
    "use_backend",
]
