"""Layers, and the attention that the rest of the package exists for."""

from . import functional, masks, utils
from .attention import MultiHeadAttention
from .cache import KeyValueCache
from .layers import GELU, Dropout, Embedding, LayerNorm, Linear, ReLU, Tanh
from .module import Module, ModuleList, Parameter, Sequential
from .pooling import AdditiveAttention, AttentionPooling, DotProductAttention, GaussianAttention
from .positions import LearnedPositions, RotaryPositions, SinusoidalPositions
from .transformer import GPT, TransformerBlock, generate

__all__ = [
    "GELU",
    "GPT",
    "AdditiveAttention",
    "AttentionPooling",
    "DotProductAttention",
    "Dropout",
    "Embedding",
    "GaussianAttention",
    "KeyValueCache",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "ReLU",
    "RotaryPositions",
    "Sequential",
    "SinusoidalPositions",
    "Tanh",
    "TransformerBlock",
    "functional",
    "generate",
    "masks",
    "utils",
]
