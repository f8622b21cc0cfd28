"""Gradients: ``tm.autograd.grad``, ``backward``, ``steps``, ``gradcheck`` and the switches."""

from .engine import (
    Flow,
    Function,
    Node,
    Step,
    backward,
    detect_anomaly,
    enable_grad,
    grad,
    gradcheck,
    gradgradcheck,
    inference_mode,
    is_grad_enabled,
    no_grad,
    record_origin,
    set_grad_enabled,
    steps,
)
from .recompute import checkpoint

__all__ = [
    "Flow",
    "Function",
    "Node",
    "Step",
    "backward",
    "checkpoint",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "record_origin",
    "set_grad_enabled",
    "steps",
]
