"""What a tensor is, and how gradients flow. Knows numpy and nothing else.

Read in this order: :mod:`.tensor` (the value), :mod:`.node` (what a tensor
remembers of its making), :mod:`.op` (how an operation is defined, registered
and run), :mod:`.backward` (how a gradient walks back), :mod:`.forward` (how a
tangent walks forward), :mod:`.modes` (the switches), :mod:`.hooks` and
:mod:`.function` (the user's own part),
:mod:`.memory` and :mod:`.inplace` (writing into tensors), :mod:`.promotion` (dtypes),
:mod:`.gradcheck` (how all of it is held to account).
"""

from .backward import backward, grad, steps
from .forward import push_forward
from .function import Function
from .gradcheck import gradcheck, gradgradcheck
from .hooks import Handle
from .memory import touch
from .modes import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    record_origin,
    set_grad_enabled,
)
from .node import Frame, Given, Node, Scope
from .op import REGISTRY, Op, Sample, op
from .step import Flow, Step
from .tensor import Tensor, tensor

__all__ = [
    "REGISTRY",
    "Flow",
    "Frame",
    "Function",
    "Given",
    "Handle",
    "Node",
    "Op",
    "Sample",
    "Scope",
    "Step",
    "Tensor",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "op",
    "push_forward",
    "record_origin",
    "set_grad_enabled",
    "steps",
    "tensor",
    "touch",
]
