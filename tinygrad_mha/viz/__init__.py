"""Trace → graph → picture."""

from .explain import explain
from .graph import Graph
from .reading import load
from .trace import trace

__all__ = ["Graph", "explain", "load", "trace"]
