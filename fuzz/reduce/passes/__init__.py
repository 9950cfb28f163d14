# SPDX-License-Identifier: Apache-2.0
"""All reduction passes, in the order in which they run.

A pass proposes strictly simpler cases in a fixed order. What removes most comes first: a graph of one node makes every
later candidate cheaper, and what is not sharded need not divide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fuzz.case import Case
from fuzz.reduce.passes import dims, graph, mesh, payloads, ranks, shardings, values

Pass = Callable[[Case], Iterator[Case]]

PASSES: tuple[Pass, ...] = (
    graph.drop_outputs,
    graph.cut_graph,
    shardings.unshard_tensors,
    mesh.shrink_mesh,
    values.drop_options,
    dims.shrink_everything,
    graph.drop_nodes,
    graph.drop_operands,
    graph.disconnect,
    graph.merge_inputs,
    shardings.unshard_axes,
    ranks.drop_dims,
    payloads.simplify_payloads,
    values.simplify_dtypes,
    values.simplify_attributes,
    dims.collapse_extents,
    dims.flatten_dims,
    payloads.pin_values,
    payloads.shrink_values,
    dims.shrink_extents,
    ranks.turn_dims,
    shardings.swap_axes,
    graph.reorder,
)
