"""Speed and accuracy beside NumPy and PyTorch: ``python -m tests.benchmarks``."""
