# SPDX-License-Identifier: Apache-2.0
"""A torch graph as a Shardy-annotated StableHLO module: what every PJRT target compiles.

torch_xla traces the graph lazily on one plain CPU device (no SPMD mode) and hands out portable VHLO bytecode; the mesh
and the shardings are attached afterwards through jaxlib's MLIR bindings. This is equal in meaning to what a torch_xla
that converts its annotations to Shardy sends to the compiler, and needs no such fork.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch_xla
import torch_xla.debug.metrics as metrics
from jaxlib import _jax
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import func, sdy

from fuzz.case import Case, Mesh, Output, Sharding, is_uneven, replicated
from fuzz.ops.core import run_graph, specs
from oracles.outcome import Verdict
from oracles.targets.base import TargetFailure

MESH_SYMBOL = "mesh"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of the lowered module. torch_xla lifts constants into arguments and reorders: hence this list."""

    value: torch.Tensor  # global, on the CPU
    sharding: Sharding
    input: str | None  # the case input it is, or None for a lifted constant


@dataclass(frozen=True, slots=True)
class Lowered:
    """A traced case: the module without any sharding, its arguments, and which results are only there to be marked."""

    portable: bytes
    parameters: tuple[Parameter, ...]
    constrained: tuple[Sharding, ...]  # shardings of the extra results behind the case's own, see `lower`


def lower(case: Case, inputs: Mapping[str, torch.Tensor]) -> Lowered:
    """Trace the case with torch_xla.

    Intermediates that carry a sharding constraint are returned as extra results, because a result is the one place
    where a traced value can be found again in the module; `annotate` turns them into constraints and drops them.
    Raises TargetFailure(UNSUPPORTED) if torch_xla computed an op eagerly on the CPU instead of lowering it.
    """
    device = torch_xla.device()
    placed = {name: value.to(device) for name, value in inputs.items()}
    metrics.clear_counters()
    try:
        values = run_graph(case, placed, device)
        lowered = _lower_values(case, inputs, placed, values, str(device))
    except RuntimeError as error:
        raise TargetFailure(Verdict.COMPILE_ERROR, "lower", f"torch_xla: {lowering_cause(error)}") from error
    fallbacks = sorted(name for name in metrics.counter_names() if name.startswith("aten::"))
    if fallbacks:
        raise TargetFailure(Verdict.UNSUPPORTED, "lower", f"torch_xla has no lowering for {', '.join(fallbacks)}")
    return lowered


def lowering_cause(error: RuntimeError) -> str:
    """What torch_xla says went wrong: the op it was lowering, and the first line of the cause behind it, if any."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = next((line for line in lines[1:] if line.startswith(("Error:", "Check failed", "RuntimeError:"))), "")
    return " ".join(filter(None, (lines[0] if lines else type(error).__name__, cause)))


def _lower_values(
    case: Case,
    inputs: Mapping[str, torch.Tensor],
    placed: Mapping[str, torch.Tensor],
    values: Mapping[str, torch.Tensor],
    device: str,
) -> Lowered:
    marked = [node for node in case.nodes if node.sharding is not None]
    # A returned input would alias its parameter, and equal results would be merged: each result is its own value.
    results = [values[output.name] for output in case.outputs] + [values[node.name] for node in marked]
    extension = torch_xla._XLAC
    portable = extension._get_stablehlo(results, device, [], True)
    ids, data = extension._get_tensors_xla_device_data_node(results)
    by_id = {extension._xla_get_tensor_id(value): name for name, value in placed.items()}
    shardings = {value.name: value.sharding for value in case.inputs}
    parameters = []
    for tensor_id, value in zip(ids, data, strict=True):
        name = by_id.get(tensor_id)
        on_host = inputs[name] if name is not None else value.cpu()
        sharding = shardings[name] if name is not None else replicated(on_host.dim())
        parameters.append(Parameter(on_host, sharding, name))
    return Lowered(portable, tuple(parameters), tuple(node.sharding for node in marked if node.sharding is not None))


def close_results(case: Case) -> Case:
    """The case with every result sharding given: one left open would have to be read back from HLO.

    Replicated is a choice like any other.
    """
    known = specs(case)
    outputs = tuple(Output(o.name, o.sharding or replicated(len(known[o.name].shape))) for o in case.outputs)
    return replace(case, outputs=outputs)


def annotate(lowered: Lowered, case: Case, *, uneven_inside: bool = False) -> ir.Module:
    """The module with the case's mesh, argument and result shardings and constraints. Needs an active MLIR context.

    Every argument gets a sharding, replicated ones too: leftovers without one send tt-mlir down another path.
    With `uneven_inside`, a sharding that does not divide its dims is not put on an argument or result (PJRT has no
    buffers for that) but on a constraint right behind or before it, and the argument or result itself is replicated.
    """
    module = _jax.mlir.deserialize_portable_artifact(lowered.portable)
    if isinstance(module, str):  # jaxlib 0.7 returns text, 0.10 a module
        module = ir.Module.parse(module)
    mesh_attribute = sdy.MeshAttr.get([sdy.MeshAxisAttr.get(axis, size) for axis, size in case.mesh.sizes.items()])
    with ir.InsertionPoint.at_block_begin(module.body):
        sdy.MeshOp(MESH_SYMBOL, mesh_attribute)
    main = _main(module)
    _set_count(module, "mhlo.num_partitions", case.mesh.size)
    _set_count(module, "mhlo.num_replicas", 1)
    _constrain_marked(main, lowered.constrained)
    arguments = [parameter.sharding for parameter in lowered.parameters]
    results = [output.sharding for output in case.outputs]
    if uneven_inside:
        arguments, results = _move_uneven_inside(main, arguments, results, case.mesh)
    main.attributes["arg_attrs"] = ir.ArrayAttr.get([_sharding_dictionary(sharding) for sharding in arguments])
    main.attributes["res_attrs"] = ir.ArrayAttr.get([_sharding_dictionary(sharding) for sharding in results])
    return module


# Ops that compute element by element, or only carry values around: they do not say what a graph is about.
PLAIN_OPERATIONS = frozenset(
    {
        "abs",
        "add",
        "and",
        "broadcast_in_dim",
        "clamp",
        "compare",
        "constant",
        "convert",
        "divide",
        "iota",
        "maximum",
        "minimum",
        "multiply",
        "negate",
        "not",
        "or",
        "power",
        "remainder",
        "reshape",
        "return",
        "select",
        "sign",
        "subtract",
        "transpose",
        "xor",
    }
)


def telling_operations(module: ir.Module) -> tuple[str, ...]:
    """Names of the StableHLO ops that a graph is about: gather, scatter, reverse, dot_general, ..., sorted."""
    names: set[str] = set()

    def visit(op: ir.Operation) -> ir.WalkResult:
        dialect, _, name = op.name.partition(".")
        if dialect == "stablehlo" and name not in PLAIN_OPERATIONS:
            names.add(name)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return tuple(sorted(names))


def _main(module: ir.Module) -> ir.OpView:
    return next(op for op in module.body.operations if op.operation.name == "func.func")


def _set_count(module: ir.Module, name: str, count: int) -> None:
    module.operation.attributes[name] = ir.IntegerAttr.get(ir.IntegerType.get_signless(32), count)


def sharding_attribute(sharding: Sharding) -> ir.Attribute:
    """`#sdy.sharding<@mesh, [...]>` with every dim closed."""
    dims = [
        sdy.DimensionShardingAttr.get([sdy.AxisRefAttr.get(axis) for axis in axes], is_closed=True) for axes in sharding
    ]
    return sdy.TensorShardingAttr.get(MESH_SYMBOL, dims)


def _sharding_dictionary(sharding: Sharding | None) -> ir.Attribute:
    return ir.DictAttr.get({} if sharding is None else {"sdy.sharding": sharding_attribute(sharding)})


def _terminator(main: ir.OpView) -> ir.OpView:
    operations = main.regions[0].blocks[0].operations
    return operations[len(operations) - 1]


def _constrain(main: ir.OpView, value: ir.Value, sharding: Sharding) -> None:
    """Put a sharding constraint right behind the definition of a value, for all its uses."""
    block = main.regions[0].blocks[0]
    if isinstance(value.owner, ir.Block):
        with ir.InsertionPoint.at_block_begin(block):
            constraint = sdy.ShardingConstraintOp(value, sharding_attribute(sharding))
    else:
        with ir.InsertionPoint(_terminator(main)):
            constraint = sdy.ShardingConstraintOp(value, sharding_attribute(sharding))
        constraint.operation.move_after(value.owner)
    value.replace_all_uses_except(constraint.result, constraint.operation)


def _constrain_marked(main: ir.OpView, shardings: Sequence[Sharding]) -> None:
    """Turn the last results of the function into constraints on the values returned there, and return them no more."""
    if not shardings:
        return
    returned = list(_terminator(main).operands)
    kept = len(returned) - len(shardings)
    for value, sharding in zip(returned[kept:], shardings, strict=True):
        _constrain(main, value, sharding)
    terminator = _terminator(main)
    results = list(terminator.operands)[:kept]
    with ir.InsertionPoint(terminator):
        func.ReturnOp(results)
    terminator.operation.erase()
    arguments = [argument.type for argument in main.regions[0].blocks[0].arguments]
    function_type = ir.FunctionType.get(arguments, [value.type for value in results])
    main.attributes["function_type"] = ir.TypeAttr.get(function_type)


def _move_uneven_inside(
    main: ir.OpView, arguments: list[Sharding], results: list[Sharding | None], mesh: Mesh
) -> tuple[list[Sharding], list[Sharding | None]]:
    block = main.regions[0].blocks[0]
    arguments, results = list(arguments), list(results)
    for number, sharding in enumerate(arguments):
        argument = block.arguments[number]
        if is_uneven(tuple(ir.RankedTensorType(argument.type).shape), sharding, mesh):
            _constrain(main, argument, sharding)
            arguments[number] = replicated(len(sharding))
    for number, result_sharding in enumerate(results):
        terminator = _terminator(main)
        value = terminator.operands[number]
        shape = tuple(ir.RankedTensorType(value.type).shape)
        if result_sharding is not None and is_uneven(shape, result_sharding, mesh):
            with ir.InsertionPoint(terminator):
                terminator.operation.operands[number] = sdy.ShardingConstraintOp(
                    value, sharding_attribute(result_sharding)
                ).result
            results[number] = replicated(len(result_sharding))
    return arguments, results
