# SPDX-License-Identifier: Apache-2.0
"""The input space: whole test cases, valid by construction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from fuzz.case import DTYPE_BYTES, Case, CaseError, Mesh
from fuzz.ops import Op, registered
from fuzz.ops.draws import choose
from fuzz.ops.scope import Scope
from fuzz.strategies.motifs import MOTIFS, Motif
from fuzz.strategies.shardings import constrain_nodes, draw_outputs, draw_plan, shard_inputs
from fuzz.strategies.space import Space

# Relative weight of a family per drawn op: indexed memory ops are what this project is about, the rest is glue.
FAMILY_WEIGHTS = {"indexed read": 5, "indexed write": 4, "ordering": 4, "shape": 3, "reduction": 4}
# torch_xla computes a mean scatter on the host, so it never reaches a compiler yet.
RARE_OPS = frozenset({"scatter_reduce_mean"})
MOTIF_PERCENT = 55
# Of the layouts that split nothing so many are kept; for the others mesh and shardings are drawn again. Such a case
# takes as long as any other and finds less than half as much (docs/notes/scheduling.md).
WHOLE_PERCENT = 25
OTHER_LAYOUTS = 3  # drawn at most: a graph of scalars has none that splits anything
# A case holds at most this many full-size values (inputs, float64 references, shards): what one may take of the limit.
VALUES_PER_CASE = 16


@st.composite
def cases(draw: DrawFn, space: Space) -> Case:
    """One test case of the space: a motif or a few random ops, a mesh, shardings of everything."""
    mesh = choose(draw, space.meshes)
    scope = Scope(draw, space.dtypes, space.memory_limit // (VALUES_PER_CASE * max(DTYPE_BYTES.values())))
    motifs = _motifs(space.ops)
    if motifs and scope.chance(MOTIF_PERCENT):
        scope.choose(motifs).build(scope)
        extra = scope.choose((0, 0, 1, 2))
    else:
        extra = scope.choose((1, 2, 1, 3, 4))
    for _ in range(extra):
        scope.choose(_weighted_ops(space.ops)).draw(scope)
    while not scope.nodes:
        # An op may find nothing that fits in the scope; then there is still no graph.
        scope.choose(_weighted_ops(space.ops)).draw(scope)
    names = _results(scope)
    case = _laid_out(draw, scope, names, mesh)
    for _ in range(OTHER_LAYOUTS):
        if any(case.mesh.sizes[axis] > 1 for axis in case.used_axes) or scope.chance(WHOLE_PERCENT):
            break
        case = _laid_out(draw, scope, names, choose(draw, space.meshes))
    return case


def _laid_out(draw: DrawFn, scope: Scope, names: Sequence[str], mesh: Mesh) -> Case:
    known = {value.name: value.spec for value in scope.values}
    plan = draw_plan(draw, mesh)
    return Case(
        mesh=mesh,
        inputs=shard_inputs(draw, scope.inputs, mesh, plan),
        nodes=constrain_nodes(draw, scope.nodes, known, mesh, plan),
        outputs=draw_outputs(draw, names, known, mesh, plan),
    ).live()


def _results(scope: Scope) -> Sequence[str]:
    """The last node, and now and then one more value that nothing else reads."""
    used = {operand for node in scope.nodes for operand in node.operands}
    leaves = [node.name for node in scope.nodes if node.name not in used]
    last = scope.nodes[-1].name
    others = [name for name in leaves if name != last]
    if others and scope.chance(50):
        return [scope.choose(others), last]
    return [last]


@lru_cache(maxsize=16)
def _weighted_ops(names: tuple[str, ...]) -> tuple[Op, ...]:
    """Allowed ops, each repeated by its family's weight. Raises CaseError for an unknown name."""
    known = {op.name for op in registered()}
    if unknown := sorted(set(names) - known):
        raise CaseError(f"unknown ops {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return tuple(
        op
        for op in registered()
        if not names or op.name in names
        for _ in range(1 if op.name in RARE_OPS else FAMILY_WEIGHTS.get(op.family, 1))
    )


@lru_cache(maxsize=16)
def _motifs(names: tuple[str, ...]) -> tuple[Motif, ...]:
    return tuple(motif for motif in MOTIFS if not names or motif.ops & set(names) for _ in range(motif.weight))
