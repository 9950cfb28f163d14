# SPDX-License-Identifier: Apache-2.0
"""The Jinja environment of all templates, and how they spell shardings, comments and table cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fuzz.case import Sharding
from fuzz.document import printable

# What lit and FileCheck look for, anywhere in a file.
_DIRECTIVE = re.compile(r"(RUN|DEFINE|XFAIL|REQUIRES|UNSUPPORTED|ALLOW_RETRIES|CHECK(?:-[A-Z]+)?(?:\{[^}]*\})?):")
_MARKUP = re.compile(r"[<>]|!(?=\[)|(?<=\])[(\[]")


def render(template: str, **words: object) -> str:
    """The text of a template, with one line end at its end. Raises jinja2.TemplateError."""
    return _environment().get_template(template).render(**words).rstrip("\n") + "\n"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is Python, MLIR and Markdown, not HTML
    )
    environment.filters["comment"] = _comment
    environment.filters["fence"] = _fence
    environment.filters["inert"] = _inert
    environment.filters["printable"] = printable
    environment.filters["prose"] = _prose
    environment.filters["one_line"] = _one_line
    environment.filters["sharding"] = _sharding_words
    environment.filters["sizes"] = _sizes
    environment.filters["position"] = _position
    environment.filters["cell"] = _cell
    return environment


def _comment(text: str, mark: str = "#") -> str:
    return "\n".join(f"{mark} {printable(line)}".rstrip() for line in text.splitlines() or [""])


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _inert(text: str) -> str:
    """One line in which neither lit nor FileCheck finds a directive: they look for those anywhere in a file."""
    return _DIRECTIVE.sub(r"\1 :", _one_line(text))


def _prose(text: str) -> str:
    """One line of Markdown without tags, links and the end of a comment; backticks mark code, as in our own words."""
    return _MARKUP.sub(r"\\\g<0>", _one_line(text))


def _fence(text: str) -> str:
    """The marks around a block of code that nothing in it can end."""
    return "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", text))])


def _sharding_words(sharding: Sharding) -> str:
    return "[" + ", ".join("{" + ", ".join(axes) + "}" for axes in sharding) + "]"


def _sizes(axes: Mapping[str, int]) -> str:
    return ", ".join(f"{axis}={size}" for axis, size in axes.items())


def _position(at: str) -> str:
    """A tuple's text as an index: (0, 1) is [0, 1], and (3,) is [3]."""
    return f"[{at.strip('()').rstrip(',')}]" if at else ""


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")
