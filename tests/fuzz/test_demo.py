# SPDX-License-Identifier: Apache-2.0
"""The demonstration, through the command line and the real compiler."""

import re

import pytest

from fuzz import cli


@pytest.mark.tt
@pytest.mark.timeout(600)
def test_the_story_is_told_on_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", "glm-router"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    plain, iota, rounded = re.split(r"^INJECTED ", text, flags=re.MULTILINE)
    assert plain.count("PASS: shlo right, shlo_compiler right, ttir right, ttnn right") == 2
    assert iota.startswith("local_row_iota")
    assert "mesh rows 1-3 used mesh row 0's offset" in iota
    assert rounded.startswith("flat_index_11_bits")
    assert "scores[2610], not scores[2609]" in rounded
    assert "11 significant bits" in rounded
    assert "fails" not in rounded  # the usual check sees nothing


def test_an_unknown_story_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", "fairy-tale"])
    assert ended.value.code == cli.USAGE
    assert "glm-router" in capsys.readouterr().err
