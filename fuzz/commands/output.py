# SPDX-License-Identifier: Apache-2.0
"""What commands give back: exit codes, and text for people or programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fuzz.document import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

NOTHING_NEW, FINDINGS, USAGE, ENVIRONMENT = range(4)
INTERRUPTED = 130


def show_text(text: RenderableType, plain: object) -> None:
    """Print `plain` as JSON, or the text if `plain` is None."""
    if plain is not None:
        click.echo(json.dumps(plain, indent=2))
        return
    from rich.console import Console

    from fuzz.report.terminal import print_to

    print_to(Console(), text)


def say(text: object, *, err: bool = False) -> None:
    """A line, without what would act on the reader's terminal."""
    click.echo(printable(str(text)), err=err)


def write_text(text: str, output: Path | None) -> None:
    """Into the file, or to stdout."""
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        output.write_text(text, encoding="utf-8")
