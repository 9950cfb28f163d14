# SPDX-License-Identifier: Apache-2.0
"""Controls: the settings a failing case is run in, what they say, and the other targets they run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.case_file import load
from fuzz.controls import blame, controls, settings
from fuzz.elsewhere import Elsewhere, filling, other_targets
from fuzz.evidence import Control
from fuzz.pool import Pool
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

MESH = Mesh((1, 2), ("x", "y"))
PASS = Outcome(Verdict.PASS)
WRONG = Outcome(Verdict.WRONG, "shlo_compiler", "4 of 4 elements wrong", transition="shlo -> shlo_compiler")
FOLDER = Path(__file__).parents[2] / "corpus" / "regressions"


def flip(mesh: Mesh = MESH, sharding: Sharding = (("y",), ())) -> Case:
    x = Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), sharding)
    return Case(mesh, (x,), (Node("v0", "flip", ("x0",), (("dims", (0,)),)),), (Output("v0", sharding),))


def named(case: Case, **keys: tuple[str, ...]) -> dict[str, Case]:
    return dict(settings(case, **keys))


# --- settings ---------------------------------------------------------------------------------------------------------


def test_unsharded_keeps_the_mesh_and_one_device_does_not() -> None:
    found = named(flip())
    assert (found["unsharded"].mesh, found["unsharded"].used_axes) == (MESH, ())
    assert found["unsharded"].outputs[0].sharding is None
    assert found["on one device"].mesh.size == 1


def test_a_case_over_one_axis_is_tried_over_the_other() -> None:
    turned = named(flip())["over x instead of y"]
    assert turned.mesh.shape == (2, 1)
    assert turned.inputs[0].sharding == (("x",), ())
    assert turned.outputs[0].sharding == (("x",), ())


def test_a_case_over_two_axes_is_tried_over_each_alone_and_exchanged() -> None:
    found = named(flip(Mesh((2, 4), ("x", "y")), (("x", "y"), ())))
    assert found["sharded over x only"].inputs[0].sharding == (("x",), ())
    assert found["sharded over y only"].inputs[0].sharding == (("y",), ())
    assert found["with x and y exchanged"].inputs[0].sharding == (("y", "x"), ())
    assert found["with x and y exchanged"].mesh.shape == (4, 2)


def test_equivalent_forms_are_settings() -> None:
    assert [node.op for node in named(flip())["as concat"].nodes] == ["slice"] * 4 + ["concat"]


def test_levels_are_all_but_the_one_the_case_has() -> None:
    def levels(case: Case) -> list[str]:
        return [name for name in named(case) if "optimization_level" in name]

    assert levels(flip()) == ["at optimization_level 1", "at optimization_level 2"]
    at_one = replace(flip(), options=(("optimization_level", "1"),))
    assert levels(at_one) == ["at optimization_level 0", "at optimization_level 2"]
    assert not [name for name in named(flip(), levels=()) if "level" in name]


def test_a_case_on_one_device_has_no_settings_about_sharding() -> None:
    case = flip(Mesh((1, 1), ("x", "y")), ((), ()))
    assert not [name for name in named(case) if "device" in name or "shard" in name or "exchanged" in name]


def test_no_two_settings_are_one_case() -> None:
    found = named(flip())
    assert len({case.digest for case in found.values()} | {flip().digest}) == len(found) + 1


# --- what controls say ------------------------------------------------------------------------------------------------


def said(run: Callable[[Case], Outcome], **others: Callable[[Case], Outcome]) -> dict[str, Control]:
    return {control.name: control for control in controls(flip(), WRONG, run, others)}


def test_a_control_that_fails_as_the_finding_does_has_no_detail() -> None:
    found = said(lambda case: WRONG if case.used_axes else PASS)
    assert found["over x instead of y"] == Control("over x instead of y", Verdict.WRONG)
    assert found["unsharded"] == Control("unsharded", Verdict.PASS)


def test_a_control_that_fails_otherwise_says_how() -> None:
    later = replace(WRONG, transition="ttir -> ttnn")
    error = Outcome(Verdict.COMPILE_ERROR, "ttir", "failed to legalize operation 'sdy.all_reduce' at 0x12")
    found = said(lambda case: error if case.mesh.size == 1 else later)
    assert found["unsharded"].detail == "ttir -> ttnn"
    assert found["on one device"].detail == "ttir: failed to legalize operation 'sdy.all_reduce' at #"


def test_a_control_that_could_not_run_says_why_in_its_own_words() -> None:
    found = said(
        lambda case: Outcome(Verdict.ENV, "ttnn", "from optimization_level 1 on there is no device\nat line 3")
    )
    assert found["at optimization_level 1"].detail == "from optimization_level 1 on there is no device"


def test_other_targets_run_the_case_without_its_compile_options() -> None:
    seen: list[Case] = []

    def cpu(case: Case) -> Outcome:
        seen.append(case)
        return PASS

    case = replace(flip(), options=(("optimization_level", "1"),))
    found = controls(case, WRONG, lambda case: WRONG, {"cpu": cpu})
    assert found[-1] == Control("on cpu", Verdict.PASS)
    assert seen == [flip()]


def test_blame_says_only_what_the_verdicts_say() -> None:
    row = (
        Control("unsharded", Verdict.PASS),
        Control("as concat", Verdict.PASS),
        Control("over x instead of y", Verdict.WRONG),
        Control("as index_select", Verdict.WRONG, "ttir -> ttnn"),
        Control("at optimization_level 1", Verdict.ENV, "no device"),
        Control("at optimization_level 2", Verdict.ENV, "no device"),
        Control("on torchxla", Verdict.UNSUPPORTED, "no lowering"),
        Control("on cpu", Verdict.PASS),
    )
    assert blame(row) == (
        "passes unsharded, as concat and on cpu; fails alike over x instead of y; "
        "fails otherwise as index_select (WRONG ttir -> ttnn); "
        "not known at optimization_level 1 and at optimization_level 2 (ENV no device), "
        "on torchxla (UNSUPPORTED no lowering)"
    )
    assert blame(()) == ""


# --- other targets ----------------------------------------------------------------------------------------------------


class FakePool:
    def __init__(self, config: TargetConfig, started: list[str]) -> None:
        self.config = config
        self.started = started
        self.cases: list[Case] = []

    def __enter__(self) -> Self:
        self.started.append(self.config.kind)
        if self.config.kind == "torchxla":
            raise TargetUnavailable("no torch_xla")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.started.append(f"{self.config.kind} closed")

    def run(self, case: Case) -> Outcome:
        self.cases.append(case)
        return PASS


TT = TargetConfig("tt", Mesh((2, 2), ("x", "y")))


def test_other_targets_are_those_that_are_not_under_test() -> None:
    assert [config.kind for config in other_targets(TT)] == ["cpu", "torchxla"]
    assert [config.kind for config in other_targets(TargetConfig("cpu", mock=False))] == ["torchxla"]
    assert other_targets(TT)[0] == TargetConfig.parse("cpu", TT.topology)


def test_a_target_starts_when_it_is_first_asked_and_once(tmp_path: Path) -> None:
    events: list[str] = []
    with Elsewhere(other_targets(TT), tmp_path, open_pool=lambda config, _: FakePool(config, events)) as elsewhere:
        assert events == []
        for _ in range(2):
            assert elsewhere.runs["cpu"](flip()).verdict is Verdict.PASS
        assert events == ["cpu"]
    assert events == ["cpu", "cpu closed"]


def test_a_target_that_cannot_start_is_asked_once_and_says_why_every_time(tmp_path: Path) -> None:
    events: list[str] = []
    with Elsewhere(other_targets(TT), tmp_path, open_pool=lambda config, _: FakePool(config, events)) as elsewhere:
        outcomes = [elsewhere.runs["torchxla"](flip()) for _ in range(2)]
    assert [(outcome.verdict, outcome.message) for outcome in outcomes] == [(Verdict.ENV, "no torch_xla")] * 2
    assert events == ["torchxla"]


@pytest.mark.parametrize(
    ("mesh", "devices", "filled"),
    [
        (MESH, 4, Mesh((2, 2), ("x", "y"))),
        (MESH, 2, MESH),
        (Mesh((2, 2), ("x", "y")), 8, Mesh((2, 2, 2), ("rest", "x", "y"))),
        (Mesh((1, 3), ("x", "y")), 4, Mesh((1, 3), ("x", "y"))),
    ],
)
def test_a_mesh_is_filled_up_to_all_devices(mesh: Mesh, devices: int, filled: Mesh) -> None:
    case = filling(flip(mesh), devices)
    assert case.mesh == filled
    assert case.inputs == flip(mesh).inputs


# --- the real compiler ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(TT, tmp_path_factory.mktemp("tt"), workers=1) as pool:
        yield pool


@pytest.mark.tt
def test_a_known_bug_is_narrowed_to_the_sharded_form_of_its_op(tt: Pool, tmp_path: Path) -> None:
    case = load(FOLDER / "c0f8b819.yaml")  # roll of a sharded dim
    with Elsewhere(other_targets(TT), tmp_path) as elsewhere:
        found = controls(case, tt.run(case), tt.run, elsewhere.runs, levels=())
    assert {control.name: str(control.verdict) for control in found} == {
        "unsharded": "PASS",
        "on one device": "PASS",
        "over x instead of y": "WRONG",
        "as concat": "PASS",
        "as index_select": "PASS",
        "on cpu": "PASS",
        "on torchxla": "PASS",
    }
