# SPDX-License-Identifier: Apache-2.0
"""How the values of a graph are laid over a mesh.

Bugs live where operands of one op disagree: sharded against replicated, the same dim on different axes, the indexed
dim itself sharded, two axes on one dim. Uniform drawing per tensor gives mostly unrelated layouts, so whole-graph
plans (batch and tensor parallel, as models use) are drawn as often as independent ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from fuzz.case import Input, Mesh, Node, Output, Sharding, TensorSpec, replicated
from fuzz.ops.draws import chance, choose, integer

# Uneven shardings are a class of their own: compilers reject most of them, so they must not crowd out the others.
UNEVEN_PERCENT = 3
CONSTRAINT_PERCENT = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What all tensors of a case have in common."""

    batch_axes: tuple[str, ...]  # axes that split dim 0 of every input
    model_axes: tuple[str, ...]  # axes that split the last dim of every input of two dims and more
    uneven: bool

    @property
    def independent(self) -> bool:
        return not self.batch_axes and not self.model_axes


def draw_plan(draw: DrawFn, mesh: Mesh) -> Plan:
    uneven = chance(draw, UNEVEN_PERCENT)
    options: list[tuple[str, ...]] = [(axis,) for axis in mesh.axes if mesh.sizes[axis] > 1] or [(mesh.axes[0],)]
    kind = integer(draw, 0, 99)
    if kind < 33:
        if len(options) > 1:
            options.append(tuple(mesh.axes))
        return Plan(choose(draw, options), (), uneven)
    if kind < 63:
        model = choose(draw, options)
        others = [axes for axes in options if axes != model]
        return Plan(choose(draw, [(), *others]), model, uneven)
    return Plan((), (), uneven)


def draw_sharding(draw: DrawFn, spec: TensorSpec, mesh: Mesh, plan: Plan) -> Sharding:
    """One tensor's sharding. Size-1 axes are used now and then: compilers treat them specially."""
    if not spec.shape:
        return ()
    if not plan.independent and chance(draw, 80):
        return _planned(spec, mesh, plan)
    dims: list[tuple[str, ...]] = [()] * len(spec.shape)
    for axis in mesh.axes:
        if mesh.sizes[axis] == 1 and not chance(draw, 10):
            continue
        if chance(draw, 40):
            continue
        fitting = [dim for dim, size in enumerate(spec.shape) if _fits(size, (*dims[dim], axis), mesh, plan.uneven)]
        if fitting:
            dim = choose(draw, fitting)
            dims[dim] = (*dims[dim], axis)
    # Minor axis first on one dim now and then: (y, x) is legal and rarely tested.
    return tuple(axes[::-1] if len(axes) > 1 and chance(draw, 25) else axes for axes in dims)


def _planned(spec: TensorSpec, mesh: Mesh, plan: Plan) -> Sharding:
    dims = list(replicated(len(spec.shape)))
    if _fits(spec.shape[0], plan.batch_axes, mesh, plan.uneven):
        dims[0] = plan.batch_axes
    if len(dims) > 1 and _fits(spec.shape[-1], plan.model_axes, mesh, plan.uneven):
        dims[-1] = plan.model_axes
    return tuple(dims)


def _fits(size: int, axes: Sequence[str], mesh: Mesh, uneven: bool) -> bool:
    pieces = 1
    for axis in axes:
        pieces *= mesh.sizes[axis]
    return size > 0 and (size % pieces == 0 or (uneven and size >= pieces // 2))


def shard_inputs(draw: DrawFn, inputs: Sequence[Input], mesh: Mesh, plan: Plan) -> tuple[Input, ...]:
    return tuple(
        Input(value.name, value.spec, value.payload, draw_sharding(draw, value.spec, mesh, plan)) for value in inputs
    )


def constrain_nodes(
    draw: DrawFn, nodes: Sequence[Node], known: dict[str, TensorSpec], mesh: Mesh, plan: Plan
) -> tuple[Node, ...]:
    """Sharding constraints on a few intermediates."""
    result = []
    for node in nodes:
        spec = known[node.name]
        if spec.shape and chance(draw, CONSTRAINT_PERCENT):
            sharding = draw_sharding(draw, spec, mesh, plan)
            node = Node(node.name, node.op, node.operands, node.attributes, sharding)
        result.append(node)
    return tuple(result)


def draw_outputs(
    draw: DrawFn, names: Sequence[str], known: dict[str, TensorSpec], mesh: Mesh, plan: Plan
) -> tuple[Output, ...]:
    """Half of the results leave the choice to the compiler."""
    outputs = []
    for name in names:
        if draw(st.booleans()):
            outputs.append(Output(name))
        else:
            outputs.append(Output(name, draw_sharding(draw, known[name], mesh, plan)))
    return tuple(outputs)
