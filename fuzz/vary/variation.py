# SPDX-License-Identifier: Apache-2.0
"""What one number of a case is: the case with another value of it, if there is one that is worth a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fuzz.case import Case, Sharding, is_uneven
from fuzz.ops.core import case_bytes, specs

# Past all boundaries of index arithmetic but those of 24 and more bits: 65537 elements and twice as many.
MOST_ELEMENTS = 1 << 17
MOST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Variation:
    """One number of a case."""

    what: str
    value: int  # what the case has
    at: Callable[[int], Case | None]  # None where there is no such case
    least: int = 1
    most: int = MOST_ELEMENTS
    only: tuple[int, ...] = ()  # the values there are, where they are few


def affordable(case: Case | None, like: Case) -> Case | None:
    """The case, unless it is too large to run often or splits a dim unevenly that was split evenly."""
    if case is None:
        return None
    known = specs(case)
    if max(spec.elements for spec in known.values()) > MOST_ELEMENTS or case_bytes(case) > MOST_BYTES:
        return None
    return None if uneven(case) and not uneven(like) else case


def uneven(case: Case) -> bool:
    known = specs(case)
    return any(is_uneven(known[name].shape, sharding, case.mesh) for name, sharding in _stated(case))


def _stated(case: Case) -> list[tuple[str, Sharding]]:
    stated: list[tuple[str, Sharding]] = [(value.name, value.sharding) for value in case.inputs]
    stated += [(node.name, node.sharding) for node in case.nodes if node.sharding is not None]
    stated += [(output.name, output.sharding) for output in case.outputs if output.sharding is not None]
    return stated


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
