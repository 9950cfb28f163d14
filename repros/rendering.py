# SPDX-License-Identifier: Apache-2.0
"""The Jinja environment of all templates, and how they spell shardings, comments and table cells."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fuzz.case import Sharding


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
    environment.filters["sharding"] = _sharding_words
    environment.filters["sizes"] = _sizes
    environment.filters["position"] = _position
    environment.filters["cell"] = _cell
    return environment


def _comment(text: str, mark: str = "#") -> str:
    return "\n".join(f"{mark} {line}".rstrip() for line in text.splitlines() or [""])


def _sharding_words(sharding: Sharding) -> str:
    return "[" + ", ".join("{" + ", ".join(axes) + "}" for axes in sharding) + "]"


def _sizes(axes: Mapping[str, int]) -> str:
    return ", ".join(f"{axis}={size}" for axis, size in axes.items())


def _position(at: str) -> str:
    """A tuple's text as an index: (0, 1) is [0, 1], and (3,) is [3]."""
    return f"[{at.strip('()').rstrip(',')}]" if at else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
