# SPDX-License-Identifier: Apache-2.0
"""Where a failure begins is found in few runs, whatever the failure depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fuzz.boundary import boundaries
from fuzz.case import Attribute, Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec, is_uneven
from fuzz.case_file import load
from fuzz.evidence import Boundary
from fuzz.ops import specs
from fuzz.pool import Pool
from fuzz.vary import reach
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig

POSITION = Payload("position")
FOLDER = Path(__file__).parents[2] / "corpus" / "regressions"


def of(
    op: str, *inputs: Input, mesh: tuple[int, int] = (1, 1), result: Sharding | None = None, **keys: Attribute
) -> Case:
    node = Node("v0", op, tuple(value.name for value in inputs), tuple(sorted(keys.items())))
    return Case(Mesh(mesh, ("x", "y")), inputs, (node,), (Output("v0", result),))


def data(*shape: int, name: str = "x0", sharding: Sharding | None = None) -> Input:
    return Input(name, TensorSpec(shape, "f32"), POSITION, sharding or ((),) * len(shape))


def index(*shape: int, high: int, kind: str = "monotone") -> Input:
    return Input("x1", TensorSpec(shape, "i64"), Payload(kind, 0, high), ((),) * len(shape))


def found(case: Case, fails: Callable[[Case], bool | None], **keys: int) -> dict[str, Boundary]:
    return {boundary.what: boundary for boundary in boundaries(case, fails, **keys)}


def size(case: Case, dim: int = 0, number: int = 0) -> int:
    return case.inputs[number].spec.shape[dim]


FLIP = of("flip", data(8, sharding=(("y",),)), mesh=(1, 2), dims=(0,))
LOOKUP = of("gather", data(1, 2050), index(1, 2, high=2050), dim=1)


def test_a_threshold_in_a_size_is_found_exactly() -> None:
    boundary = found(of("flip", data(100), dims=(0,)), lambda case: size(case) > 77)["dim 0 of x0"]
    assert (boundary.largest_passing, boundary.smallest_failing) == (77, 78)


def test_a_threshold_above_the_case_is_found_too() -> None:
    boundary = found(of("flip", data(2), dims=(0,)), lambda case: size(case) < 1000)["dim 0 of x0"]
    assert not boundary.monotone
    assert {value: fails for value, fails in boundary.samples if value in (999, 1000)} == {999: True, 1000: False}
    assert str(boundary) == "dim 0 of x0: fails to 999; passes from 1000"


def test_a_failure_that_needs_even_sizes_is_reported_as_such() -> None:
    boundary = found(of("flip", data(2), dims=(0,)), lambda case: size(case) % 2 == 0)["dim 0 of x0"]
    assert not boundary.monotone
    assert boundary.divisor == 2
    assert "fails at values that are multiples of 2" in str(boundary)


def test_a_single_failing_value_is_reported_as_the_only_one() -> None:
    boundary = found(of("flip", data(5), dims=(0,)), lambda case: size(case) == 5)["dim 0 of x0"]
    assert str(boundary).startswith("dim 0 of x0: fails only at 5; passes at 1, ")


def test_a_size_that_does_not_matter_fails_at_every_value() -> None:
    boundary = found(of("flip", data(2), dims=(0,)), lambda case: True)["dim 0 of x0"]
    assert str(boundary) == "dim 0 of x0: fails at every value tried, 1 to 131072"


def test_a_failure_that_needs_two_shards_says_so() -> None:
    boundary = found(FLIP, lambda case: case.mesh.sizes["y"] >= 2, devices=4)["devices along y"]
    assert boundary.samples == ((1, False), (2, True), (4, True))


def test_a_failure_that_needs_four_devices_is_not_split_unevenly_on_the_way() -> None:
    case = of("flip", data(2, sharding=(("y",),)), mesh=(1, 2), dims=(0,))
    seen: list[Case] = []

    def fails(candidate: Case) -> bool:
        seen.append(candidate)
        return True

    found(case, fails, devices=8)
    assert {candidate.mesh.sizes["y"] for candidate in seen} == {1, 2, 4, 8}
    inputs = [(candidate.inputs[0], candidate.mesh) for candidate in seen]
    assert not any(is_uneven(value.spec.shape, value.sharding, mesh) for value, mesh in inputs)


def test_of_two_split_tensors_the_one_that_matters_is_named() -> None:
    inputs = (data(2, sharding=(("y",),)), data(2, name="x1", sharding=(("y",),)))
    case = of("add", *inputs, mesh=(1, 2))
    said = found(case, lambda candidate: any(candidate.inputs[1].sharding), devices=2)
    assert said["shards of dim 0 of x1"].samples == ((1, False), (2, True))
    assert said["shards of dim 0 of x0"].largest_passing is None


def test_dims_that_must_be_equal_change_together() -> None:
    case = of("add", data(4), data(4, name="x1"))
    assert found(case, lambda candidate: size(candidate) > 3)["dim 0 of x0 and x1"].largest_passing == 3


def test_the_largest_index_is_a_number_of_its_own() -> None:
    def fails(case: Case) -> bool:
        used = reach(case)
        return used is not None and used.number > 2048

    said = found(LOOKUP, fails)
    assert str(said["largest index in x1"]) == "largest index in x1: fails from 2049; passes to 2048"
    assert said["dim 1 of x0, all of it indexed by x1"].smallest_failing == 2050


def test_a_flat_index_is_named_where_it_alone_separates_all_runs() -> None:
    case = of("gather", data(16, 160), index(16, 160, high=160), dim=1)

    def fails(candidate: Case) -> bool:
        used = reach(candidate)
        return used is not None and used.number > 2048

    said = found(case, fails, max_runs=100)
    flat = said["largest flat index read from x0"]
    assert flat.largest_passing is not None
    assert flat.smallest_failing is not None
    assert flat.largest_passing <= 2048 < flat.smallest_failing


def test_the_flat_index_is_not_named_where_it_does_not_separate() -> None:
    case = of("gather", data(16, 160), index(16, 160, high=160), dim=1)
    assert "largest flat index read from x0" not in found(case, lambda candidate: size(candidate, 1) > 99)


def test_how_often_one_place_is_named_is_said() -> None:
    case = of("index_fill", data(2), index(3, high=1), dim=0, value=1)
    boundary = found(case, lambda candidate: size(candidate, 0, 1) > 2)["dim 0 of x1 (times x1 names one place)"]
    assert (boundary.largest_passing, boundary.smallest_failing) == (2, 3)


def test_a_written_constant_is_varied() -> None:
    case = of("pad", data(1), pads=(1, 1), value=1)
    assert found(case, lambda candidate: candidate.nodes[0].keywords["value"] != 0)["value of pad"].largest_passing == 0


def test_the_rank_is_varied_in_both_directions() -> None:
    case = of("flip", data(1, 1, 1, 2), dims=(3,))
    boundary = found(case, lambda candidate: len(candidate.inputs[0].spec.shape) == 4)["rank of x0"]
    assert boundary.samples == ((3, False), (4, True), (5, False), (6, False))


def test_values_that_are_neither_are_kept_apart() -> None:
    def fails(case: Case) -> bool | None:
        return None if size(case) == 3 else size(case) > 3

    boundary = found(of("flip", data(4), dims=(0,)), fails)["dim 0 of x0"]
    assert boundary.neither == (3,)
    assert (boundary.largest_passing, boundary.smallest_failing) == (2, 4)


def test_no_case_runs_twice_and_the_budget_holds() -> None:
    seen: list[str] = []

    def fails(case: Case) -> bool:
        seen.append(case.digest)
        return len(seen) % 2 == 0

    boundaries(LOOKUP, fails, max_runs=25)
    assert len(seen) == len(set(seen)) <= 25
    assert LOOKUP.digest not in seen


def test_every_case_that_runs_is_one_torch_takes() -> None:
    seen: list[Case] = []

    def fails(case: Case) -> bool:
        seen.append(case)
        return len(seen) % 3 == 0

    for path in sorted(FOLDER.glob("*.yaml")):
        if path.stem != "buckets":
            boundaries(load(path), fails, devices=4, max_runs=30)
    assert seen
    assert all(specs(case) for case in seen)


def test_two_searches_ask_the_same() -> None:
    def asked() -> list[str]:
        seen: list[str] = []
        boundaries(LOOKUP, lambda case: bool(seen.append(case.digest)), max_runs=20)
        return seen

    assert asked() == asked()


def test_sizes_whose_time_would_explode_are_left_out() -> None:
    now = 0.0

    def fails(case: Case) -> bool:
        nonlocal now
        now += 1e-7 * size(case) ** 2
        return True

    said = {b.what: b for b in boundaries(of("flip", data(2), dims=(0,)), fails, clock=lambda: now)}
    assert said["dim 0 of x0"].samples[-1][0] < 131072
    assert now < 60


def test_boundaries_survive_being_stored() -> None:
    boundary = Boundary("dim 0 of x0", ((1, False), (2, True)), (3,))
    assert Boundary.from_plain(boundary.to_plain()) == boundary


# --- the real compiler ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TargetConfig("tt", Mesh.parse("2x2")), tmp_path_factory.mktemp("tt"), workers=1) as pool:
        yield pool


@pytest.mark.tt
def test_a_known_bug_has_its_boundaries(tt: Pool) -> None:
    # index_copy of rank 4 becomes fill_cache, if dim 2 is as large as the index.
    def fails(case: Case) -> bool | None:
        outcome = tt.run(case)
        return outcome.verdict is Verdict.WRONG if outcome.verdict in (Verdict.WRONG, Verdict.PASS) else None

    said = found(load(FOLDER / "d9a7f059.yaml"), fails, devices=4)
    assert dict(said["rank of x0"].samples) == {3: False, 4: True, 5: False, 6: False}
    assert {value: fails for value, fails in said["dim 2 of x0"].samples if value < 4} == {1: False, 2: True, 3: False}
