# SPDX-License-Identifier: Apache-2.0
"""Standalone scripts for one failing case.

A script imports nothing of ours and exits with 0 (correct), 1 (bug present) or 77 (cannot run here). The `torch` form
is what a user runs on a TT machine; the `stablehlo` form needs no torch and no chips; the `pytest` form is the torch
form as a test for tt-xla. The templates hold all program text; this module only turns a case into the words they need.
Whether a script reproduces anything is `repros.prove`'s answer.
"""

from __future__ import annotations

import keyword
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from fuzz.case import Case, Mesh, Node, Output, Sharding, check_options, is_uneven, replicated
from fuzz.ops import source_line
from repros.cluster import mock_cluster
from repros.facts import Facts
from repros.literal import LITERAL_ELEMENTS, NUMPY, TORCH, EmitError, input_source, tensor_source
from repros.rendering import render

HANG_SECONDS = 240  # a cold machine builds kernels for up to two minutes before the first compile
# Names the scripts use themselves: a value of that name would change their meaning.
RESERVED = frozenset({"device", "graph", "mark", "np", "torch"})
# tt-xla's marks for runners by their number of chips (its pytest.ini); llmbox has 8.
RUNNERS = {1: "single_device", 2: "dual_chip", 4: "bhqb"}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of the lowered module: an input of the case, or a constant that lowering lifted out of the graph."""

    input: str | None = None
    constant: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """A global output as torch on the CPU computes it."""

    value: torch.Tensor
    bound: float = 0.0  # largest absolute error of a correct element; 0 compares exactly


def emit_torch(
    case: Case, facts: Facts, bounds: Mapping[str, float] | None = None, device: Literal["TT", "CPU"] = "TT"
) -> str:
    """The script for torch_xla SPMD. `bounds`: largest absolute error of a correct element, per output; default 0.

    `device`: where it runs unless PJRT_DEVICE says otherwise; CPU for bugs of torch_xla and XLA themselves.
    Raises EmitError for a case that cannot be written as a script, CaseError for one with unknown ops or payloads.
    """
    return _render("torch.py.j2", case, facts, **_torch_words(case, bounds, device))


def emit_pytest(
    case: Case, facts: Facts, bounds: Mapping[str, float] | None = None, device: Literal["TT", "CPU"] = "TT"
) -> str:
    """The same as a test in the manner of tt-xla's: fails while the bug is there. Raises as `emit_torch`."""
    ops = list(dict.fromkeys(node.op for node in case.nodes)) or ["resharding"]
    return _render(
        "pytest.py.j2",
        case,
        facts,
        test_name="_".join([*ops[:3], *(["sharded"] if case.mesh.size > 1 else [])]),
        runner=RUNNERS.get(case.mesh.size, "llmbox"),
        category="OP_TEST" if len(case.nodes) <= 1 else "GRAPH_TEST",
        torch_op=torch_name(case.nodes[0]) if len(case.nodes) == 1 else "",
        **_torch_words(case, bounds, device),
    )


def _torch_words(case: Case, bounds: Mapping[str, float] | None, device: Literal["TT", "CPU"]) -> dict[str, Any]:
    _check_names(case)
    sources = {value.name: input_source(value, TORCH) for value in case.inputs}
    return {
        "requirement": f"Needs torch, torch_xla with a TT plugin, and {case.mesh.size} devices. "
        "PJRT_DEVICE=CPU runs the same graph on XLA's CPU mesh."
        if device == "TT"
        else "Needs torch and torch_xla; runs on XLA's CPU mesh.",
        "device": device,
        "inputs": [
            {"name": value.name, "source": sources[value.name], "partition": _partition(value.sharding)}
            for value in case.inputs
        ],
        "nodes": [
            {"name": node.name, "source": source_line(node), "partition": _partition(node.sharding)}
            for node in case.nodes
        ],
        "outputs": [output.name for output in case.outputs],
        "returned": [_returned(output) for output in case.outputs],
        "bounds": [(bounds or {}).get(output.name, 0.0) for output in case.outputs],
        "helpers": _helpers(sources.values()),
    }


def torch_name(node: Node) -> str:
    """What torch calls an op, for example torch.gather."""
    line = source_line(node)
    if function := re.search(r"\btorch(?:\.\w+)+(?=\()", line):
        return function[0]
    method = re.search(r"\.([a-z_]\w*)\(", line)
    return f"torch.{method[1] if method else node.op}"


def emit_stablehlo(
    case: Case,
    facts: Facts,
    module: str,
    arguments: Sequence[Argument],
    expected: Sequence[Expected],
    topology: Mesh | None = None,
    platform: Literal["tt", "cpu"] = "tt",
) -> str:
    """The script for jax, numpy and the plugin alone.

    `platform`: cpu compiles and runs the module with XLA on a CPU mesh, for bugs of XLA itself; no plugin then.

    `module` is the annotated global StableHLO text as sent to the plugin, `arguments` in its order, `expected` in the
    order of the outputs. `topology` is the mock device grid, by default one that fits the case's mesh.
    Raises EmitError for a case that cannot be written as a script, CaseError for one with unknown payloads.
    """
    if "'''" in module or "\0" in module:
        raise EmitError("the module text holds ''' or a null byte and cannot be quoted in a script")
    check_options(case)  # one could name a file for the compiler to write
    _check_names(case)
    sources = [_argument_source(case, argument) for argument in arguments]
    results = [_expected_source(i, output) for i, output in enumerate(expected)]
    return _render(
        "stablehlo.py.j2",
        case,
        facts,
        requirement="Needs jax, numpy and a TT PJRT plugin. Without chips it compiles for a mock mesh and runs the "
        "partitioned program\nthat the compiler wrote (its shlo_compiler dump) on CPU devices."
        if platform == "tt"
        else "Needs jax and numpy; runs on XLA's CPU mesh.",
        platform=platform,
        placements=_boundary_shardings(case, arguments, expected),
        module=module.strip("\n"),
        cluster=mock_cluster(topology or case.mesh),
        devices=case.mesh.size,
        options="".join(f", {pair!r}" for pair in case.options),
        arguments=sources,
        expected=[{"source": source, "bound": output.bound} for source, output in zip(results, expected, strict=True)],
        helpers=_helpers(sources),
        # Where the program has none, the compiler's has none with a mark; it would not be understood.
        gathers=platform == "tt" and "stablehlo.gather" in module,
        unpartitioned=any(source.startswith("unpartitioned(") for source in results),
    )


def _boundary_shardings(
    case: Case, arguments: Sequence[Argument], expected: Sequence[Expected]
) -> tuple[list[str], list[str]]:
    """Shardings of a module's arguments and results as Shardy writes them; uneven ones are constraints inside."""

    def text(sharding: Sharding | None, shape: Sequence[int]) -> str:
        if sharding is None or is_uneven(tuple(shape), sharding, case.mesh):
            sharding = replicated(len(shape))
        return "[" + ", ".join("{" + ", ".join(f'"{axis}"' for axis in axes) + "}" for axes in sharding) + "]"

    values = [case.input(argument.input or "") for argument in arguments]
    ins = [text(value.sharding, value.spec.shape) if value else "[]" for value in values]
    outs = [text(output.sharding, e.value.shape) for output, e in zip(case.outputs, expected, strict=True)]
    return ins, outs


# --- parts ------------------------------------------------------------------------------------------------------------


def _check_names(case: Case) -> None:
    # Names come from files; in a script they become code.
    inner = [value.name for value in case.inputs] + [node.name for node in case.nodes]
    for name in inner + [output.name for output in case.outputs] + list(case.mesh.axes):
        if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name in RESERVED:
            raise EmitError(f"{name!r} cannot be a name in a script; rename it in the case")


def _partition(sharding: Sharding | None) -> tuple[str | tuple[str, ...] | None, ...] | None:
    """A torch_xla partition spec: per dim None, one axis or several."""
    if sharding is None:
        return None
    return tuple(None if not axes else axes[0] if len(axes) == 1 else axes for axes in sharding)


def _returned(output: Output) -> str:
    return output.name if output.sharding is None else f"mark({output.name}, {_partition(output.sharding)})"


def _argument_source(case: Case, argument: Argument) -> str:
    if argument.constant is not None:
        return tensor_source(argument.constant, NUMPY)
    value = case.input(argument.input or "")
    if value is None:
        raise EmitError(f"argument {argument.input!r} is neither an input of the case nor a constant")
    return input_source(value, NUMPY)


def _expected_source(number: int, output: Expected) -> str:
    if output.value.numel() <= LITERAL_ELEMENTS:
        return tensor_source(output.value, NUMPY)
    return f"unpartitioned({number}, {None if output.bound else checksum(output.value)})"


def checksum(value: torch.Tensor) -> int:
    """CRC-32 of the elements as float64; all NaNs and both zeros count as one value each."""
    plain = value.to(torch.float64).numpy()
    return zlib.crc32(np.where(plain == plain, plain + 0, 0).tobytes())


def _helpers(sources: Iterable[str]) -> set[str]:
    text = "\n".join(sources)
    used = {"permutation"} if "permutation(" in text else set()
    return used | ({"mixed"} if used or "mixed(" in text else set())


def _render(template: str, case: Case, facts: Facts, **words: object) -> str:
    guarded = facts.failure in ("crash", "hang")
    return render(template, case=case, facts=facts, guarded=guarded, deadline=HANG_SECONDS, **words)
