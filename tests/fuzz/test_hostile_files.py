# SPDX-License-Identifier: Apache-2.0
"""Files of anyone's cannot run code, leave their folder, hang, or fill the machine: one attack per test.

`tests/benchmarks/hostile_files.py` tries them by the thousand.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sqlite3
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import made_findings
import pytest
from command_line import Meshfuzz, Result, call
from hostile_reading import lit, made_of, markdown, page, read_all, script, terminal
from hypothesis import given
from hypothesis import strategies as st
from mutator import CODE, KINDS, SCHEMAS, good, mutated

from fuzz.case import Case, CaseError, MeshfuzzError, to_plain
from fuzz.case_file import from_plain, loads
from fuzz.commands.options import confirmed
from fuzz.confined import ConfinedError
from fuzz.corpus import REGRESSIONS, CorpusError, load_entry
from fuzz.document import DocumentError, parse, read_text, shown
from fuzz.finding import Finding
from fuzz.lock import locked
from fuzz.nightly.history import DATABASE as HISTORY
from fuzz.nightly.history import History, HistoryError
from fuzz.ops.core import MAX_BYTES, check_size, infer, registered, specs
from fuzz.payloads import values
from fuzz.plain import parse_json, read
from fuzz.publish import finding_script, issue, lit_test
from fuzz.settings import Budget, Settings, UsageError
from fuzz.store import DATABASE, Store, StoreError
from fuzz.strategies.space import Space
from fuzz.triage import NodePattern, Pattern, Role, pattern
from oracles.localisation import Localisation
from oracles.outcome import Mismatch, Outcome, Verdict
from oracles.quotation import Quote
from oracles.targets.config import TargetConfig
from repros.literal import EmitError

MESH = made_findings.MESH
CONFIG = TargetConfig("tt", MESH)
PLAIN = json.loads(json.dumps(made_findings.ordinary().to_plain()))
ATTRIBUTES = (
    *("dim", "dims", "shape", "dtype", "value", "start", "end", "step", "index", "k", "equation", "keepdim", "repeats"),
    *("pads", "shift", "classes", "dim0", "dim1", "min", "max", "largest", "descending", "include_self"),
)
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp"


@pytest.fixture
def meshfuzz(capfd: pytest.CaptureFixture[str]) -> Meshfuzz:
    def run(*arguments: str) -> Result:
        return call(capfd, *arguments)

    return run


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A folder with a good finding."""
    folder = tmp_path / "campaign"
    settings = Settings(CONFIG, Space((MESH,)))
    with Store.create(folder, {"settings": settings.to_plain(), "budget": Budget(cases=1).to_plain()}) as store:
        store.put_finding(made_findings.ordinary())
    return folder


def edit(folder: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    """What a stranger does to a database."""
    database = sqlite3.connect(folder / DATABASE)
    for statement in statements:
        database.execute(statement, values)
    database.commit()
    database.close()


def with_finding(folder: Path, **changes: object) -> None:
    edit(folder, "UPDATE findings SET body = ?", values=(json.dumps(PLAIN | changes),))


def findings(folder: Path) -> list[Finding]:
    with Store.open(folder) as store:
        return store.findings()


# --- cases ------------------------------------------------------------------------------------------------------------


def case_with(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    plain = json.loads(json.dumps(to_plain(made_findings.case())))
    change(plain)
    return plain  # type: ignore[no-any-return]  # of JSON


@pytest.mark.parametrize(
    "name", ["x0; import os", "x\ny", "lambda: 0", "x0)#", "", "é", "x" * 65, "../x", "x0\0", "\ud800", "<b>"]
)
def test_a_name_is_an_identifier(name: str) -> None:
    def rename(plain: dict[str, Any]) -> None:
        plain["nodes"][0]["name"] = plain["outputs"][0]["name"] = name

    with pytest.raises(CaseError):
        from_plain(case_with(rename))


@pytest.mark.parametrize("text", [CODE, "sum\n", "'", '"""', "{0}", "\x1b", "\ud800", "x" * 65])
def test_a_text_attribute_is_a_word(text: str) -> None:
    with pytest.raises(CaseError):
        from_plain(case_with(lambda plain: plain["nodes"][0]["attributes"].update(mode=text)))


@pytest.mark.parametrize(
    "option", [("export_path", "/tmp/x"), ("xla_dump_to", "/tmp/x"), ("optimization_level", "../2"), ("backend", "x")]
)
def test_no_option_names_a_file(option: tuple[str, str], tmp_path: Path) -> None:
    """`export_path` makes the TT compiler write there, `xla_dump_to` XLA."""
    case = replace(made_findings.case(), options=(option,))
    path = tmp_path / "case.yaml"
    path.write_text(json.dumps(to_plain(case)))
    with pytest.raises(MeshfuzzError, match="not allowed in a case"):
        load_entry(path)
    module = {"text": "module {}", "arguments": [{"input": "x0"}]}
    with pytest.raises(MeshfuzzError, match="not allowed in a case"):
        finding_script(made_findings.finding(subject=case), "stablehlo", CONFIG, lambda _: module)


@pytest.mark.parametrize(
    "shape",
    [[1 << 40], [1 << 15, 1 << 16], [0, 1 << 62, 1 << 62], [1] * 17, [1 << 63], [10**30], [-1], [1.0]],
    ids=shown,
)
def test_a_shape_that_nothing_can_hold_is_refused(shape: list[object]) -> None:
    with pytest.raises(CaseError):
        from_plain(case_with(lambda plain: plain["inputs"][0].update(shape=shape, sharding=[[] for _ in shape])))


@pytest.mark.parametrize("number", [1 << 61, -(1 << 61), 1 << 63, 10**100, 1.5, True, None, "1"])
@pytest.mark.parametrize("field", ["low", "high", "seed", "dim"])
def test_a_payload_is_computed_in_64_bits(field: str, number: object) -> None:
    with pytest.raises(CaseError):
        from_plain(case_with(lambda plain: plain["inputs"][0]["payload"].update({field: number})))


@given(
    kind=st.sampled_from(["permutation", "boundary", "duplicates", "monotone", "random", "small", "constant"]),
    low=st.integers(-(1 << 60), 1 << 60),
    high=st.integers(-(1 << 60), 1 << 60),
    seed=st.integers(-(1 << 60), 1 << 60),
    dtype=st.sampled_from(["f32", "bf16", "i32", "i64", "bool"]),
)
def test_any_payload_that_is_read_makes_values_or_a_case_error(
    kind: str, low: int, high: int, seed: int, dtype: str
) -> None:
    payload = {"kind": kind, "low": low, "high": high, "seed": seed}
    case = from_plain(case_with(lambda plain: plain["inputs"][0].update(dtype=dtype, payload=payload)))
    with contextlib.suppress(CaseError):
        assert values(case.inputs[0].spec, case.inputs[0].payload).shape == (8, 8)


def test_many_nodes_are_refused_before_they_are_typed() -> None:
    def grow(plain: dict[str, Any]) -> None:
        plain["nodes"] = plain["nodes"] * 10_000

    with pytest.raises(CaseError, match="more than the limit"):
        from_plain(case_with(grow))


def test_a_mesh_of_many_axes_is_refused() -> None:
    axes = [f"a{number}" for number in range(1000)]
    with pytest.raises(CaseError, match="more than the limit"):
        from_plain(case_with(lambda plain: plain.update(mesh={"shape": [1] * 1000, "axes": axes})))


def test_a_case_that_is_too_large_is_not_computed_in_the_driver() -> None:
    large = made_findings.case(shape=(1 << 14, 1 << 14))
    with pytest.raises(CaseError, match=f"more than the {MAX_BYTES}"):
        check_size(large)
    began = time.process_time()
    with pytest.raises(CaseError, match=f"more than the {MAX_BYTES}"):
        finding_script(made_findings.finding(subject=large), "torch", CONFIG, lambda _: {})
    assert time.process_time() - began < 1


@given(st.data())
def test_no_attribute_makes_an_op_fail_otherwise_than_with_a_case_error(data: st.DataObject) -> None:
    """Of an op, with the attributes that it is written with, and values that no strategy draws."""
    op = data.draw(st.sampled_from(registered()))
    names = [name for name in ATTRIBUTES if f"{{{name}}}" in op.source]
    small = st.integers(-3, 70) | st.integers(-(1 << 63), (1 << 63) - 1)
    anything = (
        st.none() | st.booleans() | small | st.floats(allow_nan=False) | st.sampled_from(["f32", "ij,jk->ik", "x"])
    )
    attributes = {name: data.draw(anything | st.lists(small, max_size=6).map(tuple)) for name in names}
    spec = made_findings.case().inputs[0].spec
    operands = [
        spec if number == 0 else replace(spec, dtype="i64") for number in range(op.source.count("{") - len(names))
    ]
    with contextlib.suppress(CaseError):
        infer(op.name, operands[:4], attributes.items())


def test_a_pattern_of_many_equal_nodes_is_matched_at_once() -> None:
    """Trying every assignment takes longer than the universe has been there."""
    node = NodePattern("flip", (Role("any"),), Role("any"))
    impossible = NodePattern("sort", (Role("any"),), Role("any"))
    base = made_findings.case()
    names = [f"v{number}" for number in range(40)]
    many = replace(
        base,
        nodes=tuple(replace(base.nodes[0], name=name) for name in names),
        outputs=tuple(replace(base.outputs[0], name=name) for name in names),
    )
    assert Pattern((node,) * 39).covers(pattern(many))
    assert not Pattern((*(node,) * 39, impossible)).covers(pattern(many))


# --- documents --------------------------------------------------------------------------------------------------------


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "case.yaml")
    with pytest.raises(DocumentError, match="not a file"):
        read_text(tmp_path / "case.yaml")


def test_a_device_is_refused() -> None:
    with pytest.raises(DocumentError, match="not a file"):
        read_text(Path("/dev/zero"))


def test_a_long_key_does_not_make_the_places_inside_long() -> None:
    """Each part of the list would have the key in its place: gigabytes, of a small file."""
    with pytest.raises(DocumentError, match="is no key"):
        parse(f"? {'k' * 100_000}\n: [{'1,' * 2_000}]")


def test_a_document_of_many_parts_is_refused() -> None:
    with pytest.raises(DocumentError, match="more than 5000 parts"):
        parse(f"[{'1,' * 20_000}]")


def test_half_a_character_is_refused() -> None:
    """No file can hold it: what is made of the finding could not be written or printed."""
    for data in (json.loads('"\\ud800"'), parse('"\\ud800"').data):
        with pytest.raises(DocumentError, match="half of a character"):
            Finding.from_plain(PLAIN | {"key": data})
    with pytest.raises(DocumentError, match="is no key"):
        parse('{"\\udfff": 1}')


@pytest.mark.parametrize("value", [10**5000, "x" * 10**6, ["x" * 100] * 100, {"x": "y" * 1000}], ids=shown)
def test_a_message_repeats_only_the_beginning_of_a_value(value: object) -> None:
    with pytest.raises(CaseError) as refused:
        from_plain({**to_plain(made_findings.case()), "format": value})
    assert len(str(refused.value)) < 300


plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(plain_data)
def test_any_plain_data_is_a_case_or_a_case_error(data: object) -> None:
    with pytest.raises(CaseError):
        from_plain(data)


@given(st.dictionaries(st.sampled_from(["format", "mesh", "inputs", "nodes", "outputs", "options"]), plain_data))
def test_any_parts_of_a_case_are_refused_in_one_line(data: dict[str, object]) -> None:
    try:
        from_plain(to_plain(made_findings.case()) | data)
    except CaseError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said


@given(st.sampled_from(sorted(PLAIN)), plain_data)
def test_any_part_of_a_finding_is_read_or_refused(key: str, data: object) -> None:
    try:
        found = Finding.from_plain(PLAIN | {key: data})
    except (DocumentError, MeshfuzzError):
        return
    assert isinstance(found.case, Case)


@given(st.sampled_from(sorted(PLAIN["outcome"])), plain_data)
def test_any_part_of_an_outcome_is_read_or_refused(key: str, data: object) -> None:
    with contextlib.suppress(DocumentError):
        assert isinstance(read(Outcome, PLAIN["outcome"] | {key: data}).stage, str)


@given(st.text(max_size=40) | st.binary(max_size=40) | st.integers() | st.none())
def test_any_cell_of_a_database_is_json_or_refused(content: object) -> None:
    with contextlib.suppress(DocumentError):
        parse_json(content)


@pytest.mark.parametrize(
    "content", ["[" * 1_000_000, "1" * 100_000, '{"a":' * 100_000, " " * (17 << 20), "", "nul"], ids=shown
)
def test_json_that_breaks_its_reader_is_refused(content: str) -> None:
    with pytest.raises(DocumentError):
        parse_json(content)


# --- what is written --------------------------------------------------------------------------------------------------

INJECTIONS = [
    CODE, f"x\n{CODE}", f"x\r{CODE}", f"x\x0c{CODE}", f"x\x85{CODE}", f"x\u2028{CODE}", f'"""\n{CODE}\n"""',
    f"'''\n{CODE}\n'''", f"'; {CODE} #", "\\", "\0", "coding: utf-7\n+AGkAbQBwAG8AcgB0-", "{{ 7 * 7 }}",
    "{% include 'x' %}", "-->\n<script>alert(1)</script>", "```\n<img src=x onerror=alert(1)>\n```",
    "[x](javascript:x)",
    "</pre></svg><script>alert(1)</script>", f"x\n// RUN: {CODE}", "RUN: touch /tmp/x", "x\n// CHECK: y", ESCAPES,
    "[bold]x[/bold]", "| a | b |\n|---|---|",
]  # fmt: skip


@pytest.mark.parametrize("verdict", [Verdict.WRONG, Verdict.COMPILE_ERROR])
@pytest.mark.parametrize("text", INJECTIONS, ids=shown)
def test_what_is_said_of_a_finding_is_text_wherever_it_is_written(text: str, verdict: Verdict, tmp_path: Path) -> None:
    """In scripts, pages, reports, lit tests and on the terminal; `made_of` says what must hold."""
    outcome = Outcome(
        verdict, "ttir", text, text, (text,), 0.5, (Mismatch("v0", 1, 1, 2, ((text, text, text),)),), text, {}, text,
        text, (text,), {"shlo": "right", text: text},
    )  # fmt: skip
    blamed = Localisation(verdict, (text,), "ttir", "", Quote((text,), (text,), text))
    made_of(made_findings.finding(text, None, None, outcome, localisation=blamed), tmp_path)


def test_a_script_that_another_text_changes_is_noticed() -> None:
    """The check that the tests above rely on."""
    case, twin = made_findings.case(), "import os\nprint(1)\n"
    for text in (f"import os\n{CODE}\n", "import socket\n", "import os\nprint(2, 3)\n"):
        with pytest.raises(AssertionError):
            script(text, twin, case)
    with pytest.raises(AssertionError, match="has the words"):
        script("frobnicate(1)\n", "frobnicate(1)\n", case)
    for check, text in (
        (page, "<script>1</script>"), (page, "<a href='javascript:1'>"), (markdown, "a <b>"), (markdown, "[a](b)"),
        (lit, "// RUN: a\n// x RUN: b"), (lit, "// RUN: a\n// x CHECK: b"),
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            check(text)
    with pytest.raises(AssertionError):
        terminal(ESCAPES)


@pytest.mark.parametrize("module", ["'''\nimport os", "\0"])
def test_a_module_that_ends_its_quotes_is_not_written(module: str) -> None:
    with pytest.raises(EmitError):
        finding_script(
            made_findings.finding(), "stablehlo", CONFIG, lambda _: {"text": module, "arguments": [{"input": "x0"}]}
        )


def test_the_head_of_a_script_leaves_no_room_for_another_encoding() -> None:
    """Python takes one from the first two lines, which are ours."""
    text = finding_script(made_findings.finding("coding: utf-7", None), "torch", CONFIG, lambda _: {})
    assert text.splitlines()[1] == "# SPDX-License-Identifier: Apache-2.0"
    assert ast.parse(text.encode())


def test_a_line_of_a_module_is_one_line_of_a_lit_test() -> None:
    stands = "%0 = ttir.add\n// RUN: touch /tmp/owned"
    blamed = Localisation(Verdict.WRONG, ("Pass (p)",), "ttir", quote=Quote(stands=stands))
    outcome = Outcome(Verdict.WRONG, "ttir", mismatches=(Mismatch("v0", 0, 1, 2),))
    found = made_findings.finding("WRONG x", None, None, outcome, localisation=blamed)
    text = lit_test(found, CONFIG, lambda _: {"text": "module {}", "arguments": []})
    assert text is not None
    assert [line for line in text.splitlines() if "RUN:" in line] == [text.splitlines()[1]]


def test_a_report_does_not_close_its_own_code() -> None:
    error = Outcome(Verdict.COMPILE_ERROR, "ttir", "```\n<script>\n````\n" + "x" * 300)
    text = issue(made_findings.finding("COMPILE_ERROR x", None, None, error), CONFIG, ())
    assert "`````\n```\n<script>" in text


# --- databases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_database_with_more_or_less_than_our_tables_is_refused(schema: str, campaign: Path) -> None:
    """Triggers, views that never end, columns that compute."""
    database = sqlite3.connect(campaign / DATABASE)
    database.executescript(schema)
    database.close()
    with pytest.raises(StoreError, match="schema differs"):
        Store.open(campaign)


@pytest.mark.parametrize("body", [b"\xff", 3, 1.5, "[" * 100_000, "null", "[]", '{"key": 1}', "\\ud800"], ids=shown)
def test_a_finding_of_another_type_is_refused_in_one_line(body: object, campaign: Path) -> None:
    edit(campaign, "UPDATE findings SET body = ?", values=(body,))
    with pytest.raises(StoreError, match=r"campaign\.db"):
        findings(campaign)


def test_a_value_as_large_as_memory_is_not_read(campaign: Path) -> None:
    edit(campaign, "UPDATE findings SET body = zeroblob(100000000)")
    with pytest.raises(StoreError, match="too big"):
        findings(campaign)


@pytest.mark.parametrize(
    "column", ["verdict = x'ff'", "verdict = 3", "stages = '[]'", "stages = x'00'", "outcome = '{}'", "message = x'ff'"]
)
def test_a_case_of_another_type_is_refused_in_one_line(column: str, campaign: Path) -> None:
    with Store.open(campaign) as store:
        store.record(1, "d", Outcome(Verdict.WRONG, stages={"shlo": "right"}), ("aa",))
    edit(campaign, f"UPDATE cases SET {column}")
    with Store.open(campaign) as store, pytest.raises(StoreError):  # noqa: PT012 - whichever reads that column
        store.counts()
        store.messages(Verdict.WRONG)
        store.stages()
        store.pending()
        store.tried(0, 9)


@pytest.mark.parametrize(
    "path", ["../../.bashrc", "/etc/passwd", "repros/../../x.py", "repros/x/y.py", "repros/x.sh", "repros/.x.py\n"]
)
def test_a_script_of_a_finding_is_in_the_folder(path: str, campaign: Path) -> None:
    """What is there is copied into reports, and nights write it back."""
    with_finding(campaign, scripts=[["torch", path, True, "x"]])
    with pytest.raises(StoreError, match="no script in the campaign's folder"):
        findings(campaign)


@pytest.mark.parametrize(
    "decoded",
    [
        {"shape": [1 << 20, 1 << 20]},
        {"shape": [-1]},
        {"parts": [{"device": 0, "start": [0, 0], "shape": [4, 4], "cells": "ab"}]},
        {"parts": [{"device": 0, "start": [7, 7], "shape": [4, 4], "cells": ""}]},
        {"parts": [{"device": 1 << 40, "start": [0, 0], "shape": [4, 4], "cells": ""}]},
        {"elements": [{"at": [1], "device": 0, "cause": "x", "wanted": "x", "got": "x"}]},
        {"causes": {str(number): 1 for number in range(5000)}},
    ],
)
def test_a_picture_that_does_not_fit_is_refused(decoded: dict[str, object], campaign: Path) -> None:
    explanation = PLAIN["explanation"] | {"decoded": [PLAIN["explanation"]["decoded"][0] | decoded]}
    with_finding(campaign, explanation=explanation)
    with pytest.raises(StoreError):
        findings(campaign)


def hot_journal(folder: Path, outside: Path) -> None:
    """A journal that SQLite rolls back, and whose end names a file that it then removes."""
    database = sqlite3.connect(folder / DATABASE)
    database.execute("PRAGMA journal_mode = DELETE")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA cache_size = 2")
    database.execute("PRAGMA cache_spill = 1")
    database.execute("BEGIN")
    database.executemany("INSERT INTO campaign VALUES (?, ?)", [(f"n{n}", "x" * 4000) for n in range(60)])
    journal, content = (folder / f"{DATABASE}-journal").read_bytes(), (folder / DATABASE).read_bytes()
    database.rollback()
    database.close()
    name = str(outside).encode()
    ending = name + struct.pack(">II", len(name), sum(struct.unpack(f"{len(name)}b", name)) & 0xFFFFFFFF)
    sectors = struct.pack(">I", (1 << 30) // 4096 + 1) + ending + bytes.fromhex("d9d505f920a163d7")
    (folder / DATABASE).write_bytes(content)
    (folder / f"{DATABASE}-journal").write_bytes(journal + sectors)


def test_a_journal_that_removes_other_files_is_refused(campaign: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    hot_journal(campaign, victim)
    with pytest.raises(StoreError, match="is not ours"):
        Store.open(campaign)
    assert victim.read_text() == "precious"


def test_our_own_databases_never_have_such_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when the driver is killed before it opens what it has just made."""
    monkeypatch.setattr(Store, "open", lambda folder: None)
    Store.create(tmp_path, {})
    assert (tmp_path / DATABASE).read_bytes()[18:20] == b"\2\2"  # write-ahead log, section 1.3.3 of the file format


@pytest.mark.parametrize(
    "name",
    ["campaign.db-wal", "campaign.lock", "cases", "logs", "repros", "report", "report.html", "repros/x.py", "tmp"],
)
def test_a_link_in_a_campaigns_folder_is_refused(name: str, campaign: Path, tmp_path: Path) -> None:
    """What we write or remove there would be written or removed elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = campaign / name
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.symlink_to(victim)
    with pytest.raises((StoreError, ConfinedError), match="is a link"):
        Store.open(campaign)
    assert victim.read_text() == "precious"


def test_the_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "campaign.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(ConfinedError, match="is a link"), locked(tmp_path):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_pipe_in_a_campaigns_folder_is_not_waited_for(campaign: Path) -> None:
    os.mkfifo(campaign / "campaign.db-wal")
    with pytest.raises((StoreError, ConfinedError), match="is no file"):
        Store.open(campaign)


def test_a_database_with_a_name_that_is_no_text_is_refused(campaign: Path) -> None:
    """SQLite quotes it in its message, which then is no text either."""
    path = campaign / DATABASE
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE rounds", b"CREATE T\xb3BLE rounds"))
    with pytest.raises(StoreError, match="no text"):
        Store.open(campaign)


def test_a_history_of_another_make_is_refused(tmp_path: Path) -> None:
    with History.open(tmp_path):
        pass
    with sqlite3.connect(tmp_path / HISTORY) as database:
        database.execute("CREATE TRIGGER t AFTER INSERT ON seen BEGIN DELETE FROM nights; END")
    with pytest.raises(HistoryError, match="schema differs"):
        History.open(tmp_path)


def test_a_bucket_of_a_history_is_read_as_a_strangers(tmp_path: Path) -> None:
    with History.open(tmp_path):
        pass
    body = json.dumps(PLAIN | {"scripts": [["torch", "../../.bashrc", True, "x"]]})
    with sqlite3.connect(tmp_path / HISTORY) as database:
        database.execute("INSERT INTO nights VALUES ('2026-01-01', '2026-01-01', '{}')")
        database.execute("INSERT INTO seen VALUES ('2026-01-01', ?, 'new', 1, '')", (PLAIN["id"],))
        database.execute("INSERT INTO buckets VALUES (?, ?, ?)", (PLAIN["id"], body, '{"torch script": "evil"}'))
    with History.open(tmp_path) as history, pytest.raises(HistoryError, match="no script in the campaign's folder"):
        history.buckets("2026-02-01")


# --- commands on a stranger's folder ----------------------------------------------------------------------------------


def set_setting(folder: Path, **changes: object) -> None:
    plain = {"settings": Settings(CONFIG, Space((MESH,))).to_plain() | changes, "budget": {}}
    edit(folder, "UPDATE campaign SET value = ? WHERE name = 'settings'", values=(json.dumps(plain),))


PLUGIN = CONFIG.to_plain() | {"plugin": "/tmp/evil.so"}


@pytest.mark.parametrize(
    "command", [["run", "--resume"], ["emit", PLAIN["id"]], ["emit", "--all"], ["reduce", PLAIN["id"]]]
)
def test_a_plugin_that_only_a_database_names_is_not_loaded(
    command: list[str], campaign: Path, meshfuzz: Meshfuzz
) -> None:
    set_setting(campaign, target=PLUGIN)
    result = meshfuzz(*command, "--dir", str(campaign))
    assert (result.code, "name it with --plugin too" in result.err) == (2, True)


def test_a_plugin_is_loaded_if_the_command_line_names_it_too(tmp_path: Path) -> None:
    config = replace(CONFIG, plugin=str(tmp_path / "p.so"))
    assert confirmed(config, str(tmp_path / "x" / ".." / "p.so")) is config
    for given_path in (None, str(tmp_path / "q.so")):
        with pytest.raises(UsageError):
            confirmed(config, given_path)


@pytest.mark.parametrize("line", ["plugin: evil.so", "target: 'plugin:evil.so'"])
def test_a_plugin_that_only_a_configuration_names_is_not_loaded(line: str, tmp_path: Path, meshfuzz: Meshfuzz) -> None:
    path = tmp_path / "nightly.yaml"
    path.write_text(f"folder: nights\n{line}\n")
    result = meshfuzz("nightly", "--config", str(path))
    assert (result.code, "name it with --plugin too" in result.err) == (2, True)
    assert not (tmp_path / "nights").exists()


def test_a_corpus_that_only_a_database_names_is_not_read(campaign: Path, meshfuzz: Meshfuzz) -> None:
    set_setting(campaign, corpus="/etc")
    result = meshfuzz("run", "--resume", "--dir", str(campaign))
    assert (result.code, "say with --corpus where it is here" in result.err) == (2, True)


@pytest.mark.parametrize(
    "change",
    [
        {"workers": 100_000}, {"workers": 0}, {"deadline": 1e300}, {"memory_limit": 1 << 62}, {"revisit": 5},
        {"more": 1},
        {"space": {}}, {"space": {"meshes": []}}, {"target": {}}, {"target": PLUGIN | {"kind": "os"}}, {"seed": "x"},
        {"deadline": float("nan")},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_in_one_line(
    change: dict[str, object], campaign: Path, meshfuzz: Meshfuzz
) -> None:
    set_setting(campaign, **change)
    result = meshfuzz("run", "--resume", "--dir", str(campaign))
    assert (result.code, result.err.count("\n")) == (2, 1)


@pytest.mark.parametrize("command", [["show"], ["show", PLAIN["id"]], ["report"], ["emit", "--all"]])
def test_no_command_but_prove_runs_a_script_of_a_folder(
    command: list[str], campaign: Path, meshfuzz: Meshfuzz, tmp_path: Path
) -> None:
    """They show and copy it. Nor does one of them show what a stranger says as if the terminal should obey."""
    (campaign / "repros").mkdir()
    (campaign / "repros" / "made_torch.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    set_setting(
        campaign, target=CONFIG.to_plain() | {"kind": "torchxla", "mock": False}
    )  # whose scripts need no worker
    with_finding(campaign, outcome=PLAIN["outcome"] | {"message": ESCAPES, "verdict": "WRONG"})
    result = meshfuzz(*command, "--dir", str(campaign))
    assert result.code == 0
    assert not (tmp_path / "ran").exists()
    assert not set(ESCAPES) & set("\x1b\x07\x9b\u202e") & set(result.out + result.err)


def test_prove_says_what_it_runs(tmp_path: Path, meshfuzz: Meshfuzz) -> None:
    path = tmp_path / "script.py"
    path.write_text("print('\\x1b]0;owned\\x07')\nraise SystemExit(1)\n")
    result = meshfuzz("prove", str(path))
    assert (result.code, f" -P {path}" in result.err) == (1, True)
    assert "\x1b" not in result.out


def test_an_error_of_a_strangers_words_does_not_act_on_the_terminal(tmp_path: Path, meshfuzz: Meshfuzz) -> None:
    path = tmp_path / "case.yaml"
    path.write_text('{"\\u001b]0;owned\\u0007": 1}')
    result = meshfuzz("reduce", str(path))
    assert (result.code, "\x1b" in result.err, result.err.count("\n")) == (2, False, 1)


# --- corpora ----------------------------------------------------------------------------------------------------------


def test_an_entry_of_a_corpus_is_no_link(tmp_path: Path) -> None:
    (tmp_path / REGRESSIONS).mkdir()
    (tmp_path / "secret.yaml").write_text("password: hunter2")
    (tmp_path / REGRESSIONS / "x.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(CorpusError, match="a link"):
        load_entry(tmp_path / REGRESSIONS / "x.yaml")


# --- by the hundred ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_that_are_mutated_are_good(kind: str, tmp_path: Path) -> None:
    assert read_all(kind, written(good(kind), tmp_path)).said == "read"


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    """The same inputs every time; the benchmark tries others."""
    said = set()
    for number in range(12 if kind == "database" else 40):
        told = read_all(kind, written(mutated(kind, Random(number)), tmp_path / str(number)))
        assert told.loading < 5
        said.add(told.said)
    assert len(said) > 6


def written(files: Any, folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_case_that_was_tampered_with_says_so() -> None:
    text = PLAIN["reduced"].replace("[8, 8]", "[8, 4]")
    with pytest.raises(CaseError, match="digest mismatch"):
        loads(text)
    assert specs(loads(PLAIN["reduced"]))
