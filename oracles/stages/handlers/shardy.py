# SPDX-License-Identifier: Apache-2.0
"""Shardy's collectives in a program of whole values, as they stand between two passes of the compiler."""

from __future__ import annotations

from oracles.stages.machine import Machine, Shards, structural
from oracles.stages.program import NotUnderstood, Operation


@structural(
    "sdy.all_gather sdy.all_reduce sdy.all_slice sdy.all_to_all sdy.collective_permute sdy.reduce_scatter",
    attributes="gathering_axes reduction_axes slicing_axes params reduce_scatter_axes out_sharding",
)
def resharding(machine: Machine, op: Operation, operands: list[Shards]) -> list[Shards]:
    """The same value, laid out differently (Shardy, e.g. AllGatherOp): the identity where the value is whole.

    What it does to blocks on devices is up to the pass that replaces it.
    """
    if machine.mesh.size > 1:
        raise NotUnderstood(f"{op.name} on blocks")
    return operands
