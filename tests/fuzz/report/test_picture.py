# SPDX-License-Identifier: Apache-2.0
"""What a picture shows of a wrong output, and what it says it leaves out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_findings import MESH, decoded

from fuzz.case import Mesh
from fuzz.report.picture import NOTHING, PANELS, WINDOW, Panel, pictures
from oracles.explanation import RIGHT_CELL, Decoded, Part


def only_panel(seen: Decoded, mesh: Mesh = MESH) -> Panel:
    (picture,) = pictures(seen, mesh).pictures
    (panel,) = picture.panels
    return panel


def labels(panel: Panel) -> list[str]:
    return [" ".join(tile.label) for tile in panel.tiles]


def test_a_matrix_is_drawn_as_it_is_with_the_parts_over_it() -> None:
    panel = only_panel(decoded(MESH, (2, 4), (("x",), ("y",)), lambda d, at: "lost" if at == (1, 2) else ""))
    assert panel.cells == ("....", "..a.")
    assert [(tile.rows, tile.columns) for tile in panel.tiles] == [
        ((0, 0), (0, 1)), ((0, 0), (2, 3)), ((1, 1), (0, 1)), ((1, 1), (2, 3)),
    ]  # fmt: skip
    assert labels(panel) == ["x=0 y=0", "x=0 y=1", "x=1 y=0", "x=1 y=1"]


def test_a_vector_is_a_row_and_a_scalar_one_cell() -> None:
    vector = only_panel(decoded(MESH, (4,), (("x", "y"),), lambda d, at: "lost" if d == 2 else ""))
    scalar = only_panel(decoded(MESH, (), (), lambda d, at: "lost"))
    assert (vector.cells, vector.dims) == (("..a.",), 1)
    assert (scalar.cells, scalar.dims, labels(scalar)) == (("a",), 0, ["x=0,1 y=0,1"])


def test_causes_keep_the_letters_of_the_legend() -> None:
    panel = only_panel(decoded(MESH, (1, 3), ((), ()), lambda d, at: ("first", "", "second")[at[1]]))
    assert panel.cells == ("a.b",)


def test_replicas_that_agree_are_one_picture_of_all_their_devices() -> None:
    panel = only_panel(decoded(MESH, (2, 2), (("x",), ()), lambda d, at: "lost" if at[1] else ""))
    assert labels(panel) == ["x=0 y=0,1", "x=1 y=0,1"]


def test_replicas_that_disagree_are_a_picture_each() -> None:
    seen = decoded(MESH, (2, 2), (("x",), ()), lambda d, at: "lost" if d == 3 else "")
    right, wrong = pictures(seen, MESH).pictures
    assert (right.title, right.panels, right.notes) == ("The copy at x=0,1 y=0", (), ("Every element is right.",))
    assert wrong.title == "The copy at x=0,1 y=1"
    assert wrong.panels[0].cells == ("..", "aa")


def test_devices_that_form_no_rectangle_are_listed() -> None:
    seen = decoded(MESH, (1,), ((),), lambda d, at: "lost" if d in (0, 3) else "")
    assert [picture.title for picture in pictures(seen, MESH).pictures] == [
        "The copy at x=0 y=0, x=1 y=1",
        "The copy at x=0 y=1, x=1 y=0",
    ]


def test_higher_ranks_are_panels_of_their_last_dims_and_right_ones_are_left_out() -> None:
    seen = decoded(MESH, (3, 2, 2), ((), ("x",), ("y",)), lambda d, at: "lost" if at[0] == at[1] else "")
    (picture,) = pictures(seen, MESH).pictures
    assert [(panel.title, panel.cells) for panel in picture.panels] == [
        ("v0[0, :, :]", ("aa", "..")),
        ("v0[1, :, :]", ("..", "aa")),
    ]
    assert picture.notes == ("1 panel without a wrong element is left out.",)


def test_dims_of_size_one_are_not_what_a_panel_shows() -> None:
    panel = only_panel(decoded(MESH, (1, 2, 1, 3), ((), ("x",), (), ()), lambda d, at: "lost" if at[3] == 2 else ""))
    assert (panel.title, panel.cells) == ("v0[0, :, 0, :]", ("..a", "..a"))


def test_panels_that_look_alike_are_drawn_once() -> None:
    panel = only_panel(decoded(MESH, (5, 2, 2), ((), (), ()), lambda d, at: "lost" if at[1] else ""))
    assert panel.title == "v0[0, :, :] and 4 panels like it"


def test_more_panels_than_fit_are_counted() -> None:
    seen = decoded(MESH, (20, 5, 4), ((), (), ()), lambda d, at: "lost" if at[1] * 4 + at[2] == at[0] else "")
    (picture,) = pictures(seen, MESH).pictures
    assert len(picture.panels) == PANELS
    assert picture.notes == (f"{20 - PANELS} more panels with wrong elements are left out.",)


def test_equal_neighbours_of_a_long_dim_are_one_band_but_not_across_parts() -> None:
    seen = decoded(MESH, (1, 4096), ((), ("y",)), lambda d, at: "lost" if at[1] > 3000 else "")
    panel = only_panel(seen)
    assert panel.columns == ((0, 2047), (2048, 3000), (3001, 4095))
    assert panel.cells == ("..a",)
    assert any("neighbours" in note for note in panel.notes)


def test_what_is_cut_off_is_said_and_its_wrong_elements_counted() -> None:
    seen = decoded(MESH, (1, 200), ((), ()), lambda d, at: "lost" if at[1] % 2 and at[1] > 50 else "")
    panel = only_panel(seen)
    assert len(panel.columns) == WINDOW
    beyond = 75 - panel.cells[0].count("a")
    assert f"{beyond} wrong elements beyond" in panel.notes[-1]
    assert "columns 0 to " in panel.notes[-1]
    assert all(tile.columns[1] < WINDOW for tile in panel.tiles)


def test_the_part_that_is_shown_of_a_long_dim_has_the_first_wrong_element() -> None:
    def late(device: int, at: tuple[int, ...]) -> str:
        return "lost" if at[0] == 190 else ("odd", "even")[at[0] % 2] if at[0] > 188 else ""

    panel = only_panel(decoded(MESH, (200, 1), ((), ()), late))
    assert "a" in "".join(panel.cells)


def test_a_device_without_elements_is_named() -> None:
    seen = decoded(Mesh((1, 4), ("x", "y")), (3,), (("y",),), lambda d, at: "lost")
    shown = pictures(seen, Mesh((1, 4), ("x", "y")))
    assert shown.notes == ("x=0 y=3 holds nothing.",)
    assert shown.pictures[0].panels[0].cells == ("aaa",)


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        ([], "what each device holds is not known"),
        ([Part(0, (0,), (8,), "")], "too large (8)"),
        ([Part(0, (0,), (0,), "")], "what each device holds is not known"),
    ],
)
def test_a_picture_that_cannot_be_drawn_says_why(parts: Sequence[Part], note: str) -> None:
    shown = pictures(Decoded("v0", (8,), 1, {"lost": 1}, (), tuple(parts)), MESH)
    assert shown.pictures == ()
    assert note in shown.notes[0]


SHAPES = st.lists(st.integers(1, 5), max_size=4).map(tuple)


@given(shape=SHAPES, seed=st.integers(0, 1 << 16), split=st.booleans())
def test_every_wrong_element_of_a_small_output_is_in_some_panel(shape: tuple[int, ...], seed: int, split: bool) -> None:
    """Whatever the rank and the sharding, uneven ones too."""
    line = Mesh((1, 2), ("x", "y"))
    sharding = tuple(("y",) if split and dim == 0 else () for dim in range(len(shape)))
    seen = decoded(line, shape, sharding, lambda d, at: "lost" if hash((seed, at)) % 3 == 0 else "")
    shown = pictures(seen, line)
    copies = 1 if split and shape else 2
    drawn = 0
    for picture in shown.pictures:
        left_out = any("more panel" in note for note in picture.notes)
        for panel in picture.panels:
            alike = 1 + int(panel.title.split(" and ")[1].split()[0]) if " and " in panel.title else 1
            drawn += alike * sum(cell not in (RIGHT_CELL, NOTHING) for line in panel.cells for cell in line)
        assert drawn * copies == seen.wrong or left_out
