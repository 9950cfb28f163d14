# SPDX-License-Identifier: Apache-2.0
"""Ops that run a function or region of the program: calls, composites, and the partitioned part of a module."""

from __future__ import annotations

import torch

from oracles.placement import block_start, take_block
from oracles.stages.machine import Machine, Shards, structural
from oracles.stages.program import NotUnderstood, Operation
from oracles.stages.shardings import blocks, shardings

NO_AXES = "manual_axes{}"  # as parsed: a body whose shapes are still whole


@structural("func.call ttcore.load_cached", attributes="callee")
def call(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
    """A function of the program; a cached one gives the same values every time (TTCoreOps.td, LoadCachedOp)."""
    return machine.call(machine.function(op.attributes["callee"]), operands)


@structural("stablehlo.composite", attributes="name composite_attributes decomposition version")
def composite(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
    """A composite means what its decomposition does (StableHLO spec, composite)."""
    return machine.call(machine.function(op.attributes["decomposition"]), operands)


@structural("sdy.manual_computation", attributes="in_shardings out_shardings manual_axes")
def manual_computation(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
    """Each device runs the body on its blocks of the operands; its results are blocks of the global results.

    (Shardy, ManualComputationOp.) Around it every device holds the whole value. Between two passes of the compiler the
    body may be not partitioned yet: then it is an ordinary region.
    """
    if op.attributes["manual_axes"] == NO_AXES:
        return machine.call(op.regions[0], operands)
    mesh = machine.mesh
    given = shardings(op.attributes["in_shardings"], mesh)
    arguments = [blocks(value[0], sharding, mesh) for value, sharding in zip(operands, given, strict=True)]
    results = machine.call(op.regions[0], arguments)
    whole = []
    for shards, sharding, type_ in zip(results, shardings(op.attributes["out_shardings"], mesh), op.types, strict=True):
        if type_ is None:
            raise NotUnderstood(f"{op.name} with a result that is no tensor")
        joined = torch.empty(type_.shape, dtype=shards[0].dtype)
        for device, shard in enumerate(shards):
            take_block(joined, block_start(type_.shape, sharding, mesh, device), shard.shape).copy_(shard)
        whole.append([joined] * mesh.size)
    return whole
