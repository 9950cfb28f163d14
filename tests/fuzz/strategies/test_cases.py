# SPDX-License-Identifier: Apache-2.0
"""What drawn cases are like, taken together."""

from __future__ import annotations

from fuzz.case import Case, Mesh
from fuzz.strategies.sampling import sample
from fuzz.strategies.space import Space

MESHES = tuple(Mesh.parse(text) for text in ("2x2", "2x2", "2x2", "1x4", "1x2", "1x1"))
CASES = 150


def whole(case: Case) -> bool:
    return all(case.mesh.sizes[axis] == 1 for axis in case.used_axes)


def test_cases_without_a_split_are_few_and_not_left_out() -> None:
    """A fourth of the layouts that come of themselves split nothing, and find half as much as the others."""
    count = sum(whole(sample(Space(MESHES), 0, number)) for number in range(CASES))
    assert 0.02 * CASES < count < 0.15 * CASES


def test_a_space_of_one_device_has_cases_all_the_same() -> None:
    space = Space((Mesh.parse("1x1"),))
    assert all(whole(sample(space, 0, number)) for number in range(10))
