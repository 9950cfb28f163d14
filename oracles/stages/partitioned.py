# SPDX-License-Identifier: Apache-2.0
"""The partitioned StableHLO stage of the TT compiler (`shlo_compiler`) as a program every device runs.

After Shardy, the module's main function holds one `sdy.manual_computation` whose body works on local shapes with
explicit collectives. That body, as a plain function, runs on N *replicas* of XLA's CPU client. Four things differ
between the two worlds and are rewritten here; anything else not understood raises `NotUnderstood`, never a guess:

- `stablehlo.composite "sdy.*"` carries its meaning as a decomposition function: call it;
- `channel_handle` numbers collectives across partitions: dropped, so that they run across replicas;
- `stablehlo.partition_id` is the device id, here the replica id;
- a gather marked `tt.fill_out_of_bounds` gives zeros for indices outside its (local) operand, where XLA clamps. The
  plugin's own lowering keeps the mark as `fill_out_of_bounds` of `ttir.rows_gather`, and sums the shards afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxlib.mlir import ir
from jaxlib.mlir.dialects import func, sdy, stablehlo

from fuzz.case import Mesh, Sharding, replicated
from oracles.stages.machine import HARMLESS
from oracles.stages.parse import cause, named_attributes, spell_out_truth_values
from oracles.stages.program import NotUnderstood

FILL_MARK = "tt.fill_out_of_bounds"


@dataclass(frozen=True, slots=True)
class DeviceProgram:
    """What each device runs, and where its arguments and results lie in the global tensors."""

    text: str  # StableHLO, function @main over local shapes
    mesh: Mesh  # as the stage has it: the compiler may rename and reshape the case's
    arguments: tuple[int, ...]  # per argument: position among the module's arguments
    argument_shardings: tuple[Sharding, ...]
    result_shardings: tuple[Sharding, ...]


def device_program(stage: str) -> DeviceProgram:
    """Read the text of a `shlo_compiler` stage. Needs an active MLIR context that allows unregistered dialects.

    Raises NotUnderstood.
    """
    try:
        source = ir.Module.parse(spell_out_truth_values(stage))
    except ir.MLIRError as error:
        raise NotUnderstood(f"the stage does not parse: {cause(error)}") from error
    functions = [op for op in source.body.operations if op.operation.name == "func.func"]
    main = next(function for function in functions if function.sym_name.value == "main")
    mesh = _mesh(source)
    if mesh.size == 1:
        return _single_device_program(main, mesh)
    manual = _manual_computation(main)
    arguments = tuple(_argument_number(operand) for operand in manual.operands)
    _check_returned(main, manual)
    program = ir.Module.create()
    body = manual.regions[0].blocks[0]
    terminator = body.operations[len(body.operations) - 1]
    results = list(terminator.operands)
    with ir.InsertionPoint(program.body):
        entry = func.FuncOp("main", ([argument.type for argument in body.arguments], [v.type for v in results]))
        helpers = [f.operation.clone() for f in functions if f.sym_name.value != "main"]
    with ir.InsertionPoint(terminator):
        func.ReturnOp(results)
    terminator.operation.erase()
    body.append_to(entry.regions[0])
    _rewrite(entry.regions[0].blocks[0])
    for helper in helpers:
        _rewrite(helper.regions[0].blocks[0])
    return DeviceProgram(
        # Symbols with a dot read as a dialect prefix in the composites' names; plain ones are safe everywhere.
        text=str(program).replace("@sdy.", "@decomposed_"),
        mesh=mesh,
        arguments=arguments,
        argument_shardings=_shardings(manual.attributes["in_shardings"], mesh),
        result_shardings=_shardings(manual.attributes["out_shardings"], mesh),
    )


def _single_device_program(main: ir.OpView, mesh: Mesh) -> DeviceProgram:
    """On one device there is nothing to partition: @main itself is what the device runs."""
    block = main.regions[0].blocks[0]
    _rewrite(block)
    program = ir.Module.create()
    for name in [name for name, _ in named_attributes(main.operation)]:
        if name in ("arg_attrs", "res_attrs"):
            del main.attributes[name]
    with ir.InsertionPoint(program.body):
        main.operation.clone()
    operands = block.operations[len(block.operations) - 1].operands
    return DeviceProgram(
        text=str(program),
        mesh=mesh,
        arguments=tuple(range(len(block.arguments))),
        argument_shardings=tuple(replicated(len(ir.RankedTensorType(a.type).shape)) for a in block.arguments),
        result_shardings=tuple(replicated(len(ir.RankedTensorType(v.type).shape)) for v in operands),
    )


def _manual_computation(main: ir.OpView) -> ir.OpView:
    operations = list(main.regions[0].blocks[0].operations)
    names = [op.operation.name for op in operations]
    if names != ["sdy.manual_computation", "func.return"]:
        unexpected = next((name for name in names if name not in ("sdy.manual_computation", "func.return")), "nothing")
        raise NotUnderstood(f"expected one sdy.manual_computation in @main, found {unexpected}")
    return operations[0]


def _check_returned(main: ir.OpView, manual: ir.OpView) -> None:
    operations = main.regions[0].blocks[0].operations
    returned = list(operations[len(operations) - 1].operands)
    if returned != list(manual.results):
        raise NotUnderstood("@main does not return the results of sdy.manual_computation in order")


def _argument_number(value: ir.Value) -> int:
    if not isinstance(value.owner, ir.Block):
        raise NotUnderstood("sdy.manual_computation has an operand that is not an argument of @main")
    return int(ir.BlockArgument(value).arg_number)


def _mesh(module: ir.Module) -> Mesh:
    meshes = [op for op in module.body.operations if op.operation.name == "sdy.mesh"]
    if len(meshes) != 1:
        raise NotUnderstood(f"expected one sdy.mesh, found {len(meshes)}")
    axes = sdy.MeshAttr(meshes[0].attributes["mesh"]).axes
    parsed = [sdy.MeshAxisAttr(axis) for axis in axes]
    return Mesh(tuple(int(axis.size) for axis in parsed), tuple(axis.name for axis in parsed))


def _shardings(attribute: ir.Attribute, mesh: Mesh) -> tuple[Sharding, ...]:
    shardings = []
    for tensor in sdy.TensorShardingPerValueAttr(attribute).shardings:
        dims = []
        for dim in sdy.TensorShardingAttr(tensor).dimension_shardings:
            axes = [sdy.AxisRefAttr(axis) for axis in sdy.DimensionShardingAttr(dim).axes]
            if any(axis.sub_axis_info is not None for axis in axes) or any(a.name not in mesh.axes for a in axes):
                raise NotUnderstood(f"sharding {tensor} splits an axis")
            dims.append(tuple(axis.name for axis in axes))
        shardings.append(tuple(dims))
    return tuple(shardings)


def _rewrite(block: ir.Block) -> None:
    for view in list(block.operations):
        op = view.operation
        for region in op.regions:
            for inner in region.blocks:
                _rewrite(inner)
        if not op.name.startswith(("stablehlo.", "func.")) or op.name == "stablehlo.custom_call":
            raise NotUnderstood(f"op {op.name}")
        _check_marks(op)
        if op.name == "stablehlo.composite":
            _call_decomposition(op)
        elif op.name == "stablehlo.partition_id":
            with ir.InsertionPoint(op):
                replica = stablehlo.ReplicaIdOp()
            _replace(op, [replica.result])
        elif op.name == "stablehlo.gather" and FILL_MARK in op.attributes:
            _fill_out_of_bounds(op)
        elif "channel_handle" in op.attributes:
            del op.attributes["channel_handle"]


def _check_marks(op: ir.Operation) -> None:
    for name, _ in named_attributes(op):
        unknown = "." in name and name not in HARMLESS
        if unknown and not (name == FILL_MARK and op.name == "stablehlo.gather"):
            raise NotUnderstood(f"attribute {name} on {op.name}")


def _replace(op: ir.Operation, values: list[ir.Value]) -> None:
    for old, new in zip(op.results, values, strict=True):
        old.replace_all_uses_with(new)
    op.erase()


def _call_decomposition(op: ir.Operation) -> None:
    name = ir.StringAttr(op.attributes["name"]).value
    if not name.startswith("sdy."):
        raise NotUnderstood(f"composite {name}")
    with ir.InsertionPoint(op):
        call = func.CallOp(
            [result.type for result in op.results],
            ir.FlatSymbolRefAttr(op.attributes["decomposition"]),
            list(op.operands),
        )
    _replace(op, list(call.results))


def _fill_out_of_bounds(op: ir.Operation) -> None:
    """Zero the slices whose start index lies outside the operand.

    result[b.., o..] = 0 unless 0 <= index[b.., k] <= size(dim k) - slice_size(dim k) for every indexed dim k.
    """
    numbers = stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    operand, indices = op.operands
    index_type, result_type = ir.RankedTensorType(indices.type), ir.RankedTensorType(op.results[0].type)
    slice_sizes = list(ir.DenseI64ArrayAttr(op.attributes["slice_sizes"]))
    vector_dim, shape = numbers.index_vector_dim, list(index_type.shape)
    if vector_dim == len(shape):  # implicit trailing dim of size 1
        shape = [*shape, 1]
    batch_shape = shape[:vector_dim] + shape[vector_dim + 1 :]
    operand_shape = ir.RankedTensorType(operand.type).shape
    i1 = ir.IntegerType.get_signless(1)
    batch_dims = [dim for dim in range(len(result_type.shape)) if dim not in list(numbers.offset_dims)]
    # The replacement reads `gathered`, so it goes behind the gather, and the gather itself keeps its clamped result.
    del op.attributes[FILL_MARK]
    gathered = op.results[0]
    anchor = _next_operation(op)
    with ir.InsertionPoint(anchor):
        full = stablehlo.reshape(ir.RankedTensorType.get(shape, index_type.element_type), indices)
        inside = None
        for k, dim in enumerate(numbers.start_index_map):
            starts = [k if d == vector_dim else 0 for d in range(len(shape))]
            limits = [k + 1 if d == vector_dim else size for d, size in enumerate(shape)]
            part = stablehlo.slice(full, starts, limits, [1] * len(shape))
            component_type = ir.RankedTensorType.get(batch_shape, index_type.element_type)
            component = stablehlo.reshape(component_type, part)
            last = operand_shape[dim] - slice_sizes[dim]
            for bound, direction in ((0, "GE"), (last, "LE")):
                splat = ir.DenseElementsAttr.get_splat(
                    component_type, ir.IntegerAttr.get(index_type.element_type, bound)
                )
                kind = _comparison_kind(index_type.element_type)
                within = stablehlo.compare(
                    component, stablehlo.constant(splat), stablehlo.ComparisonDirectionAttr.get(direction),
                    compare_type=kind,
                )  # fmt: skip
                inside = within if inside is None else stablehlo.and_(inside, within)
        mask = stablehlo.broadcast_in_dim(
            ir.RankedTensorType.get(result_type.shape, i1), inside, ir.DenseI64ArrayAttr.get(batch_dims)
        )
        zero = stablehlo.constant(ir.DenseElementsAttr.get_splat(result_type, _zero(result_type.element_type)))
        filled = stablehlo.select(mask, gathered, zero)
    gathered.replace_all_uses_except(filled, filled.owner.operation)


def _next_operation(op: ir.Operation) -> ir.Operation:
    operations = list(op.block.operations)
    position = next(i for i, other in enumerate(operations) if other.operation == op)
    return operations[position + 1].operation


def _comparison_kind(element: ir.Type) -> ir.Attribute:
    unsigned = ir.IntegerType(element).is_unsigned
    return stablehlo.ComparisonTypeAttr.get("UNSIGNED" if unsigned else "SIGNED")


def _zero(element: ir.Type) -> ir.Attribute:
    if str(element).startswith(("i", "ui")):
        return ir.IntegerAttr.get(element, 0)
    return ir.FloatAttr.get(element, 0.0)
