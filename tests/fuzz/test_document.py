# SPDX-License-Identifier: Apache-2.0
"""Files from anyone: read as plain data, or refused in one line that says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fuzz.case import CaseError
from fuzz.case_file import load, loads
from fuzz.document import MAX_DEPTH, MAX_FILE_BYTES, DocumentError, parse, read_text

CASE = """\
format: 1
mesh: {shape: [1, 2], axes: [x, y]}
inputs:
- {name: x0, shape: [4], dtype: f32, payload: {kind: position}, sharding: [[y]]}
nodes:
- {name: v0, op: flip, operands: [x0], attributes: {dims: [0]}}
outputs:
- {name: v0}
"""


def refusal(content: str) -> str:
    with pytest.raises(CaseError) as refused:
        loads(content, "file.yaml")
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_the_case_that_the_others_spoil_is_good() -> None:
    assert loads(CASE).nodes[0].op == "flip"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[4]", "[.nan]", "4:22: inputs[0].shape[0]: expected a whole number, got nan"),
        ("[4]", "[-4]", "4:21: inputs[0].shape: value 'x0': negative size in shape (-4,)"),
        ("[4]", "[4.0]", "4:22: inputs[0].shape[0]: expected a whole number, got 4.0"),
        ("[4]", "[true]", "4:22: inputs[0].shape[0]: expected a whole number, got True"),
        ("[4]", "four", "4:21: inputs[0].shape: expected a list"),
        ("[4]", "[1000000, 1000000]", "4:21: inputs[0].shape: value 'x0': 1000000000000 elements are more than the"),
        ("[4]", "[99999999999999999999]", "4:22: inputs[0].shape[0]: 99999999999999999999 does not fit 64 bits"),
        ("f32", "f64", "4:33: inputs[0].dtype: value 'x0': unknown dtype 'f64'"),
        ("position", "pickle", "4:47: inputs[0].payload: input 'x0': unknown payload 'pickle'"),
        ("[[y]]", "[[z]]", "4:75: inputs[0].sharding: value 'x0': sharding (('z',),) must use each of the mesh axes"),
        ("[[y]]", "[[y], []]", "4:75: inputs[0].sharding: value 'x0': sharding (('y',), ()) does not fit rank 1"),
        ("[x0], ", "[x1], ", "6:3: nodes[0]: node 'v0': operand 'x1' is not defined before it"),
        ("dims: [0]", "dims: [[0]]", "6:60: nodes[0].attributes.dims[0]: expected a whole number, got [0]"),
        ("op: flip, ", "", "6:3: nodes[0]: missing ['op']"),
        ("{name: v0}", "{name: v9}", "8:3: outputs[0]: output 'v9' is not a value of the graph"),
        ("shape: [1, 2]", "shape: [100000, 100000]", "mesh shape (100000, 100000) has more than 4096 devices"),
        ("format: 1", "format: 2", "1:9: format: format 2 is not 1, the one this version reads"),
        ("format: 1", "format: 1\nsize: 3", "1:1: case: unknown keys ['size']"),
        ("format: 1", "format: 1\nformat: 1", "2:1: the key 'format' stands twice"),
        ("[4]", "&a [4]", "4:21: not valid YAML: anchors and aliases are not allowed"),
        ("format: 1", "format: !!python/object/apply:os.getcwd []", "1:9: python/object/apply:os.getcwd is not plain"),
        ("format: 1", "<<: {format: 1}", "1:1: a key that is not a text: quote it"),
        ("format: 1", "1: 1", "1:1: a key that is not a text: quote it"),
        ("[4]", "[2020-01-01]", "4:22: timestamp is not plain data"),
        ("[4]", f"[{'1' * 5000}]", "4:22: a number of 5000 digits"),
        ("format: 1", "format: \x00", "unacceptable character #x0000"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(old: str, new: str, said: str) -> None:
    assert said in refusal(CASE.replace(old, new, 1))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_before_it_is_read(opening: str) -> None:
    assert f"nested deeper than {MAX_DEPTH}" in refusal(opening * 50_000)


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert "1:5: not valid YAML: anchors and aliases" in refusal("\n".join(lines))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(CaseError, match=f"larger than {MAX_FILE_BYTES} bytes"):
        load(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"format: \x80"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "case.yaml"
    path.write_bytes(content)
    with pytest.raises(CaseError, match="not UTF-8 text"):
        load(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        read_text(tmp_path)


def test_what_is_said_about_a_case_is_no_part_of_it() -> None:
    assert loads(f"about: {{says: it turns around}}\n{CASE}").digest == loads(CASE).digest


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 62), 1 << 62) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(PLAIN, st.booleans())
def test_plain_data_comes_back(data: Any, flow: bool) -> None:
    assert parse(yaml.safe_dump(data, default_flow_style=flow)).data == data


def said_of(content: str) -> str:
    """Why a text is refused; empty if it is not."""
    try:
        parse(content)
    except DocumentError as refused:
        return str(refused)
    return ""


@given(st.text(max_size=60))
def test_any_text_is_data_or_refused(content: str) -> None:
    assert "\n" not in said_of(content)


@given(st.text(alphabet="ab01[]{},:-!&*<> \n\"'#|?%@`", max_size=40))
def test_any_syntax_is_data_or_refused(content: str) -> None:
    assert "\n" not in said_of(content)


def test_each_part_knows_its_place() -> None:
    document = parse("a:\n  - b: 1\n  - 2\n")
    assert document.located("a[0].b") == "2:8"
    assert document.located("a[1]") == "3:5"
    assert document.located("a[7].c") == "2:3"
