# SPDX-License-Identifier: Apache-2.0
"""A bug report in the form that the project at fault asks for, to be read in a minute.

Headings and their order are those of .github/ISSUE_TEMPLATE in tenstorrent/tt-mlir and tt-xla (bug_report.yml, one
text for both) and pytorch/xla (bug-report.md). openxla/xla has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from fuzz.case import Case, Input
from fuzz.ops import source_line
from repros.facts import Facts
from repros.literal import LITERAL_ELEMENTS, TORCH, input_source
from repros.rendering import render

Repository = Literal["tenstorrent/tt-mlir", "tenstorrent/tt-xla", "pytorch/xla", "openxla/xla"]
TEMPLATES: dict[Repository, str] = {
    "tenstorrent/tt-mlir": "issue_tenstorrent.md.j2",
    "tenstorrent/tt-xla": "issue_tenstorrent.md.j2",
    "pytorch/xla": "issue_pytorch_xla.md.j2",
    "openxla/xla": "issue_openxla.md.j2",
}
PLUGINS = ("jax-tt-plugin", "pjrt-plugin-tt")  # of Tenstorrent's compiler; the first is on PyPI
FRAMEWORKS = ("jax", "jaxlib", "torch", "torch_xla")
EXIT_CODES = "exit code 1: bug present, 0: correct, 77: cannot run here"


def emit_issue(case: Case, facts: Facts, scripts: Sequence[str], repository: Repository) -> str:
    """The report. `scripts`: names of the files that go with it, which say by their ending what they are."""
    versions = dict(part.split(" ", 1) for part in facts.versions.split(", ") if " " in part)
    plugin = next((name for name in PLUGINS if name in versions), PLUGINS[0])
    wanted = ["torch", "torch_xla"] if repository == "pytorch/xla" else ["jax", "numpy"]
    wanted += [plugin] if repository.startswith("tenstorrent/") else []
    text = render(
        TEMPLATES[repository],
        case=case,
        facts=facts,
        repository=repository,
        inputs=[{"name": v.name, "source": _values(v), "sharding": v.sharding} for v in case.inputs],
        nodes=[{"name": n.name, "source": source_line(n), "sharding": n.sharding} for n in case.nodes],
        scripts=[_step(Path(name), facts, repository) for name in sorted(scripts, key=_ease)],
        install=" ".join(_pinned(name, versions, "==") for name in wanted),
        versions=versions,
        frameworks=", ".join(_pinned(name, versions, " ") for name in FRAMEWORKS if name in versions),
        software=_pinned(plugin, versions, " "),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _pinned(name: str, versions: Mapping[str, str], between: str) -> str:
    return f"{name}{between}{versions[name]}" if name in versions else name


def _values(value: Input) -> str:
    """Source where it is short, a description where it is not."""
    source = input_source(value, TORCH)
    if value.spec.elements <= LITERAL_ELEMENTS and "\n" not in source:
        return source
    return f"...  # {value.spec.dtype}{list(value.spec.shape)}, see the script;"


def _ease(name: str) -> int:
    """What needs the least comes first: no chips, then chips, then a checkout of the project at fault."""
    endings = ("_stablehlo.py", "_torch.py", "test.py", ".mlir")
    return next((number for number, ending in enumerate(endings) if name.endswith(ending)), len(endings))


def _step(script: Path, facts: Facts, repository: Repository) -> str:
    if script.suffix == ".mlir":
        return f"`llvm-lit {script}` in a build of tt-mlir (not run here; its RUN line has the pipeline)"
    if script.stem.endswith("test"):
        return f"`pytest {script}`: fails while the bug is there, passes when it is fixed"
    if facts.late_stage and script.stem.endswith("_stablehlo"):
        return f"`python {script}` (without chips it ends with 77 and prints the wrong `{facts.late_stage}` module)"
    chips = repository.startswith("tenstorrent/") and script.stem.endswith("_torch")
    return f"`python {script}`{', where torch_xla has a TT plugin' if chips else ''} ({EXIT_CODES})"
