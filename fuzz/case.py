# SPDX-License-Identifier: Apache-2.0
"""The data model: everything needed to run one experiment again, as plain data.

Nothing here knows torch, a compiler or an op. A case is immutable, written as YAML, and identified by a digest. It
holds no tensors and no code: input values are recipes (`Payload`), computations are names of registered ops. How one
is read from text is in `fuzz.case_file`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any

from fuzz.document import shown

FORMAT = 1
DTYPES = ("f32", "bf16", "i32", "i64", "bool")
DTYPE_BYTES = {"f32": 4, "bf16": 2, "i32": 4, "i64": 8, "bool": 1}
PAYLOAD_KINDS = (
    "position",
    "small",
    "mask",
    "constant",
    "permutation",
    "boundary",
    "duplicates",
    "monotone",
    "random",
)
MAX_ELEMENTS = 1 << 30
MAX_DEVICES = 1 << 12
MAX_RANK = 16  # dims of a value, and axes of a mesh; numpy ends at 32

# Compile options that a file may set: what they choose among, and nothing that names a file or makes the compiler
# write one, as export_path of the TT compiler and xla_dump_to of XLA do.
_TRUTHS = "true|false|1|0"
OPTIONS = {
    "optimization_level": re.compile("[0-2]"),
    "math_fidelity": re.compile("lofi|hifi2|hifi3|hifi4"),
    "fp32_dest_acc_en": re.compile(_TRUTHS),
    "enable_const_eval": re.compile(_TRUTHS),
    "enable_trace": re.compile(_TRUTHS),
}

# One entry per tensor dim: the mesh axes that split it, major first; () is not split.
Sharding = tuple[tuple[str, ...], ...]
Attribute = int | float | bool | str | None | tuple[int, ...]


class MeshfuzzError(Exception):
    """A failure with a name: the message is one line that says what is wrong and what to do."""


class CaseError(MeshfuzzError):
    """The case is not valid: its text, or its graph. `place` is the part at fault, like `inputs[0].shape`."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True, slots=True)
class Mesh:
    """A device grid. Device ids run row-major: id = row * cols + col."""

    shape: tuple[int, ...]  # devices per axis, outermost first
    axes: tuple[str, ...]  # one name per axis, unique

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.axes) or len(set(self.axes)) != len(self.axes):
            raise CaseError(f"mesh axes {self.axes} do not name the dims of shape {self.shape}")
        if not self.shape or any(size < 1 for size in self.shape):
            raise CaseError(f"mesh shape {self.shape} needs positive sizes")
        if self.size > MAX_DEVICES:
            raise CaseError(f"mesh shape {self.shape} has more than {MAX_DEVICES} devices")

    @classmethod
    def parse(cls, text: str) -> Mesh:
        """`RxC`, as on the command line. Raises CaseError for anything else."""
        parts = text.lower().split("x")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            raise CaseError(f"unknown mesh {text!r}: write rows x columns, for example 2x2")
        return cls(tuple(int(part) for part in parts), ("x", "y"))

    @property
    def size(self) -> int:
        """Number of devices."""
        return math.prod(self.shape)

    @property
    def sizes(self) -> dict[str, int]:
        """Devices along each named axis."""
        return dict(zip(self.axes, self.shape, strict=True))

    def coordinate(self, device: int) -> dict[str, int]:
        """Position of a device along each axis."""
        position = {}
        for axis, size in zip(reversed(self.axes), reversed(self.shape), strict=True):
            position[axis] = device % size
            device //= size
        return position

    def __str__(self) -> str:
        return "x".join(map(str, self.shape))


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and dtype of a value of the graph, global (before sharding)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Payload:
    """A recipe for the values of an input; `fuzz.payloads` turns it into numbers.

    `position`, `small` and `mask` make data; the others make integers in [low, high).
    """

    kind: str
    low: int = 0
    high: int = 0
    dim: int = 0  # permutation: values are distinct along this dim
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    name: str
    spec: TensorSpec
    payload: Payload
    sharding: Sharding


@dataclass(frozen=True, slots=True)
class Node:
    """One op applied to earlier values. `sharding`, if given, is a constraint on the result."""

    name: str
    op: str
    operands: tuple[str, ...]
    attributes: tuple[tuple[str, Attribute], ...] = ()
    sharding: Sharding | None = None

    @property
    def keywords(self) -> dict[str, Attribute]:
        return dict(self.attributes)


@dataclass(frozen=True, slots=True)
class Output:
    """A returned value; without a sharding the compiler under test chooses one."""

    name: str
    sharding: Sharding | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One experiment. Graph values are named; inputs come first, nodes in execution order."""

    mesh: Mesh
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    options: tuple[tuple[str, str], ...] = ()  # compile options of the target, for example optimization_level

    def __post_init__(self) -> None:
        _check_graph(self)

    def input(self, name: str) -> Input | None:
        return next((i for i in self.inputs if i.name == name), None)

    def node(self, name: str) -> Node | None:
        return next((n for n in self.nodes if n.name == name), None)

    @property
    def used_axes(self) -> tuple[str, ...]:
        """Mesh axes that some sharding names, in the order of the mesh."""
        stated = [value.sharding for value in self.inputs]
        stated += [node.sharding for node in self.nodes if node.sharding is not None]
        stated += [output.sharding for output in self.outputs if output.sharding is not None]
        named = {axis for sharding in stated for axes in sharding for axis in axes}
        return tuple(axis for axis in self.mesh.axes if axis in named)

    @property
    def digest(self) -> str:
        """Identity: 16 hex digits of the SHA-256 of the canonical text."""
        text = json.dumps(to_plain(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def live(self) -> Case:
        """The same case without nodes and inputs that no output needs."""
        needed = {output.name for output in self.outputs}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.operands)
        return replace(
            self,
            inputs=tuple(i for i in self.inputs if i.name in needed),
            nodes=tuple(n for n in self.nodes if n.name in needed),
        )


def shard_counts(sharding: Sharding, mesh: Mesh) -> tuple[int, ...]:
    """Number of pieces each dim is cut into."""
    return tuple(math.prod(mesh.sizes[axis] for axis in axes) for axes in sharding)


def is_uneven(shape: tuple[int, ...], sharding: Sharding, mesh: Mesh) -> bool:
    """Whether a sharded dim does not divide by its number of pieces."""
    return any(size % pieces for size, pieces in zip(shape, shard_counts(sharding, mesh), strict=True))


def check_options(case: Case) -> Case:
    """The case, if a stranger may set its compile options; checked where a file enters, and where options take effect.

    Raises CaseError.
    """
    for key, value in case.options:
        allowed = OPTIONS.get(key)
        if allowed is None or not allowed.fullmatch(value):
            raise CaseError(f"option {shown(key)}: {shown(value)} is not allowed in a case", "options")
    return case


def replicated(rank: int) -> Sharding:
    return ((),) * rank


def _check_graph(case: Case) -> None:
    """Raises CaseError with the place at fault."""
    ranks: dict[str, int | None] = {}
    for number, value in enumerate(case.inputs):
        place = f"inputs[{number}]"
        if value.name in ranks:
            raise CaseError(f"value {value.name!r} is defined twice", place)
        _check_spec(value, place)
        ranks[value.name] = len(value.spec.shape)
        _check_sharding(value.name, value.sharding, len(value.spec.shape), case.mesh, place)
    for number, node in enumerate(case.nodes):
        place = f"nodes[{number}]"
        if node.name in ranks:
            raise CaseError(f"value {node.name!r} is defined twice", place)
        for operand in node.operands:
            if operand not in ranks:
                raise CaseError(f"node {node.name!r}: operand {operand!r} is not defined before it", place)
        ranks[node.name] = None
        if node.sharding is not None:
            _check_sharding(node.name, node.sharding, None, case.mesh, place)
    if not case.outputs:
        raise CaseError("a case needs at least one output", "outputs")
    for number, output in enumerate(case.outputs):
        place = f"outputs[{number}]"
        if output.name not in ranks:
            raise CaseError(f"output {output.name!r} is not a value of the graph", place)
        if output.sharding is not None:
            _check_sharding(output.name, output.sharding, ranks[output.name], case.mesh, place)


def _check_spec(value: Input, place: str) -> None:
    name, spec, kind = value.name, value.spec, value.payload.kind
    if spec.dtype not in DTYPES:
        raise CaseError(f"value {name!r}: unknown dtype {shown(spec.dtype)}; known: {DTYPES}", f"{place}.dtype")
    if any(size < 0 for size in spec.shape):
        raise CaseError(f"value {name!r}: negative size in shape {spec.shape}", f"{place}.shape")
    if spec.elements > MAX_ELEMENTS:
        raise CaseError(
            f"value {name!r}: {spec.elements} elements are more than the limit of {MAX_ELEMENTS}", f"{place}.shape"
        )
    if math.prod(max(size, 1) for size in spec.shape) > MAX_ELEMENTS:  # nothing times much: strides overflow
        raise CaseError(f"value {name!r}: shape {spec.shape} is too large", f"{place}.shape")
    if kind not in PAYLOAD_KINDS:
        raise CaseError(f"input {name!r}: unknown payload {shown(kind)}; known: {PAYLOAD_KINDS}", f"{place}.payload")


def _check_sharding(name: str, sharding: Sharding, rank: int | None, mesh: Mesh, place: str) -> None:
    place = f"{place}.sharding"
    if rank is not None and len(sharding) != rank:
        raise CaseError(f"value {name!r}: sharding {sharding} does not fit rank {rank}", place)
    axes = [axis for dim in sharding for axis in dim]
    if len(set(axes)) != len(axes) or not set(axes) <= set(mesh.axes):
        raise CaseError(
            f"value {name!r}: sharding {sharding} must use each of the mesh axes {mesh.axes} at most once", place
        )


# --- plain data -------------------------------------------------------------------------------------------------


def to_plain(case: Case) -> dict[str, Any]:
    """The case as dicts, lists, strings and numbers; `from_plain` is the inverse."""
    return {
        "format": FORMAT,
        "mesh": {"shape": list(case.mesh.shape), "axes": list(case.mesh.axes)},
        "inputs": [_plain_input(value) for value in case.inputs],
        "nodes": [_plain_node(node) for node in case.nodes],
        "outputs": [_plain_output(output) for output in case.outputs],
        "options": dict(case.options),
    }


def _plain_sharding(sharding: Sharding) -> list[list[str]]:
    return [list(axes) for axes in sharding]


def _plain_input(value: Input) -> dict[str, Any]:
    payload = value.payload
    fields = {"low": payload.low, "high": payload.high, "dim": payload.dim, "seed": payload.seed}
    return {
        "name": value.name,
        "shape": list(value.spec.shape),
        "dtype": value.spec.dtype,
        "payload": {"kind": payload.kind} | {k: v for k, v in fields.items() if v},
        "sharding": _plain_sharding(value.sharding),
    }


def _plain_node(node: Node) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": node.name, "op": node.op, "operands": list(node.operands)}
    if node.attributes:
        plain["attributes"] = {k: list(v) if isinstance(v, tuple) else v for k, v in node.attributes}
    if node.sharding is not None:
        plain["sharding"] = _plain_sharding(node.sharding)
    return plain


def _plain_output(output: Output) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": output.name}
    if output.sharding is not None:
        plain["sharding"] = _plain_sharding(output.sharding)
    return plain
