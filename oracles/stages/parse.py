# SPDX-License-Identifier: Apache-2.0
"""The text of a stage dump as a Program, read by jaxlib's MLIR bindings.

StableHLO and Shardy are registered there. TTIR and TTNN are not, and parse as unregistered ops after a few steps that
concern text only: the module inside `ttcore.device_module`, properties `<{...}>` as plain attributes (the bindings do
not show properties of unregistered ops), `ttcore.load_cached` in generic form, no locations and no system description.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxlib.mlir import ir

from fuzz.case import Mesh
from oracles.stages.elements import carrier, from_bytes, from_literals
from oracles.stages.program import Function, NotUnderstood, Operation, Program, TensorType

# For every op that they show, the bindings look for a Python module of its dialect, in three packages. These have none,
# and to find that out again each time took a tenth of a case.
for _package in ("jaxlib.mlir.dialects", "jaxlib.mosaic.python", "jax.jaxlib.mosaic.python"):
    for _dialect in ("ttcore", "ttir", "ttnn"):
        sys.modules[f"{_package}.{_dialect}"] = None  # type: ignore[assignment]  # None says that there is none

_LOCATION_ALIAS = re.compile(r"^#loc.*$", re.MULTILINE)
_LOCATION = re.compile(r' loc\((?:"[^"]*"(?:\(#\w+\))?|[^()]*)\)')
_SYSTEM = re.compile(r"^#system_desc.*$|^ *ttcore\.device @.*$|, ttcore\.system_desc = #system_desc", re.MULTILINE)
_DEALLOCATE = re.compile(r'^ *"ttnn\.deallocate".*$', re.MULTILINE)
_LOAD_CACHED = re.compile(r"ttcore\.load_cached\((@\w+), \[(.*?)\]\)")
# Between two passes only: a conversion that writes into a tensor made for it.
_EMPTY = re.compile(r"^ *%\w+ = ttir\.empty\(\) : .*$", re.MULTILINE)
_TO_LAYOUT = re.compile(r"ttir\.to_layout (%\w+), %\w+ : (.+?) into .+ -> (.+)$", re.MULTILINE)
_HEX_TRUTH_VALUES = re.compile(r'dense<"0x([0-9A-Fa-f]+)"> : tensor<([0-9x]+)xi1>')
_DEVICE_MESH = re.compile(r"#ttcore\.meshes<\[<\"\w+\" = ([0-9x]+)>\]>")
_NUMBERS = re.compile(r"-?\d+")
_FIELD = re.compile(r"([\w-]+) = (\[[^\]]*\]|<[^>]*>|[^,<\[]+)")
_HEX = re.compile(r'dense<"0x([0-9A-Fa-f]*)">')
_LITERAL = re.compile(r"true|false|0x[0-9A-Fa-f]+|-?\d[\d.]*(?:[eE][+-]?\d+)?")


def parse(stage: str) -> Program:
    """Read a stage. Needs an active MLIR context that allows unregistered dialects. Raises NotUnderstood."""
    text = generic_text(stage)
    try:
        module = ir.Module.parse(text)
    except ir.MLIRError as error:
        raise NotUnderstood(f"the stage does not parse: {cause(error)}") from error
    try:
        return _program(module, _device_mesh(text))
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        # The bindings have no way to read it, a complex constant for example.
        raise NotUnderstood(f"the stage cannot be read: {str(error).splitlines()[0]}") from error


def cause(error: ir.MLIRError) -> str:
    """The first error that MLIR names, without its place."""
    lines = str(error).splitlines()
    first = next((line for line in lines if "error:" in line), lines[-1])
    return first.rpartition("error:")[2].strip()


def _program(module: ir.Module, device_mesh: Mesh | None) -> Program:
    reader = _Reader()
    functions = {}
    meshes = []
    for view in module.body.operations:
        op = view.operation
        if op.name == "func.func":
            function = reader.function(ir.StringAttr(op.attributes["sym_name"]).value, op.regions[0])
            functions[function.name] = function
        elif op.name == "sdy.mesh":
            meshes.append(_axes(str(op.attributes["mesh"])))
        else:
            raise NotUnderstood(f"op {op.name} at module level")
    mesh = meshes[0] if meshes else device_mesh  # between two passes a module may have both
    if "main" not in functions or mesh is None or len(meshes) > 1:
        raise NotUnderstood("the stage has no @main, or not one mesh")
    return Program(functions, mesh)


def generic_text(stage: str) -> str:
    """The dump in the form that the bindings read."""
    text = _LOCATION.sub("", _LOCATION_ALIAS.sub("", stage))
    text = spell_out_truth_values(text)
    inner = text.find("builtin.module")
    if inner < 0:
        return _plain_properties(text) if '"ttir.' in text else text
    text = _EMPTY.sub("", _DEALLOCATE.sub("", _SYSTEM.sub("", text)))
    inner = text.find("builtin.module")
    aliases = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    body = "\n".join(line for line in text[inner:].splitlines() if not line.startswith("#"))
    # The device module and the outermost module each leave one closing brace behind.
    body = body.rstrip()[:-1].rstrip()[:-1]
    body = _LOAD_CACHED.sub(r'"ttcore.load_cached"(\2) {callee = \1}', body)
    body = _TO_LAYOUT.sub(r'"ttir.to_layout"(\1) : (\2) -> \3', body)
    return f"{aliases}\n{_plain_properties(body)}"


def _plain_properties(text: str) -> str:
    return text.replace("}> {", ", ").replace("<{", "{").replace("}>", "}")


def spell_out_truth_values(text: str) -> str:
    """i1 constants as lists: MLIR versions disagree on whether their hex form holds bits or bytes.

    The plugin writes bits, the first element in the lowest bit; jaxlib 0.10 reads bytes.
    """

    def spell(match: re.Match[str]) -> str:
        shape = [int(size) for size in match.group(2).split("x")]
        raw = np.frombuffer(bytes.fromhex(match.group(1)), dtype=np.uint8)
        count = math.prod(shape)
        bits = raw if raw.size == count else np.unpackbits(raw, bitorder="little")[:count]
        nested = json.dumps((bits.reshape(shape) != 0).tolist())
        return f"dense<{nested}> : tensor<{match.group(2)}xi1>"

    return _HEX_TRUTH_VALUES.sub(spell, text)


def _device_mesh(text: str) -> Mesh | None:
    match = _DEVICE_MESH.search(text)
    if match is None:
        return None
    shape = tuple(int(size) for size in match.group(1).split("x"))
    return Mesh(shape, tuple(f"axis{number}" for number in range(len(shape))))


def _axes(text: str) -> Mesh:
    """`#sdy.mesh<["x"=2, "y"=2]>`; one without axes is a single device."""
    axes = re.findall(r'"([^"]+)"=(\d+)', text)
    if not axes:
        return Mesh((1,), ("device",))
    if "device_ids" in text:
        raise NotUnderstood(f"mesh {text} with an order of its own")
    return Mesh(tuple(int(size) for _, size in axes), tuple(name for name, _ in axes))


class _Reader:
    """Numbers values and converts attributes; each distinct type and attribute is converted once."""

    def __init__(self) -> None:
        self._numbers: dict[ir.Value, int] = {}
        self._types: dict[ir.Type, TensorType | None] = {}
        self._attributes: dict[ir.Attribute, Any] = {}

    def function(self, name: str, region: ir.Region) -> Function:
        blocks = list(region.blocks)
        if len(blocks) != 1:
            raise NotUnderstood(f"{name}: a region of {len(blocks)} blocks")
        (block,) = blocks
        arguments = list(block.arguments)
        parameters = tuple(self._define(argument) for argument in arguments)
        operations = tuple(self._operation(view.operation) for view in block.operations)
        return Function(name, parameters, tuple(self._type(argument.type) for argument in arguments), operations)

    def _operation(self, op: ir.Operation) -> Operation:
        operands = tuple(self._numbers[operand] for operand in op.operands)
        regions = tuple(self.function(op.name, region) for region in op.regions if len(list(region.blocks)))
        results = list(op.results)
        return Operation(
            op.name,
            operands,
            tuple(self._define(result) for result in results),
            tuple(self._type(result.type) for result in results),
            {name: self._attribute(attribute) for name, attribute in named_attributes(op)},
            regions,
        )

    def _define(self, value: ir.Value) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    def _type(self, type_: ir.Type) -> TensorType | None:
        if type_ not in self._types:
            self._types[type_] = _tensor_type(type_)
        return self._types[type_]

    def _attribute(self, attribute: ir.Attribute) -> Any:
        if attribute not in self._attributes:
            self._attributes[attribute] = plain(attribute)
        return self._attributes[attribute]


def named_attributes(op: ir.Operation) -> Iterator[tuple[str, ir.Attribute]]:
    """Names and values of an op's attributes; iterating yields names in jaxlib 0.10 and named attributes in 0.7."""
    for entry in op.attributes:
        if isinstance(entry, str):
            yield entry, op.attributes[entry]
        else:
            yield entry.name, entry.attr


def _tensor_type(type_: ir.Type) -> TensorType | None:
    if not isinstance(type_, ir.RankedTensorType):
        return None
    ranked = ir.RankedTensorType(type_)
    return TensorType(tuple(ranked.shape), str(ranked.element_type))


def plain(attribute: ir.Attribute) -> Any:
    """An attribute as a Python value. One of a dialect that is not registered is read from its text."""
    match attribute:
        case ir.BoolAttr() | ir.IntegerAttr() | ir.FloatAttr() | ir.StringAttr():
            return attribute.value
        case ir.FlatSymbolRefAttr():
            return attribute.value
        case ir.ArrayAttr():
            return tuple(plain(element) for element in attribute)
        case ir.DenseI64ArrayAttr() | ir.DenseI32ArrayAttr() | ir.DenseBoolArrayAttr():
            return tuple(attribute)
        case ir.DenseElementsAttr():
            return _constant(attribute)
        case ir.DictAttr():
            return {entry.name: plain(entry.attr) for entry in attribute}
        case ir.UnitAttr():
            return True
        case ir.TypeAttr():
            return str(attribute.value)
    return _from_text(str(attribute))


def _from_text(text: str) -> Any:
    """`#d.name<k = 1, l = [2, 3]>` as a mapping, `#d.shape<1x8>` as numbers, `#d.kind<word>` or `#d<kind word>` as its
    word."""
    inner = text[text.find("<") + 1 : text.rfind(">")]
    if text.startswith("#ttnn.shape<"):
        return tuple(int(size) for size in inner.split("x") if size)
    if " = " in inner or not inner:  # dimension numbers that are all empty are written as no fields
        return {name: _field(value.strip()) for name, value in _FIELD.findall(inner)}
    return inner.split(" ")[-1] if text.startswith(("#stablehlo<", "#ttnn<", "#ttcore<")) else inner


def _field(value: str) -> Any:
    if value.startswith("["):
        return tuple(int(number) for number in _NUMBERS.findall(value))
    return int(value) if _NUMBERS.fullmatch(value) else value


def _constant(attribute: ir.Attribute) -> torch.Tensor:
    """A dense constant in the carrier of its element type."""
    type_ = _tensor_type(attribute.type)
    if type_ is None:
        raise NotUnderstood(f"constant of type {attribute.type}")
    if attribute.is_splat:
        return torch.full(type_.shape, _number(attribute.get_splat_value()), dtype=carrier(type_.element))
    text = str(attribute)
    raw = _HEX.match(text)
    if raw is not None:
        return from_bytes(bytes.fromhex(raw.group(1)), type_.element).reshape(type_.shape)
    values = from_literals(_LITERAL.findall(text.rpartition(":")[0].removeprefix("dense")), type_.element)
    return values.reshape(type_.shape)


def _number(attribute: Any) -> Any:
    return attribute.value if isinstance(attribute, ir.Attribute) else attribute
