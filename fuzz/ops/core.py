# SPDX-License-Identifier: Apache-2.0
"""What an op is, and the registry of all of them.

An op is one entry in one family module: how it is generated, what torch computes, how a script writes it and how its
result is compared. Everything else (reference, lowering, reduction, repros) reads that entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import torch

from fuzz.case import MAX_ELEMENTS, MAX_RANK, Attribute, Case, CaseError, Node, Sharding, TensorSpec

if TYPE_CHECKING:
    from fuzz.ops.scope import Scope, Value

TORCH_DTYPES = {
    "f32": torch.float32,
    "bf16": torch.bfloat16,
    "i32": torch.int32,
    "i64": torch.int64,
    "bool": torch.bool,
}
DTYPE_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}
FLOATS = ("f32", "bf16")
INTEGERS = ("i32", "i64")
NUMBERS = FLOATS + INTEGERS
MAX_BYTES = 1 << 30  # of all values of a case together, for what the driver computes: scripts and facts


# --- semantic classes: how an error in the operands reaches the result, hence how the result is compared -----------


@dataclass(frozen=True, slots=True)
class Moves:
    """Each result element is a copy of an element of a data operand, or of the constant in attribute `constant`.

    Compared exactly. Operands not listed in `data` are indices or masks.
    """

    data: tuple[int, ...] = (0,)
    constant: str | None = None


@dataclass(frozen=True, slots=True)
class Accumulates:
    """Sums or products of operand elements; `terms` bounds the number of roundings behind one result element.

    Floats are compared within a bound derived from the terms and their magnitudes, integers exactly.
    """

    terms: Callable[[Sequence[TensorSpec], dict[str, Any]], int]
    data: tuple[int, ...] = (0,)
    # The op on magnitudes: |result| <= magnitude(|operands|). The op itself where it only adds and multiplies.
    magnitude: Callable[..., torch.Tensor] | None = None
    # Whether a result whose magnitude fits the significand is exact: true for sums and products, not for a mean.
    exact_if_integral: bool = True


@dataclass(frozen=True, slots=True)
class Selects:
    """An element found by its value (max, min, sorted values), or its sign changed: exact where the operands are."""

    data: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Decides:
    """Discontinuous in its operands (comparisons, logic, integer division, casts to integers): they must be exact."""


@dataclass(frozen=True, slots=True)
class Chooses:
    """Positions along attribute `dim` of operand 0; where values tie, any position holding the right value is right."""


@dataclass(frozen=True, slots=True)
class Converts:
    """A change of dtype: one correct rounding."""


Semantics = Moves | Accumulates | Selects | Decides | Chooses | Converts


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of the input space."""

    name: str
    family: str
    doc: str  # what it computes, in one line
    draw: Callable[[Scope], Value | None]  # add one use of the op to a graph; None where nothing in scope fits
    run: Callable[..., torch.Tensor]  # run(*operands, **attributes); creation ops also take device=
    # How a script writes it: {0}, {1} operands, {operands} all, {name} attributes. Creation ops read a name `device`.
    source: str
    semantics: Semantics
    creates: bool = False  # takes no operand: needs device=
    # Index operands, and what each holds positions in: a dim of the (first) data operand, the one that attribute `dim`
    # names, or `flat`, all of it in row-major order.
    indices: tuple[tuple[int, int | Literal["dim", "flat"]], ...] = ()
    # Whether torch defines the result for these operand values; scatters with conflicting writes are not.
    defined: Callable[..., bool] | None = None

    @property
    def data(self) -> tuple[int, ...]:
        """Operands whose elements the result is made of; others are indices, masks, or decide."""
        return self.semantics.data if isinstance(self.semantics, Moves | Accumulates | Selects) else ()


_REGISTRY: dict[str, Op] = {}


def register(*ops: Op) -> None:
    """Add ops to the registry. Raises ValueError for a name that is taken."""
    for op in ops:
        if op.name in _REGISTRY:
            raise ValueError(f"op {op.name!r} is registered twice")
        _REGISTRY[op.name] = op


def get(name: str) -> Op:
    """The op of that name. Raises CaseError for an unknown one: op names come from case files."""
    op = _REGISTRY.get(name)
    if op is None:
        raise CaseError(f"unknown op {name!r}")
    return op


def registered() -> tuple[Op, ...]:
    """All ops, in order of registration."""
    return tuple(_REGISTRY.values())


# --- running and typing graphs ---------------------------------------------------------------------------------------


def call(op: Op, operands: Sequence[torch.Tensor], attributes: dict[str, Any], device: object) -> torch.Tensor:
    """Run one op on any torch device (CPU, meta, XLA)."""
    if op.creates:
        return op.run(device=device, **attributes)
    return op.run(*operands, **attributes)


def run_graph(
    case: Case,
    values: dict[str, torch.Tensor],
    device: object,
    constrain: Callable[[torch.Tensor, Sharding], torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Every value of the graph, given the inputs. Runs in whatever mode the device implies (eager or lazy).

    `constrain`, if given, applies the sharding constraints of nodes; its result is what later nodes read.
    """
    results = dict(values)
    for node in case.nodes:
        operands = [results[name] for name in node.operands]
        result = call(get(node.op), operands, node.keywords, device)
        if constrain is not None and node.sharding is not None:
            result = constrain(result, node.sharding)
        results[node.name] = result
    return results


def infer(op_name: str, operands: Sequence[TensorSpec], attributes: Iterable[tuple[str, Attribute]]) -> TensorSpec:
    """Shape and dtype of the result, from torch's meta kernels. Raises CaseError where torch rejects the operands."""
    return _infer(op_name, tuple(operands), tuple(attributes))


@lru_cache(maxsize=8192)
def _infer(op_name: str, operands: tuple[TensorSpec, ...], attributes: tuple[tuple[str, Attribute], ...]) -> TensorSpec:
    op = get(op_name)
    meta = [torch.empty(spec.shape, dtype=TORCH_DTYPES[spec.dtype], device="meta") for spec in operands]
    try:
        result = call(op, meta, dict(attributes), "meta")
    except (
        RuntimeError,
        TypeError,
        ValueError,
        IndexError,
        OverflowError,
        AssertionError,
        NotImplementedError,
        AttributeError,
        KeyError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise CaseError(f"{op_name}: torch rejects the operands: {said}") from error
    if not isinstance(result, torch.Tensor) or result.dim() > MAX_RANK:
        raise CaseError(f"{op_name}: no result of at most {MAX_RANK} dims")
    if result.numel() > MAX_ELEMENTS:
        raise CaseError(f"{op_name}: a result of {result.numel()} elements, more than the limit of {MAX_ELEMENTS}")
    dtype = DTYPE_NAMES.get(result.dtype)
    if dtype is None:
        raise CaseError(f"{op_name}: result dtype {result.dtype} is outside the input space")
    return TensorSpec(tuple(result.shape), dtype)


def specs(case: Case) -> dict[str, TensorSpec]:
    """Shape and dtype of every value. Raises CaseError for a graph torch rejects."""
    known = {value.name: value.spec for value in case.inputs}
    for number, node in enumerate(case.nodes):
        try:
            known[node.name] = infer(node.op, [known[name] for name in node.operands], node.attributes)
        except CaseError as error:
            raise CaseError(str(error), f"nodes[{number}]") from error
        _check_rank(f"node {node.name!r}", node.sharding, known[node.name], f"nodes[{number}]")
    for number, output in enumerate(case.outputs):
        _check_rank(f"output {output.name!r}", output.sharding, known[output.name], f"outputs[{number}]")
    return known


def _check_rank(what: str, sharding: Sharding | None, spec: TensorSpec, place: str) -> None:
    if sharding is not None and len(sharding) != len(spec.shape):
        raise CaseError(f"{what}: sharding does not fit rank {len(spec.shape)}", f"{place}.sharding")


def case_bytes(case: Case) -> int:
    """Memory of all values of the graph together, unsharded, in bytes."""
    return sum(spec.bytes for spec in specs(case).values())


def check_size(case: Case) -> None:
    """Raises CaseError for a case whose values should not be computed in the driver, where nothing bounds memory."""
    if (size := case_bytes(case)) > MAX_BYTES:
        raise CaseError(f"its values take {size} bytes, more than the {MAX_BYTES} that are computed here")


def source_line(node: Node) -> str:
    """The node as a Python expression over the operands' names, with its attributes as literals.

    Raises CaseError if it lacks what its op is written with.
    """
    op = get(node.op)
    try:
        written = {
            key: str(TORCH_DTYPES[str(value)]) if key == "dtype" else repr(value) for key, value in node.attributes
        }
        return op.source.format(*node.operands, operands=", ".join(node.operands), **written)
    except (IndexError, KeyError, TypeError) as error:
        raise CaseError(f"{node.op}: operands or attributes do not fit: {type(error).__name__} {error}") from error
