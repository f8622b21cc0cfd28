"""Layers, and the attention that the rest of the package exists for."""

from . import functional, masks, utils
from .attention import (
    AdditiveAttention,
    AttentionPooling,
    DotProductAttention,
    MultiHeadAttention,
)
from .layers import GELU, Dropout, Embedding, LayerNorm, Linear, ReLU, Tanh
from .module import Module, ModuleList, Parameter, Sequential
from .transformer import GPT, TransformerBlock, generate

__all__ = [
    "GELU",
    "GPT",
    "AdditiveAttention",
    "AttentionPooling",
    "DotProductAttention",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "ReLU",
    "Sequential",
    "Tanh",
    "TransformerBlock",
    "functional",
    "generate",
    "masks",
    "utils",
]
