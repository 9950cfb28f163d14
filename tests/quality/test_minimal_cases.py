# SPDX-License-Identifier: Apache-2.0
"""The reducer's exact results: planted faults, each with the one minimal case that must come out.

A planted fault is a predicate that stands for a compiler bug. Each is met in five larger cases that differ in whatever
the fault does not need; all of them must reduce to the same text.
"""

from __future__ import annotations

import pytest
from catalogue import FAULTS
from growth import STARTS, starting_points
from notation import read, write
from planted import Fault

from fuzz.ops import get
from fuzz.reduce.order import complexity
from fuzz.reduce.reducer import reduce

EACH_FAULT = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@EACH_FAULT
def test_a_planted_fault_reduces_to_its_one_minimal_case_wherever_it_is_met(fault: Fault) -> None:
    """Within the runs that a campaign has for one reduction, of a real compiler at up to some seconds each."""
    for start in starting_points(fault):
        reduction = reduce(start, fault.fails, max_seconds=300)
        assert write(reduction.case) == fault.text
        assert reduction.minimal
        assert reduction.runs <= 75


@EACH_FAULT
def test_the_five_starting_points_of_a_fault_fail_and_differ(fault: Fault) -> None:
    starts = starting_points(fault)
    assert len({start.digest for start in starts}) == STARTS
    assert all(fault.fails(start) and complexity(start) > complexity(read(fault.text)) for start in starts)


def test_there_are_faults_in_all_families_of_ops() -> None:
    assert len(FAULTS) >= 40
    families = {get(node.op).family for fault in FAULTS for node in read(fault.text).nodes}
    assert families == {
        "indexed read", "indexed write", "ordering", "reduction", "shape", "elementwise", "comparison", "creation",
    }  # fmt: skip


def test_no_two_faults_are_one() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_the_notation_reads_what_it_writes() -> None:
    assert [write(read(fault.text)) for fault in FAULTS] == [fault.text for fault in FAULTS]
