"""Trace → graph → picture."""

from .explain import explain
from .graph import Graph
from .trace import trace

__all__ = ["Graph", "explain", "trace"]
