# SPDX-License-Identifier: Apache-2.0
"""The list of workarounds is read strictly, and a form is tried on the meshes and in the dtypes that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fuzz.case import Case, CaseError, Input, Mesh, Node, Output, Payload, TensorSpec, replicated
from fuzz.case_file import dump
from fuzz.workarounds import Form, WorkaroundError, in_dtype, instances, load_workarounds, undivided

MESH = Mesh.parse("2x2")
ENTRY: dict[str, object] = {
    "id": "one",
    "ticket": "tt-mlir#8955",
    "repository": "tt-xla",
    "file": "router.py",
    "avoids": "a bug",
    "avoided": "workarounds/avoided.yaml",
    "replacement": "seeds/used.yaml",
    "neighbours": ["workarounds/near.yaml"],
    "meshes": ["2x2", "1x4"],
    "dtypes": ["f32", "bf16"],
    "shows_in": "stages",
}


def case(rows: int = 8, *, op: str = "neg", sharded: bool = True, dtype: str = "f32") -> Case:
    layout = (("x",), ()) if sharded else replicated(2)
    value = Input("x0", TensorSpec((rows, 4), dtype), Payload("position"), layout)
    return Case(MESH, (value,), (Node("v0", op, ("x0",)),), (Output("v0", layout),))


def corpus(folder: Path, *entries: dict[str, object], text: str = "") -> Path:
    for name, form in (("workarounds/avoided", case()), ("seeds/used", case(op="abs")), ("workarounds/near", case(16))):
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(dump(form))
    (folder / "workarounds.yaml").write_text(text or yaml.safe_dump(list(entries), sort_keys=False))
    return folder


def test_an_entry_is_read_with_its_cases(tmp_path: Path) -> None:
    (read,) = load_workarounds(corpus(tmp_path, ENTRY))
    assert (read.id, read.ticket, read.needs) == ("one", "tt-mlir#8955", "")
    assert read.avoided == Form("workarounds/avoided.yaml", case())
    assert read.replacement.case == case(op="abs")
    assert [form.case for form in read.neighbours] == [case(16)]
    assert (read.meshes, read.dtypes) == ((MESH, Mesh.parse("1x4")), ("f32", "bf16"))


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ({"id": "No Good"}, "1:7", "'No Good' is no id: write small letters, digits and -"),
        ({"ticket": "8955"}, "2:11", "'8955' is no ticket: write repository#number, or nothing"),
        ({"avoids": ""}, "5:11", "say it in a few words"),
        (
            {"avoided": "../../etc/passwd"},
            "6:12",
            "is no case of the corpus: write workarounds/NAME.yaml or seeds/NAME",
        ),
        ({"avoided": "workarounds/none.yaml"}, "6:12", "workarounds/none.yaml: no such file"),
        ({"neighbours": ["seeds/none.yaml"]}, "9:5", "seeds/none.yaml: no such file"),
        ({"neighbours": "seeds/used.yaml"}, "8:15", "expected a list"),
        ({"meshes": ["2by2"]}, "11:5", "unknown mesh '2by2': write rows x columns, for example 2x2"),
        ({"meshes": []}, "10:11", "empty"),
        ({"dtypes": ["f32", "f32"]}, "15:5", "f32 stands twice"),
        ({"dtypes": ["f16"]}, "14:5", "unknown dtype 'f16': use f32, bf16, i32, i64, bool"),
        ({"shows_in": "dreams"}, "16:13", "unknown 'dreams': use stages, build, silicon"),
        ({"shows_in": "silicon"}, "1:3", "missing ['needs']: what is missing"),
        ({"needs": "chips"}, "17:10", "nothing is missing if the bug shows in the stages"),
        ({"colour": "red"}, "1:3", "unknown keys ['colour']"),
        ({"avoids": 3}, "5:11", "expected text, got 3"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, object], line: str, message: str
) -> None:
    with pytest.raises(WorkaroundError) as raised:
        load_workarounds(corpus(tmp_path, ENTRY | changes))
    assert str(raised.value).startswith(f"{tmp_path}/workarounds.yaml:{line}: ")
    assert message in str(raised.value)


def test_an_id_stands_once(tmp_path: Path) -> None:
    with pytest.raises(WorkaroundError, match=r"workarounds.yaml:17:7: one stands twice"):
        load_workarounds(corpus(tmp_path, ENTRY, dict(ENTRY, neighbours=[], meshes=["2x2"], dtypes=["f32"])))


@pytest.mark.parametrize("text", ["&a [*a, *a]", "- !!python/object/apply:os.abort []", "{", "3", "- 3"])
def test_a_hostile_list_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(WorkaroundError) as raised:
        load_workarounds(corpus(tmp_path, text=text))
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path}/workarounds.yaml:1:")


def test_a_broken_form_names_its_own_file(tmp_path: Path) -> None:
    folder = corpus(tmp_path, ENTRY)
    (folder / "workarounds/near.yaml").write_text("format: 2\n")
    with pytest.raises(CaseError, match=r"workarounds/near.yaml:1:1: "):
        load_workarounds(folder)


def test_both_forms_take_the_same_inputs(tmp_path: Path) -> None:
    folder = corpus(tmp_path, ENTRY)
    (folder / "seeds/used.yaml").write_text(dump(case(4)))
    with pytest.raises(WorkaroundError, match=r"7:16: its input 'x0' is another in workarounds/avoided.yaml"):
        load_workarounds(folder)


def test_forms_may_be_sharded_differently(tmp_path: Path) -> None:
    folder = corpus(tmp_path, ENTRY)
    (folder / "seeds/used.yaml").write_text(dump(case(sharded=False)))
    assert load_workarounds(folder)[0].replacement.case == case(sharded=False)


def test_a_form_is_tried_on_every_mesh_in_every_dtype(tmp_path: Path) -> None:
    (read,) = load_workarounds(corpus(tmp_path, ENTRY))
    tried = list(instances(read.avoided, read))
    assert [str(each) for each in tried] == [
        "avoided on 2x2 in f32",
        "avoided on 2x2 in bf16",
        "avoided on 1x4 in f32",
        "avoided on 1x4 in bf16",
    ]
    assert [(str(each.case.mesh), each.case.inputs[0].spec.dtype) for each in tried] == [
        (str(each.mesh), each.dtype) for each in tried
    ]


def test_another_dtype_reaches_inputs_and_attributes_of_the_first_one_only() -> None:
    index = Input("x1", TensorSpec((8,), "i64"), Payload("monotone", 0, 8), replicated(1))
    nodes = (
        Node("v0", "full", (), (("dtype", "f32"), ("shape", (8, 4)), ("value", 0))),
        Node("v1", "cast", ("x1",), (("dtype", "i32"),)),
        Node("v2", "add", ("x0", "v0")),
    )
    made = in_dtype(
        replace(case(), inputs=(*case().inputs, index), nodes=nodes, outputs=(Output("v2"),)), "f32", "bf16"
    )
    assert [value.spec.dtype for value in made.inputs] == ["bf16", "i64"]
    assert [node.keywords.get("dtype") for node in made.nodes] == ["bf16", "i32", None]


def test_what_a_mesh_does_not_divide_is_known() -> None:
    assert undivided(case(8)) == ""
    assert undivided(case(7)) == "x0 of shape [7, 4] does not divide on 2x2"
    demanded = replace(case(7, sharded=False), outputs=(Output("v0", (("x",), ())),))
    assert undivided(demanded) == "v0 of shape [7, 4] does not divide on 2x2"
