# SPDX-License-Identifier: Apache-2.0
"""The version that changed a case is found in both directions, past versions that cannot be judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.grid import Cell
from fuzz.versions.bisection import Answer, BisectionError, Criterion, Side, bisect, border
from oracles.outcome import Verdict

BUCKET = "WRONG shlo -> shlo_compiler, scatter: index collapsed"
PASS = Cell(Verdict.PASS, "compare", "", "PASS compare")
BAD = Cell(Verdict.WRONG, "shlo_compiler", "4 of 4 elements wrong", BUCKET)
OTHER = Cell(Verdict.WRONG, "ttnn", "1 of 4 elements wrong", "WRONG ttir -> ttnn, pad: constant lost")
LOUD = Cell(Verdict.COMPILE_ERROR, "ttir", "no such luck", "COMPILE_ERROR ttir: no such luck")
BARE = Cell(Verdict.COMPILE_ERROR, "ttir", "Error code: 13", "COMPILE_ERROR ttir: Error code: #")
DEAD = Cell(Verdict.ENV, "start", "the plugin does not start: SIGSEGV")


class Versions:
    """What the case does on each version, and which were asked for."""

    def __init__(self, *cells: Cell) -> None:
        self.names = [f"0.{number}" for number in range(len(cells))]
        self.cells = dict(zip(self.names, cells, strict=True))
        self.ran: list[str] = []

    def run(self, name: str) -> Cell:
        self.ran.append(name)
        return self.cells[name]

    def bisect(self, criterion: Criterion) -> Answer:
        return bisect(self.names, self.run, criterion)


@st.composite
def monotone(draw: st.DrawFn) -> tuple[list[Side], int]:
    """Sides of versions, old before new, any but the ends unknown; and the number of those that are."""
    count, first = draw(st.integers(2, 60)), draw(st.integers(1, 59))
    first = min(first, count - 1)
    skipped = draw(st.sets(st.integers(1, max(1, count - 2)))) & set(range(1, count - 1))
    sides = [Side.NEITHER if n in skipped else Side.OLD if n < first else Side.NEW for n in range(count)]
    return sides, len(skipped)


@given(monotone())
def test_the_border_is_right_and_few_versions_are_asked(drawn: tuple[list[Side], int]) -> None:
    sides, skips = drawn
    asked: list[int] = []

    def side(number: int) -> Side:
        asked.append(number)
        return sides[number]

    found = border(len(sides), side)
    assert (sides[found.old], sides[found.new]) == (Side.OLD, Side.NEW)
    assert set(sides[found.old + 1 : found.new]) <= {Side.NEITHER}
    assert len(asked) == len(set(asked)) <= math.ceil(math.log2(len(sides))) + skips


def _sequence(old: Cell, new: Cell) -> list[Cell]:
    return [old] * 5 + [new] * 4


@pytest.mark.parametrize(("old", "new", "words"), [(PASS, BAD, ("good", "bad")), (BAD, PASS, ("bad", "good"))])
def test_the_first_bad_version_and_the_first_fixed_one_are_found(old: Cell, new: Cell, words: tuple[str, str]) -> None:
    answer = Versions(*_sequence(old, new)).bisect(Criterion(*words, BUCKET))
    assert (answer.before, answer.suspects) == ("0.4", ("0.5",))
    assert f"first {words[1]}: 0.5; last {words[0]}: 0.4" in str(answer)


def test_both_sides_of_the_border_are_run_twice() -> None:
    versions = Versions(*_sequence(PASS, BAD))
    versions.bisect(Criterion("good", "bad", BUCKET))
    assert (versions.ran.count("0.4"), versions.ran.count("0.5")) == (2, 2)


def test_versions_that_cannot_be_judged_next_to_the_border_make_a_range() -> None:
    answer = Versions(PASS, PASS, DEAD, OTHER, BAD, BAD).bisect(Criterion("good", "bad", BUCKET))
    assert (answer.before, answer.suspects) == ("0.1", ("0.2", "0.3", "0.4"))
    assert "first bad: one of 0.2, 0.3, 0.4; last good: 0.1" in str(answer)
    assert "0.2, 0.3 could not be judged" in str(answer)
    assert "the plugin does not start: SIGSEGV" in str(answer)


def test_versions_that_cannot_run_elsewhere_do_not_blur_the_answer() -> None:
    answer = Versions(PASS, DEAD, PASS, BAD, DEAD, BAD).bisect(Criterion("good", "bad", BUCKET))
    assert answer.suspects == ("0.3",)


@pytest.mark.parametrize(
    ("cells", "criterion", "message"),
    [
        ((BAD, PASS, BAD), Criterion("good", "bad", BUCKET), f"0.0 is not good, which is to pass: {BUCKET}"),
        ((PASS, PASS, PASS), Criterion("good", "bad", BUCKET), "0.2 is not bad, which is to fail as WRONG"),
        ((PASS, PASS, OTHER), Criterion("good", "bad", BUCKET), "0.2 is not bad, which is to fail as WRONG"),
        ((PASS, PASS, PASS), Criterion("bad", "good"), "0.0 is not bad, which is to fail: PASS"),
        ((DEAD, PASS, BAD), Criterion("good", "bad", BUCKET), "0.0 cannot run the case: the plugin does not start"),
        ((BAD, PASS, BAD), Criterion("old", "new", BUCKET), "0.0 and 0.2 do the same: WRONG shlo"),
    ],
)
def test_an_end_that_is_not_what_it_was_said_to_be_is_named(
    cells: Sequence[Cell], criterion: Criterion, message: str
) -> None:
    with pytest.raises(BisectionError) as raised:
        Versions(*cells).bisect(criterion)
    assert str(raised.value).startswith(message)


def test_a_seed_is_bad_however_it_fails() -> None:
    assert Versions(LOUD, OTHER, PASS, PASS).bisect(Criterion("bad", "good")).suspects == ("0.2",)


def test_what_is_neither_good_nor_bad_can_be_bisected_as_old_and_new() -> None:
    """An error that became a wrong result: no version is good."""
    answer = Versions(LOUD, LOUD, LOUD, BAD, BAD).bisect(Criterion("old", "new", BUCKET))
    assert (answer.before, answer.suspects) == ("0.2", ("0.3",))


def test_an_error_without_a_message_is_the_bucket_whose_stage_it_has() -> None:
    criterion = Criterion("bad", "good", LOUD.says)
    assert criterion.side(BARE) is Side.OLD
    assert criterion.side(Cell(Verdict.COMPILE_ERROR, "ttnn", "", "COMPILE_ERROR ttnn: Error code: #")) is Side.NEITHER


def _flaky(versions: Versions, name: str) -> Callable[[str], Cell]:
    def run(asked: str) -> Cell:
        cell = versions.run(asked)
        return PASS if asked == name and versions.ran.count(name) > 1 else cell

    return run


def test_a_border_that_does_not_hold_a_second_time_is_no_answer() -> None:
    versions = Versions(*_sequence(PASS, BAD))
    with pytest.raises(BisectionError, match=r"0\.5 does not do the same every time: WRONG .*, then PASS"):
        bisect(versions.names, _flaky(versions, "0.5"), Criterion("good", "bad", BUCKET))
