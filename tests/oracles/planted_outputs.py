# SPDX-License-Identifier: Apache-2.0
"""Cases of one op, and outputs as a fault would leave them on the devices, for any input values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from fuzz.case import Attribute, Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.payloads import values
from oracles.diagnose import Diagnosis, diagnose
from oracles.explanation import FRESH
from oracles.fresh import fresh_inputs
from oracles.placement import block_shape, block_start, take_block
from oracles.reference import reference
from oracles.scene import Inputs, Observe, Scene, scenes
from oracles.targets.base import Block, Outputs

Known = Mapping[str, torch.Tensor]  # right values of all values of the graph
Whole = torch.Tensor | Mapping[int, torch.Tensor]  # of all devices, or of each
Faulty = Callable[[Known], Whole]

ROWS: Sharding = (("x",), ())
COLUMNS: Sharding = ((), ("x",))
WHOLE: Sharding = ((), ())
FOUR_ROWS = Mesh((4, 1), ("x", "y"))


def data(name: str, *shape: int, sharding: Sharding | None = None, dtype: str = "f32", kind: str = "position") -> Input:
    return Input(name, TensorSpec(shape, dtype), Payload(kind), sharding or ((),) * len(shape))


def index(name: str, *shape: int, below: int, sharding: Sharding | None = None, kind: str = "random") -> Input:
    spec = TensorSpec(shape, "i64")
    return Input(name, spec, Payload(kind, 0, below, len(shape) - 1), sharding or ((),) * len(shape))


def returned(value: Input, mesh: Mesh = FOUR_ROWS) -> Case:
    """An input that is given back whole."""
    return Case(mesh, (value,), (), (Output(value.name, ((),) * len(value.spec.shape)),))


def one_op(
    op: str, *inputs: Input, output: Sharding | None = None, mesh: Mesh = FOUR_ROWS, **keywords: Attribute
) -> Case:
    node = Node("out", op, tuple(value.name for value in inputs), tuple(sorted(keywords.items())))
    return Case(mesh, inputs, (node,), (Output("out", output),))


def held(case: Case, whole: Whole, sharding: Sharding | None = None) -> Outputs:
    """What the devices hold if the output is this tensor, split as the case asks."""
    copies = dict.fromkeys(range(case.mesh.size), whole) if isinstance(whole, torch.Tensor) else whole
    sharding = sharding or case.outputs[0].sharding or ((),) * copies[0].dim()
    shape = block_shape(copies[0].shape, sharding, case.mesh)
    blocks = []
    for device, tensor in copies.items():
        start = block_start(tensor.shape, sharding, case.mesh, device)
        blocks.append(Block(device, start, take_block(tensor, start, shape)))
    return (tuple(blocks),)


def own_inputs(case: Case) -> dict[str, torch.Tensor]:
    return {value.name: values(value.spec, value.payload) for value in case.inputs}


def observing(case: Case, faulty: Faulty) -> Observe:
    """A compiler that computes the case wrongly, for any inputs."""

    def observe(inputs: Inputs) -> Outputs:
        known = {name: right.values for name, right in reference(case, inputs).items()}
        return held(case, faulty(known))

    return observe


def seen(case: Case, faulty: Faulty) -> Scene:
    own = own_inputs(case)
    return scenes(case, own, observing(case, faulty)(own))[0]


def diagnosed(case: Case, faulty: Faulty, *larger: Case, fresh: int = FRESH) -> Diagnosis | None:
    """What the diagnosis says of the faulty output, after trying fresh inputs and larger cases."""
    observe = observing(case, faulty)
    others = [scenes(case, inputs, observe(inputs))[0] for inputs in fresh_inputs(case, fresh)]
    return diagnose(seen(case, faulty), others, (seen(other, faulty) for other in larger))
