"""The steps from the formula to the vector, as functions that write into their last argument."""

import numba

#: Division by zero is infinite, as in NumPy; other Python threads may run meanwhile.
compiled = numba.njit(nogil=True, error_model="numpy")
