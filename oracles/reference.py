# SPDX-License-Identifier: Apache-2.0
"""What is right: the case in torch eager on the CPU, with an error bound for every element that is not exact.

Floats are carried in float64, whatever the case's dtype, together with a bound on how far a correct implementation may
be from that value. Data movement keeps bounds as they are, so its results must match exactly. Arithmetic adds

    f(|x| + b) - f(|x|)  +  terms * epsilon * f(|x| + b)

where f is the op on magnitudes, b the operands' bounds, epsilon the dtype's unit roundoff and terms the number of
roundings behind one element (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: gamma_n, here with
n * epsilon far below 1). Where operands are exact integers and every partial result fits the significand, any order of
summation is exact, and so is the bound: 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fuzz.case import Case, MeshfuzzError, Node, TensorSpec
from fuzz.ops.core import (
    TORCH_DTYPES,
    Accumulates,
    Chooses,
    Converts,
    Decides,
    Moves,
    Op,
    Selects,
    call,
    get,
    specs,
)

# Significand bits including the hidden one, and the unit roundoff that goes with them.
SIGNIFICAND_BITS = {"f32": 24, "bf16": 8}
# A sum may be done pairwise, in order, or per shard and then across shards: one rounding more at each level.
EXTRA_ROUNDINGS = 4


class InvalidCase(MeshfuzzError):
    """torch rejects the case, or leaves its result open."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The right value of one graph value."""

    values: torch.Tensor  # float64 for floats, else the dtype itself
    bound: torch.Tensor | None  # largest allowed distance per element; None: exact
    # For positions that ties leave open: the values the positions point into, and along which dim.
    chosen_from: torch.Tensor | None = None
    chosen_dim: int = 0

    @property
    def exact(self) -> bool:
        return self.bound is None


def reference(case: Case, inputs: Mapping[str, torch.Tensor]) -> dict[str, Expected]:
    """Right values of every value of the graph. Raises InvalidCase, CaseError."""
    known = specs(case)
    results = {name: Expected(_widen(value), None) for name, value in inputs.items()}
    for node in case.nodes:
        operands = [results[name] for name in node.operands]
        open_choice = next((name for name in node.operands if results[name].chosen_from is not None), None)
        if open_choice is not None:
            raise InvalidCase(f"{node.op}: operand {open_choice} holds positions that ties leave open")
        try:
            results[node.name] = _apply(node, operands, [known[name] for name in node.operands], known[node.name])
        except (RuntimeError, IndexError, ValueError) as error:
            raise InvalidCase(f"{node.op}: torch rejects the operands: {str(error).splitlines()[0]}") from error
    return results


def _widen(value: torch.Tensor) -> torch.Tensor:
    return value.double() if value.is_floating_point() else value


def _apply(node: Node, operands: Sequence[Expected], specs_in: Sequence[TensorSpec], spec: TensorSpec) -> Expected:
    op, attributes = get(node.op), node.keywords
    values = [operand.values for operand in operands]
    if op.defined is not None and not op.defined(*values, **attributes):
        raise InvalidCase(f"{op.name}: conflicting writes, torch leaves the result open")
    inexact = [i for i, operand in enumerate(operands) if not operand.exact]
    if any(i not in op.data for i in inexact) and not isinstance(op.semantics, Converts):
        raise InvalidCase(f"{op.name}: decides on rounded values")
    raw = _narrow_result(call(op, values, attributes, "cpu"), spec)
    match op.semantics:
        case Moves(constant=constant):
            return Expected(raw, _moved_bound(op, operands, attributes, constant))
        case Selects():
            return Expected(raw, _largest_bound(raw, [operands[i] for i in inexact]))
        case Decides():
            return Expected(raw, None)
        case Chooses():
            return _chosen(raw, values[0], int(str(attributes["dim"])))
        case Converts():
            return _converted(raw, operands[0], spec)
        case Accumulates() as semantics:
            if spec.dtype not in SIGNIFICAND_BITS:
                return Expected(raw, None)
            terms = semantics.terms(specs_in, attributes) + EXTRA_ROUNDINGS
            return _accumulated(op, semantics, raw, operands, attributes, spec, terms)


def _narrow_result(raw: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
    """Creation ops and casts yield the case's dtype; everything else is float64 already."""
    return raw.double() if spec.dtype in SIGNIFICAND_BITS else raw


def _bound_of(operand: Expected) -> torch.Tensor:
    return operand.bound if operand.bound is not None else torch.zeros_like(operand.values, dtype=torch.float64)


def _moved_bound(
    op: Op, operands: Sequence[Expected], attributes: dict[str, Any], constant: str | None
) -> torch.Tensor | None:
    """Bounds travel with the elements they belong to; a constant that is written in has none."""
    data = op.semantics.data if isinstance(op.semantics, Moves) else ()
    if all(operands[i].exact for i in data if i < len(operands)) and all(operand.exact for operand in operands):
        return None
    moved = [
        _bound_of(operand) if operand.values.is_floating_point() and i in data else operand.values
        for i, operand in enumerate(operands)
    ]
    if constant is not None:
        attributes = attributes | {constant: 0}
    return call(op, moved, attributes, "cpu")


def _largest_bound(raw: torch.Tensor, inexact: Sequence[Expected]) -> torch.Tensor | None:
    if not inexact:
        return None
    largest = max(float(operand.bound.max()) for operand in inexact if operand.bound is not None and raw.numel())
    return torch.full(raw.shape, largest, dtype=torch.float64)


def _chosen(raw: torch.Tensor, source: torch.Tensor, dim: int) -> Expected:
    dim %= max(source.dim(), 1)  # a written case may count from the end
    ordered = source.sort(dim).values
    ties = source.shape[dim] > 1 and bool((ordered.narrow(dim, 1, source.shape[dim] - 1)
                                           == ordered.narrow(dim, 0, source.shape[dim] - 1)).any())  # fmt: skip
    return Expected(raw, None, source if ties else None, dim)


def _converted(raw: torch.Tensor, operand: Expected, spec: TensorSpec) -> Expected:
    if operand.exact:
        return Expected(raw, None)
    if spec.dtype not in SIGNIFICAND_BITS:
        raise InvalidCase("cast: turns rounded values into integers")
    epsilon = 2.0 ** -SIGNIFICAND_BITS[spec.dtype]
    bound = _bound_of(operand)
    return Expected(raw, bound + epsilon * 2 * (raw.abs() + bound))


def _accumulated(
    op: Op,
    semantics: Accumulates,
    raw: torch.Tensor,
    operands: Sequence[Expected],
    attributes: dict[str, Any],
    spec: TensorSpec,
    terms: int,
) -> Expected:
    bits = SIGNIFICAND_BITS[spec.dtype]
    magnitude = semantics.magnitude or op.run
    absolute = [operand.values.abs() if i in semantics.data else operand.values for i, operand in enumerate(operands)]
    size = magnitude(*absolute, **attributes).double().abs()
    integral = semantics.exact_if_integral and all(
        operands[i].exact and _integral(operands[i].values) for i in semantics.data
    )
    exact_here = (size <= 2.0**bits) if integral else torch.zeros_like(raw, dtype=torch.bool)
    if bool(exact_here.all()):
        return Expected(raw, None)
    outer = size
    if any(not operand.exact for operand in operands):
        widened = [value + _bound_of(operands[i]) if i in semantics.data else value for i, value in enumerate(absolute)]
        outer = magnitude(*widened, **attributes).double().abs()
    bound = (outer - size) + terms * 2.0**-bits * outer
    return Expected(raw, torch.where(exact_here, 0.0, bound))


def _integral(values: torch.Tensor) -> bool:
    return not values.is_floating_point() or bool((values == values.round()).all())


def dtype_of(spec: TensorSpec) -> torch.dtype:
    return TORCH_DTYPES[spec.dtype]
