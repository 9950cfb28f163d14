# SPDX-License-Identifier: Apache-2.0
"""The data model: everything needed to run one experiment again, as plain data.

Nothing here knows torch, a compiler or an op. A case is immutable, written as YAML, and identified by a digest. It
holds no tensors and no code: input values are recipes (`Payload`), computations are names of registered ops.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

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
MAX_FILE_BYTES = 1 << 20

# One entry per tensor dim: the mesh axes that split it, major first; () is not split.
Sharding = tuple[tuple[str, ...], ...]
Attribute = int | float | bool | str | None | tuple[int, ...]


class MeshfuzzError(Exception):
    """A failure with a name: the message is one line that says what is wrong and what to do."""


class CaseError(MeshfuzzError):
    """The case is not valid: its text, or its graph."""


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

    @classmethod
    def parse(cls, text: str) -> Mesh:
        """`RxC`, as on the command line. Raises CaseError for anything else."""
        parts = text.lower().split("x")
        if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
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


def replicated(rank: int) -> Sharding:
    return ((),) * rank


def _check_graph(case: Case) -> None:
    specs: dict[str, int | None] = {}
    for value in case.inputs:
        if value.name in specs:
            raise CaseError(f"value {value.name!r} is defined twice")
        _check_spec(value.name, value.spec)
        if value.payload.kind not in PAYLOAD_KINDS:
            raise CaseError(f"input {value.name!r}: unknown payload {value.payload.kind!r}; known: {PAYLOAD_KINDS}")
        specs[value.name] = len(value.spec.shape)
        _check_sharding(value.name, value.sharding, len(value.spec.shape), case.mesh)
    for node in case.nodes:
        if node.name in specs:
            raise CaseError(f"value {node.name!r} is defined twice")
        for operand in node.operands:
            if operand not in specs:
                raise CaseError(f"node {node.name!r}: operand {operand!r} is not defined before it")
        specs[node.name] = None
        if node.sharding is not None:
            _check_sharding(node.name, node.sharding, None, case.mesh)
    if not case.outputs:
        raise CaseError("a case needs at least one output")
    for output in case.outputs:
        if output.name not in specs:
            raise CaseError(f"output {output.name!r} is not a value of the graph")
        if output.sharding is not None:
            _check_sharding(output.name, output.sharding, specs[output.name], case.mesh)


def _check_spec(name: str, spec: TensorSpec) -> None:
    if spec.dtype not in DTYPES:
        raise CaseError(f"value {name!r}: unknown dtype {spec.dtype!r}; known: {DTYPES}")
    if any(size < 0 for size in spec.shape):
        raise CaseError(f"value {name!r}: negative size in shape {spec.shape}")
    if spec.elements > MAX_ELEMENTS:
        raise CaseError(f"value {name!r}: {spec.elements} elements are more than the limit of {MAX_ELEMENTS}")


def _check_sharding(name: str, sharding: Sharding, rank: int | None, mesh: Mesh) -> None:
    if rank is not None and len(sharding) != rank:
        raise CaseError(f"value {name!r}: sharding {sharding} does not fit rank {rank}")
    axes = [axis for dim in sharding for axis in dim]
    if len(set(axes)) != len(axes) or not set(axes) <= set(mesh.axes):
        raise CaseError(f"value {name!r}: sharding {sharding} must use each of the mesh axes {mesh.axes} at most once")


# --- plain data and YAML -------------------------------------------------------------------------------------------


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


def from_plain(data: object) -> Case:
    """Build a case from parsed YAML. Raises CaseError naming the place of the first thing that does not fit."""
    top = _mapping(data, "case", {"format", "mesh", "inputs", "nodes", "outputs"}, {"options"})
    if top["format"] != FORMAT:
        raise CaseError(f"case: format {top['format']!r} is not {FORMAT}, the one this version reads")
    mesh = _mapping(top["mesh"], "mesh", {"shape", "axes"})
    options = _mapping(top.get("options", {}), "options", None)
    return Case(
        mesh=Mesh(_integers(mesh["shape"], "mesh.shape"), _strings(mesh["axes"], "mesh.axes")),
        inputs=tuple(_read_input(x, f"inputs[{i}]") for i, x in enumerate(_sequence(top["inputs"], "inputs"))),
        nodes=tuple(_read_node(x, f"nodes[{i}]") for i, x in enumerate(_sequence(top["nodes"], "nodes"))),
        outputs=tuple(_read_output(x, f"outputs[{i}]") for i, x in enumerate(_sequence(top["outputs"], "outputs"))),
        options=tuple((key, _string(value, f"options.{key}")) for key, value in options.items()),
    )


def _read_input(data: object, where: str) -> Input:
    fields = _mapping(data, where, {"name", "shape", "dtype", "payload", "sharding"})
    recipe = _mapping(fields["payload"], f"{where}.payload", {"kind"}, {"low", "high", "dim", "seed"})
    numbers = {key: _integer(value, f"{where}.payload.{key}") for key, value in recipe.items() if key != "kind"}
    return Input(
        name=_string(fields["name"], f"{where}.name"),
        spec=TensorSpec(_integers(fields["shape"], f"{where}.shape"), _string(fields["dtype"], f"{where}.dtype")),
        payload=Payload(_string(recipe["kind"], f"{where}.payload.kind"), **numbers),
        sharding=_read_sharding(fields["sharding"], f"{where}.sharding"),
    )


def _read_node(data: object, where: str) -> Node:
    fields = _mapping(data, where, {"name", "op", "operands"}, {"attributes", "sharding"})
    attributes = _mapping(fields.get("attributes", {}), f"{where}.attributes", None)
    return Node(
        name=_string(fields["name"], f"{where}.name"),
        op=_string(fields["op"], f"{where}.op"),
        operands=_strings(fields["operands"], f"{where}.operands"),
        attributes=tuple(sorted((k, _attribute(v, f"{where}.attributes.{k}")) for k, v in attributes.items())),
        sharding=_read_sharding(fields["sharding"], f"{where}.sharding") if "sharding" in fields else None,
    )


def _read_output(data: object, where: str) -> Output:
    fields = _mapping(data, where, {"name"}, {"sharding"})
    sharding = _read_sharding(fields["sharding"], f"{where}.sharding") if "sharding" in fields else None
    return Output(_string(fields["name"], f"{where}.name"), sharding)


def _read_sharding(data: object, where: str) -> Sharding:
    return tuple(_strings(axes, f"{where}[{i}]") for i, axes in enumerate(_sequence(data, where)))


def _mapping(data: object, where: str, required: set[str] | None, optional: Iterable[str] = ()) -> Mapping[str, object]:
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise CaseError(f"{where}: expected a mapping with text keys")
    if required is not None:
        if missing := required - set(data):
            raise CaseError(f"{where}: missing {sorted(missing)}")
        if unknown := set(data) - required - set(optional):
            raise CaseError(f"{where}: unknown keys {sorted(unknown)}")
    return data


def _sequence(data: object, where: str) -> list[object]:
    if not isinstance(data, list):
        raise CaseError(f"{where}: expected a list")
    return data


def _string(data: object, where: str) -> str:
    if not isinstance(data, str):
        raise CaseError(f"{where}: expected text, got {data!r}")
    return data


def _integer(data: object, where: str) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise CaseError(f"{where}: expected a whole number, got {data!r}")
    return data


def _strings(data: object, where: str) -> tuple[str, ...]:
    return tuple(_string(item, f"{where}[{i}]") for i, item in enumerate(_sequence(data, where)))


def _integers(data: object, where: str) -> tuple[int, ...]:
    return tuple(_integer(item, f"{where}[{i}]") for i, item in enumerate(_sequence(data, where)))


def _attribute(data: object, where: str) -> Attribute:
    if isinstance(data, list):
        return _integers(data, where)
    if data is None or isinstance(data, bool | int | str):
        return data
    if isinstance(data, float) and math.isfinite(data):
        return data
    raise CaseError(f"{where}: expected a finite number, text, a truth value or a list of whole numbers")


def dump(case: Case) -> str:
    """The case as YAML, with its digest in the first line as a comment."""
    body = yaml.safe_dump(to_plain(case), sort_keys=False, default_flow_style=None, width=118)
    return f"# case {case.digest}\n{body}"


def load(path: Path) -> Case:
    """Read a case file. Raises CaseError in one line for unreadable, broken, hostile or tampered text."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CaseError(f"{path}: larger than {MAX_FILE_BYTES} bytes, not a case")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{path}: cannot be read ({error})") from error
    return loads(text, str(path))


def loads(text: str, where: str = "case") -> Case:
    """Parse YAML text. A digest in the first line, if present, must match."""
    try:
        case = from_plain(yaml.load(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise CaseError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise CaseError(f"{where}: nested too deeply") from error
    except CaseError as error:
        raise CaseError(f"{where}: {error}") from error
    first = text.split("\n", 1)[0].split()
    if first[:2] == ["#", "case"] and first[2:] != [case.digest]:
        raise CaseError(f"{where}: digest mismatch: the file says {' '.join(first[2:])}, its content is {case.digest}")
    return case


class _Loader(yaml.SafeLoader):
    """Safe loading without aliases, which have no use in a case and let a small file expand without limit."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed in a case")
        return super().compose_node(parent, index)
