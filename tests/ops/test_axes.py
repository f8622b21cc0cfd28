"""What an operation says about an axis is true of its numbers.

``op.axis`` claims: axis a of this input is axis b of the output. That means that the
output's slice i along b depends on the input's slice i along a, and on no other. The
heads' lanes in the picture rest on it.
"""

import numpy as np

from tests.support.cases import CASES, Case, each_case


def _followed(case: Case) -> list[tuple[int, int, int]]:
    """(input, its axis, the output's axis) for every axis that the rule follows."""
    if case.op.axis is None:
        return []
    arrays = case.arrays()
    shapes = [np.shape(x) for x in arrays]
    out = np.shape(case.run(*arrays))
    claims = []
    for which in case.floating:
        for axis in range(len(shapes[which])):
            there = case.op.axis(axis, which, shapes, out, case.params)
            if there is not None:
                assert 0 <= there < len(out), "an output axis counts from the left"
                assert out[there] == shapes[which][axis], "a followed axis keeps its size"
                claims.append((which, axis, there))
    return claims


@each_case
def test_followed_axis_keeps_its_slices_apart(case: Case) -> None:
    for which, axis, there in _followed(case):
        arrays, others = case.arrays(), case.arrays(seed=7)
        before = np.asarray(case.run(*arrays))
        for i in range(before.shape[there]):
            moved = list(arrays)
            moved[which] = arrays[which].copy()
            here = (*[slice(None)] * axis, i)
            moved[which][here] = others[which][here]
            after = np.asarray(case.run(*moved))
            changed = np.moveaxis(after != before, there, 0)
            assert not np.delete(changed, i, axis=0).any(), (
                f"input {which}, axis {axis}: slice {i} reaches other slices of axis {there}"
            )


def test_the_check_has_something_to_check() -> None:
    assert sum(len(_followed(case)) for case in CASES) > 100
