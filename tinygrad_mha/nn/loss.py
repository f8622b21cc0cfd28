"""Losses as modules: each is the function of the same name, with its options kept."""

from __future__ import annotations

from .. import ops
from ..engine import Tensor
from .module import Module


class _Loss(Module):
    """Calls a loss by its name, with the options that the module was made with."""

    _operation = ""
    _options: tuple[str, ...] = ()

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, *inputs: Tensor) -> Tensor:
        """Compute the loss of what the function of the same name takes."""
        options = {name: getattr(self, name) for name in self._options}
        loss: Tensor = getattr(ops, self._operation)(*inputs, **options, reduction=self.reduction)
        return loss

    def extra_repr(self) -> str:
        """Options, for the printed form."""
        shown = {name: getattr(self, name) for name in (*self._options, "reduction")}
        return ", ".join(f"{k}={v!r}" for k, v in shown.items() if not isinstance(v, Tensor))


class MSELoss(_Loss):
    """Squared difference.

    See :func:`tinygrad_mha.nn.functional.mse_loss`.

    Parameters
    ----------
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "mse_loss"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class L1Loss(_Loss):
    """Absolute difference.

    See :func:`tinygrad_mha.nn.functional.l1_loss`.

    Parameters
    ----------
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "l1_loss"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class SmoothL1Loss(_Loss):
    """d²/2β where |d| < β, else |d| − β/2, with d the difference.

    See :func:`tinygrad_mha.nn.functional.smooth_l1_loss`.

    Parameters
    ----------
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    beta : float, default 1.0
        β.
    """

    _operation = "smooth_l1_loss"
    _options = ("beta",)

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta


class HuberLoss(_Loss):
    """d²/2 where |d| ≤ δ, else δ · (|d| − δ/2), with d the difference.

    See :func:`tinygrad_mha.nn.functional.huber_loss`.

    Parameters
    ----------
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    delta : float, default 1.0
        δ.
    """

    _operation = "huber_loss"
    _options = ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence from logarithms of probabilities.

    See :func:`tinygrad_mha.nn.functional.kl_div`.

    Parameters
    ----------
    reduction : str, default "mean"
        "mean", "batchmean", "sum" or "none"; "batchmean" is the mathematical one.
    log_target : bool, default False
        Whether the target is in logarithms too.
    """

    _operation = "kl_div"
    _options = ("log_target",)

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target


class BCELoss(_Loss):
    """Negative log-likelihood of yes or no, from probabilities.

    See :func:`tinygrad_mha.nn.functional.binary_cross_entropy`.

    Parameters
    ----------
    weight : Tensor, optional
        Factor of each loss.
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "binary_cross_entropy"
    _options = ("weight",)

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class BCEWithLogitsLoss(_Loss):
    """Negative log-likelihood of yes or no, from logits.

    See :func:`tinygrad_mha.nn.functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    weight : Tensor, optional
        Factor of each loss.
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    pos_weight : Tensor, optional
        How much a yes counts.
    """

    _operation = "binary_cross_entropy_with_logits"
    _options = (
        "weight",
        "pos_weight",
    )

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)


class CrossEntropyLoss(_Loss):
    """Negative log-likelihood of the target under the softmax of logits.

    See :func:`tinygrad_mha.nn.functional.cross_entropy`.

    Parameters
    ----------
    weight : Tensor, optional
        How much each class counts.
    ignore_index : int, default -100
        Targets with this index count for nothing.
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    label_smoothing : float, default 0.0
        How much of the target to spread over all classes.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> loss = tm.nn.CrossEntropyLoss()(tm.zeros(3, 4), tm.tensor([0, 1, 3]))
    >>> round(loss.item(), 4)  # ln 4
    1.3863
    """

    _operation = "cross_entropy"
    _options = (
        "weight",
        "ignore_index",
        "label_smoothing",
    )

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing


class NLLLoss(_Loss):
    """Negative log-likelihood of the target, from logarithms of probabilities.

    See :func:`tinygrad_mha.nn.functional.nll_loss`.

    Parameters
    ----------
    weight : Tensor, optional
        How much each class counts.
    ignore_index : int, default -100
        Targets with this index count for nothing.
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "nll_loss"
    _options = (
        "weight",
        "ignore_index",
    )

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index


class SoftMarginLoss(_Loss):
    """ln(1 + exp(−target · input)), for targets of 1 and −1.

    See :func:`tinygrad_mha.nn.functional.soft_margin_loss`.

    Parameters
    ----------
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "soft_margin_loss"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class HingeEmbeddingLoss(_Loss):
    """The input where the target is 1, max(0, margin − input) where it is −1.

    See :func:`tinygrad_mha.nn.functional.hinge_embedding_loss`.

    Parameters
    ----------
    margin : float, default 1.0
        See above.
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "hinge_embedding_loss"
    _options = ("margin",)

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin


class PoissonNLLLoss(_Loss):
    """Negative log-likelihood of counts under a Poisson distribution.

    See :func:`tinygrad_mha.nn.functional.poisson_nll_loss`.

    Parameters
    ----------
    log_input : bool, default True
        Whether the input is the logarithm of the expectation.
    full : bool, default False
        Whether to add Stirling's approximation.
    eps : float, default 1e-8
        Keeps a logarithm away from 0.
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "poisson_nll_loss"
    _options = (
        "log_input",
        "full",
        "eps",
    )

    def __init__(
        self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps


class GaussianNLLLoss(_Loss):
    """Negative log-likelihood under a normal distribution.

    See :func:`tinygrad_mha.nn.functional.gaussian_nll_loss`.

    Parameters
    ----------
    full : bool, default False
        Whether to add the constant.
    eps : float, default 1e-6
        The least variance.
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "gaussian_nll_loss"
    _options = (
        "full",
        "eps",
    )

    def __init__(self, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full = full
        self.eps = eps


class MarginRankingLoss(_Loss):
    """max(0, −target · (input1 − input2) + margin).

    See :func:`tinygrad_mha.nn.functional.margin_ranking_loss`.

    Parameters
    ----------
    margin : float, default 0.0
        See above.
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "margin_ranking_loss"
    _options = ("margin",)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin


class CosineEmbeddingLoss(_Loss):
    """1 − cos where the target is 1, max(0, cos − margin) where it is −1.

    See :func:`tinygrad_mha.nn.functional.cosine_embedding_loss`.

    Parameters
    ----------
    margin : float, default 0.0
        See above.
    reduction : str, default "mean"
        What becomes of the single losses: "mean", "sum" or "none".
    """

    _operation = "cosine_embedding_loss"
    _options = ("margin",)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin


class CosineSimilarity(Module):
    """Cosine of the angle between vectors along an axis.

    Parameters
    ----------
    dim : int, default 1
        The axis.
    eps : float, default 1e-8
        The least length to divide by.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Compare; the result has no axis `dim`."""
        y: Tensor = ops.cosine_similarity(x1, x2, self.dim, self.eps)
        return y
