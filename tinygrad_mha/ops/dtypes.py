"""Names of dtypes, which are NumPy's, and of a few numbers."""

from __future__ import annotations

import math

import numpy as np

float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
uint8 = np.dtype(np.uint8)
bool = np.dtype(np.bool_)

pi, inf, nan = math.pi, math.inf, math.nan
