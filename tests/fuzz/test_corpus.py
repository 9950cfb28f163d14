# SPDX-License-Identifier: Apache-2.0
"""The corpus: entries come back as they were written, mistakes are named, and what adds nothing is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec
from fuzz.corpus import (
    REGRESSIONS,
    SEEDS,
    About,
    CorpusError,
    Entry,
    dump_entry,
    entries,
    lint,
    load_entry,
    redundant,
)
from fuzz.evidence import Neighbour
from fuzz.triage import bucket_id

BUCKET = "WRONG shlo -> shlo_compiler, reverse: each shard alone"
SEED = About("turns a split dim around", ("K1", "K8"), ("tt-xla#5409", "openxla/xla#1"))


def flip(size: int = 4, sharding: tuple[str, ...] = ("y",), dtype: str = "f32") -> Case:
    value = Input("x0", TensorSpec((size,), dtype), Payload("position"), (sharding,))
    node = Node("v0", "flip", ("x0",), (("dims", (0,)),))
    return Case(Mesh.parse("1x2"), (value,), (node,), (Output("v0"),))


def keep(folder: Path, kind: str, name: str, case: Case, about: About) -> Path:
    path = folder / kind / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_entry(case, about))
    return path


def test_an_entry_comes_back(tmp_path: Path) -> None:
    about = replace(
        SEED,
        fails="WRONG shlo_compiler: flip",
        bucket=BUCKET,
        plugin="jax-tt-plugin 0.1.3",
        neighbours=(Neighbour("dim 0 of x0 = 8", flip(8)),),
    )
    path = keep(tmp_path, SEEDS, "flip", flip(), about)
    assert load_entry(path) == Entry("flip", path, flip(), about)


def test_a_regression_is_named_after_its_bucket(tmp_path: Path) -> None:
    path = keep(tmp_path, REGRESSIONS, bucket_id(BUCKET), flip(), About(bucket=BUCKET))
    assert load_entry(path).is_regression
    assert not load_entry(keep(tmp_path, SEEDS, "flip", flip(), About(bucket=BUCKET))).is_regression


def test_a_good_corpus_has_no_problems(tmp_path: Path) -> None:
    keep(tmp_path, SEEDS, "flip", flip(), SEED)
    keep(tmp_path, REGRESSIONS, bucket_id(BUCKET), flip(6), About(fails="x", bucket=BUCKET, plugin="p"))
    assert list(lint(tmp_path)) == []
    assert len(entries(tmp_path)) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("K8", "K23", "unknown class 'K23': use K1 to K22"),
        ("tt-xla#5409", "'5409'", "'5409' names no issue: write repository#number"),
        ("says:", "sais:", "about: unknown keys ['sais']"),
        ("dtype: f32", "dtype: f64", "unknown dtype 'f64'"),
        ("op: flip", "op: flop", "nodes[0]: unknown op 'flop'"),
        ("dims: [0]", "dims: [3]", "nodes[0]: flip: torch rejects the operands"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_column(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = keep(tmp_path, SEEDS, "flip", flip(), SEED)
    path.write_text(path.read_text().partition("\n")[2].replace(old, new, 1))
    (problem,) = lint(tmp_path)
    assert said in problem
    assert problem.startswith(f"{path}:")
    with pytest.raises(CorpusError):
        entries(tmp_path)


def test_a_case_that_was_changed_by_hand_must_drop_its_digest(tmp_path: Path) -> None:
    path = keep(tmp_path, SEEDS, "flip", flip(), SEED)
    path.write_text(path.read_text().replace("kind: position", "kind: small"))
    assert "digest mismatch" in next(lint(tmp_path))


def test_a_result_without_end_is_refused(tmp_path: Path) -> None:
    node = Node("v0", "full", (), (("dtype", "f32"), ("shape", (1_000_000, 1_000_000)), ("value", 1)))
    keep(tmp_path, SEEDS, "full", Case(Mesh.parse("1x1"), (), (node,), (Output("v0"),)), SEED)
    (problem,) = lint(tmp_path)
    assert "a result of 1000000000000 elements, more than the limit" in problem


def test_what_an_entry_lacks_is_said(tmp_path: Path) -> None:
    keep(tmp_path, SEEDS, "a", flip(), About())
    keep(tmp_path, SEEDS, "b", flip(), SEED)
    keep(tmp_path, REGRESSIONS, "c", flip(8), About(fails="x", bucket=BUCKET))
    said = [problem.partition(".yaml:")[2] for problem in lint(tmp_path)]
    assert said == [
        "1:1: a seed says what it asks and for which classes of bugs (about.says, about.classes)",
        f"1:1: the same case as {tmp_path / SEEDS / 'a.yaml'}",
        f"1:1: a regression is named after its bucket: {bucket_id(BUCKET)}.yaml",
        "1:1: say with which plugin it fails (about.plugin)",
    ]


def test_no_folder_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        entries(tmp_path / "none")


def kept(*cases: Case, bucket: str = "") -> list[Entry]:
    about = About(bucket=bucket)
    return [Entry(bucket_id(bucket) if bucket else f"e{n}", Path(), case, about) for n, case in enumerate(cases)]


def test_only_what_adds_nothing_is_redundant() -> None:
    all_different = kept(flip(), flip(sharding=()), flip(dtype="i32"), flip(4096))
    assert redundant(all_different) == ()
    assert [entry.name for entry in redundant(kept(flip(6), flip(4), flip(2)))] == ["e0", "e1"]


def test_a_regression_is_never_redundant() -> None:
    both = [*kept(flip(2)), *kept(flip(4), bucket=BUCKET)]
    assert redundant(both) == (both[0],)
