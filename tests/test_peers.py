# SPDX-License-Identifier: Apache-2.0
"""The parts of `tests/benchmarks/peers.py` that decide what is said of another project. No peer is installed here."""

from __future__ import annotations

import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

from peers import Contender, faster, sequence
from peers_faults import NEEDS, unable
from peers_tools import Driver, Tool, ToolFailed, python_of

from oracles.faults import FAULTS

WITHOUT_INDEX = {"ops": ["ReduceMax", "Slice"], "mesh": [], "emulated": ["sum_for_extremum"]}
DRAWN = {"ops": ["Slice"], "drawn": 7}

DRIVER = """
import os, sys, time
sys.path.insert(0, {folder!r})
from peers_driver import serve
def broken(): raise ValueError("no luck")
serve({{"say": lambda word: (print("noise"), word)[1], "sleep": lambda: time.sleep(60), "broken": broken,
       "die": lambda: os._exit(3)}})
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(folder=str(Path(__file__).parent / "benchmarks")))
    with Driver(Tool("fake", str(script)), Path(sys.executable), tmp_path) as running:
        yield running


def test_the_order_of_independent_ops_makes_no_other_sequence() -> None:
    assert sequence([["b", []], ["a", []], ["c", [0, 1]]]) == sequence([["a", []], ["b", []], ["c", [1, 0]]])


def test_the_order_of_dependent_ops_makes_another_sequence() -> None:
    assert sequence([["b", []], ["a", [0]]]) == ("b", "a")
    assert sequence([["a", []], ["b", [0]]]) == ("a", "b")


def test_an_op_that_reads_one_value_twice_is_in_the_sequence() -> None:
    assert sequence([["a", []], ["b", [0, 0]]]) == ("a", "b")


def test_every_fault_that_is_compared_exists() -> None:
    assert len(NEEDS) == 10
    assert set(NEEDS) <= set(FAULTS)


def test_a_peer_without_an_indexed_op_cannot_express_a_wrong_index_and_the_reason_names_its_source() -> None:
    reason = unable("NNSmith", "flat_index_11_bits", WITHOUT_INDEX, DRAWN)
    assert reason is not None
    assert "none of its 2 ops is an indexed read or write: nnsmith/abstract/op.py" in reason
    assert "7 cases" in reason


@pytest.mark.parametrize("peer", ["NNSmith", "xlaxiom"])
def test_a_peer_that_gains_a_gather_is_not_called_unable(peer: str) -> None:
    assert unable(peer, "flat_index_11_bits", {**WITHOUT_INDEX, "ops": ["Gather"]}, DRAWN) is None
    assert unable(peer, "flat_index_11_bits", WITHOUT_INDEX, {**DRAWN, "ops": ["gather_nd"]}) is None


def test_a_peer_whose_modules_mention_a_mesh_is_not_called_unable_to_lose_a_collective() -> None:
    assert unable("xlaxiom", "dropped_all_reduce", WITHOUT_INDEX, DRAWN) is not None
    assert unable("xlaxiom", "dropped_all_reduce", {**WITHOUT_INDEX, "mesh": ["xlaxiom/spmd.py"]}, DRAWN) is None


def test_a_peer_with_a_largest_along_a_dim_can_express_a_wrong_one() -> None:
    assert unable("NNSmith", "sum_for_extremum", WITHOUT_INDEX, DRAWN) is None


def test_a_ratio_compares_valid_cases_per_second() -> None:
    ours = Contender("meshfuzz", "", print, seconds=[1.0, 1.0], valid=[10, 30], cases=40)
    theirs = Contender("NNSmith", "", print, seconds=[2.0, 2.0], valid=[20, 20], cases=80)
    row = faster("graphs /s", ours, theirs)
    assert (row.ours, row.theirs, row.ratio, row.spread) == (20, 10, 2, (1, 3))
    assert row.note == "valid: ours 100.0% of 40, theirs 50.0% of 80"


def test_one_that_failed_has_no_ratio_but_a_reason() -> None:
    ours = Contender("meshfuzz", "", print, seconds=[1.0], valid=[10], cases=10)
    row = faster("graphs /s", ours, Contender("NNSmith", "", print, failure="it cannot be installed"))
    assert (row.ours, row.theirs, row.ratio, row.note) == (10, None, None, "it cannot be installed")


def test_one_that_failed_later_is_compared_over_its_turns() -> None:
    ours = Contender("meshfuzz", "", print, seconds=[1.0, 1.0], valid=[10, 1000], cases=1010)
    theirs = Contender("NNSmith", "", print, seconds=[1.0], valid=[5], cases=5, failure="it crashed")
    row = faster("graphs /s", ours, theirs)
    assert (row.ours, row.theirs, row.ratio) == (10, 5, 2)
    assert "it crashed" in row.note


def test_what_a_tool_prints_does_not_disturb_its_answer(driver: Driver) -> None:
    assert driver.ask("say", 20, word="hello") == "hello"


def test_a_driver_that_is_late_is_ended_and_the_next_question_starts_another(driver: Driver) -> None:
    driver.ask("say", 20, word="started")
    began = time.monotonic()
    with pytest.raises(ToolFailed, match="fake: sleep took more than 0 s"):
        driver.ask("sleep", 0.2)
    assert time.monotonic() - began < 10
    assert driver.ask("say", 20, word="again") == "again"


def test_a_driver_that_raises_says_why_and_goes_on(driver: Driver) -> None:
    with pytest.raises(ToolFailed, match="broken failed: ValueError: no luck"):
        driver.ask("broken", 20)
    assert driver.ask("say", 20, word="still here") == "still here"


def test_a_driver_that_dies_is_told(driver: Driver) -> None:
    with pytest.raises(ToolFailed, match="its driver ended with 3"):
        driver.ask("die", 20)


def test_a_tool_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(folder: Path, with_pip: bool) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/installed\n')
        (folder / "bin" / "python").chmod(0o755)

    monkeypatch.setattr(venv, "create", create)
    tool = Tool("fake", "driver.py", (("first==1",), ("second==2",)))
    assert python_of(tool, tmp_path) == python_of(tool, tmp_path)
    lines = (tmp_path / "installed").read_text().splitlines()
    assert [line.split()[-1] for line in lines] == ["first==1", "second==2"]


def test_a_tool_that_cannot_be_installed_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(folder: Path, with_pip: bool) -> None:
        """This Python instead of one of its own: making one takes seconds, and nothing gets installed."""
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (folder / "bin" / "python").chmod(0o755)

    monkeypatch.setattr(venv, "create", create)
    tool = Tool("fake", "driver.py", ((str(tmp_path / "no-such-wheel.whl"),),))
    with pytest.raises(ToolFailed, match=r"fake cannot be installed: .*no-such-wheel"):
        python_of(tool, tmp_path)
    assert not list(tmp_path.glob("fake-*/complete"))
