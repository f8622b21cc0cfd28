"""Trace → graph → picture."""

from .explain import explain
from .film import Film
from .graph import Graph
from .reading import load
from .trace import trace

__all__ = ["Film", "Graph", "explain", "load", "trace"]
