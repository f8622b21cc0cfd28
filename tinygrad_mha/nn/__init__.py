"""Layers, and the attention that the rest of the package exists for."""

from . import analysis, functional, masks, utils
from .attention import MultiHeadAttention
from .blocks import TransformerDecoderLayer, TransformerEncoderLayer
from .cache import KeyValueCache
from .encoder_decoder import EncoderDecoder
from .generation import generate, sample
from .layers import GELU, Dropout, Embedding, LayerNorm, Linear, ReLU, Tanh
from .module import Module, ModuleList, Parameter, Sequential
from .pooling import AdditiveAttention, AttentionPooling, DotProductAttention, GaussianAttention
from .positions import LearnedPositions, RotaryPositions, SinusoidalPositions
from .transformer import GPT, TransformerBlock

__all__ = [
    "GELU",
    "GPT",
    "AdditiveAttention",
    "AttentionPooling",
    "DotProductAttention",
    "Dropout",
    "Embedding",
    "EncoderDecoder",
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
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "analysis",
    "functional",
    "generate",
    "masks",
    "sample",
    "utils",
]
