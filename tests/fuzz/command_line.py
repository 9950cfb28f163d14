# SPDX-License-Identifier: Apache-2.0
"""The command line, called in the process of a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fuzz import cli


@dataclass(frozen=True)
class Result:
    """What a command said and its exit code."""

    code: int
    out: str
    err: str


Meshfuzz = Callable[..., Result]


def call(capfd: pytest.CaptureFixture[str], *arguments: str) -> Result:
    """Run a command to its end."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    out, err = capfd.readouterr()
    return Result(int(str(ended.value.code)), out, err)
