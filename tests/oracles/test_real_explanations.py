# SPDX-License-Identifier: Apache-2.0
"""Known bugs of the real compiler, explained: the sentence, that fresh inputs agree, and the decoded elements."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.case_file import load
from fuzz.pool import Pool
from oracles.explanation import FRESH

FOLDER = Path(__file__).parents[2] / "corpus" / "regressions"

pytestmark = pytest.mark.tt


@pytest.mark.parametrize(
    ("name", "model", "sentence"),
    [
        (
            "b9b2b2d2",
            "parts in minor-axis-first order",
            "x0, dim 0 over x, y: its parts stand in the order of the minor axis first",
        ),
        ("f429daa3", "shard offset missing", "mesh column 1 used mesh column 0's offset"),
        (
            "bb46f507",
            "partial results added up",
            "x1 over y: every device does its part of index_fill on a copy of the whole base, and the copies are added "
            "up",
        ),
        (
            "4198154c",
            "index collapsed",
            "index x1 differs along dim 1, and its first entry there is used for all",
        ),
        (
            "fa02c0f2",
            "each shard alone",
            "x0 over y: each shard is taken alone for flip, nothing passes between them",
        ),
        (
            "c0f8b819",
            "parts interleave",
            "dim 0 over y: every device joins its own part with itself; the result is a window of that",
        ),
        (
            "2ae94b82",
            "each shard alone",
            "x0 over y: each shard is taken alone for cumsum, nothing passes between them",
        ),
        (
            "876150e5",
            "parts in minor-axis-first order",
            "v0, dim 0 over y, x: its parts stand in the order of the minor axis first",
        ),
        ("d9a7f059", "index ignored", "index x1 is ignored: positions 0, 1, 2, .. are used instead"),
        ("aa9afea4", "constant lost", "value=1 became 0"),
        ("683ba234", "values 24 significant bits", "16777217 became 16777216: 24 significant bits"),
    ],
)
def test_a_known_bug_is_explained(tt: Pool, name: str, model: str, sentence: str) -> None:
    explanation = tt.explain(load(FOLDER / f"{name}.yaml"))
    assert (explanation.model, explanation.sentence) == (model, sentence)
    # one_hot of two classes has one other input.
    assert explanation.confirmed == (1 if name == "f429daa3" else FRESH)


def test_wrong_elements_are_told_by_their_sources(tt: Pool) -> None:
    (decoded,) = tt.explain(load(FOLDER / "fa02c0f2.yaml")).decoded
    told = [(element.at, element.device, element.wanted, element.got) for element in decoded.elements]
    assert told == [((0,), 0, "x0[1] of y=1", "x0[0] of y=0"), ((1,), 1, "x0[0] of y=0", "x0[1] of y=1")]
    assert [part.cells for part in decoded.parts] == ["a", "a"]


def test_a_right_case_has_nothing_to_explain(tt: Pool) -> None:
    seed = load(FOLDER.parent / "seeds" / "glm-router.yaml")
    assert tt.explain(seed).sentence.startswith("unexplained: NotWrong: every stage is right")
