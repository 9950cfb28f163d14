# SPDX-License-Identifier: Apache-2.0
"""The targets as users run them: real compilers in real workers, on cases whose answer is known from reading the IR."""

import importlib.util
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from fuzz.case import Attribute, Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.pool import Pool
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

MESH = Mesh((2, 2), ("x", "y"))
ROWS: Sharding = (("x",), ())
BOTH: Sharding = (("x", "y"), ())
WHOLE: Sharding = ((), ())
DATA = Payload("position")
PERMUTATION = Payload("permutation", 0, 8, 1)


def one_op(
    op: str, *operands: tuple[str, Payload, Sharding], result: Sharding | None = None, **attributes: Attribute
) -> Case:
    """One op on 8x8 operands, each (dtype, payload, sharding)."""
    inputs = tuple(Input(f"x{i}", TensorSpec((8, 8), d), p, s) for i, (d, p, s) in enumerate(operands))
    node = Node("v0", op, tuple(value.name for value in inputs), tuple(sorted(attributes.items())))
    return Case(MESH, inputs, (node,), (Output("v0"),))


def resharded(before: Sharding, after: Sharding) -> Case:
    return Case(MESH, (Input("x0", TensorSpec((8, 8), "f32"), DATA, before),), (), (Output("x0", after),))


FLIP = one_op("flip", ("f32", DATA, ROWS), dims=(0,))
GATHER_BY_BATCH = one_op("gather", ("f32", DATA, ROWS), ("i64", PERMUTATION, ROWS), dim=1)


@pytest.fixture(scope="module")
def tt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TargetConfig("tt", MESH), tmp_path_factory.mktemp("tt"), workers=1) as pool:
        yield pool


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TargetConfig("cpu", MESH, mock=False), tmp_path_factory.mktemp("cpu"), workers=1) as pool:
        yield pool


@pytest.mark.tt
def test_a_batch_sharded_gather_is_right_on_the_tt_mock_mesh(tt: Pool) -> None:
    """The form of the original router bug; its row iota is sliced per shard in this plugin."""
    outcome = tt.run(GATHER_BY_BATCH)
    assert outcome.verdict is Verdict.PASS, outcome


@pytest.mark.tt
def test_a_gather_from_a_sharded_dim_is_masked_and_summed(tt: Pool) -> None:
    """Exercises partition ids, out-of-bounds marks and an all_reduce: all executor rewrites in one stage."""
    case = Case(
        MESH,
        (
            Input("x0", TensorSpec((8, 8), "f32"), DATA, ROWS),
            Input("x1", TensorSpec((4,), "i64"), Payload("permutation", 0, 8), ((),)),
        ),
        (Node("v0", "index_select", ("x0", "x1"), (("dim", 0),)),),
        (Output("v0"),),
    )
    outcome = tt.run(case)
    assert outcome.verdict is Verdict.PASS, outcome


@pytest.mark.tt
def test_gathering_a_dim_split_over_two_axes_swaps_its_middle_parts(tt: Pool) -> None:
    """The stage gathers over the major axis first: parts 0, 2, 1, 3. Read in the IR; every device is wrong alike."""
    outcome = tt.run(resharded(BOTH, WHOLE))
    assert outcome.verdict is Verdict.WRONG
    assert {m.device for m in outcome.mismatches} == {0, 1, 2, 3}
    assert all(m.wrong == 32 for m in outcome.mismatches)


@pytest.mark.tt
def test_a_reshard_over_one_axis_is_right(tt: Pool) -> None:
    assert tt.run(resharded(ROWS, WHOLE)).verdict is Verdict.PASS


@pytest.mark.tt
def test_a_flip_of_a_sharded_dim_reverses_each_shard_alone(tt: Pool) -> None:
    outcome = tt.run(FLIP)
    assert outcome.verdict is Verdict.WRONG
    assert outcome.operations == ("reverse",)


@pytest.mark.tt
def test_a_compile_error_names_its_stage_and_its_first_line(tt: Pool) -> None:
    case = one_op("scatter_add", ("f32", DATA, ROWS), ("i64", PERMUTATION, ROWS), ("f32", DATA, ROWS), dim=1)
    outcome = tt.run(case)
    assert outcome.verdict is Verdict.COMPILE_ERROR
    assert outcome.stage == "shlo_compiler"
    assert "'sdy.all_reduce' op reduction axis" in outcome.message


@pytest.mark.tt
def test_what_the_compiler_says_it_does_not_do_is_unsupported(tt: Pool) -> None:
    outcome = tt.run(resharded(ROWS, (("y",), ())))
    assert outcome.verdict is Verdict.UNSUPPORTED
    assert "CollectivePermuteOp is not implemented yet" in outcome.message


@pytest.mark.parametrize(
    "case", [GATHER_BY_BATCH, resharded(BOTH, WHOLE), one_op("flip", ("f32", DATA, ROWS), dims=(0,))]
)
def test_xla_on_a_cpu_mesh_gets_the_same_cases_right(cpu: Pool, case: Case) -> None:
    outcome = cpu.run(case)
    assert outcome.verdict is Verdict.PASS, outcome


def test_any_plugin_by_path_runs(tmp_path: Path) -> None:
    """The CPU plugin of the package xla-cpu-pjrt: real execution through a shared object."""
    package = importlib.util.find_spec("xla_plugins.xla_cpu_pjrt")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "xla_cpu_pjrt.so"
    mesh = Mesh((1, 1), ("x", "y"))
    case = Case(mesh, GATHER_BY_BATCH.inputs, GATHER_BY_BATCH.nodes, GATHER_BY_BATCH.outputs)
    with Pool(TargetConfig("plugin", mesh, str(path), mock=False), tmp_path, workers=1) as pool:
        outcome = pool.run(case)
    if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 8):
        # The package is built against a newer PJRT interface than this jaxlib has: our side, and said to be.
        assert outcome.verdict is Verdict.ENV, outcome
        assert "Unexpected PJRT_" in outcome.message
    else:
        assert outcome.verdict is Verdict.PASS, outcome


def test_a_file_that_is_no_plugin_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "plugin.so"
    path.write_text("not a shared object")
    with (
        pytest.raises(TargetUnavailable, match=r"plugin\.so") as error,
        Pool(TargetConfig("plugin", MESH, str(path), mock=False), tmp_path, workers=1),
    ):
        pass
    assert "\n" not in str(error.value)
