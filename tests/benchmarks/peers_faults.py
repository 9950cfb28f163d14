# SPDX-License-Identifier: Apache-2.0
"""The ten faults that `peers.py` plants, and whether a peer can express them.

The first eight are the bugs that this project was made for: a lost shard offset, flat indices of 11, 8 and 24 bits, a
missing and a doubled collective, a wrong reduction, a wrap at 16 bits. The other two are known bugs of ops that peers
have too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

INDEXED = "an indexed read or write"
MESH = "a mesh"
EXTREMUM = "a largest or smallest along a dim"
SUM = "a sum along a dim"
POSITION = "the position of an extremum"

# What must be in a case for the fault to be there.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "local_row_iota": (MESH, INDEXED),
    "flat_index_11_bits": (INDEXED,),
    "flat_index_bf16": (INDEXED,),
    "flat_index_f32": (INDEXED,),
    "index_wraps_at_16_bits": (INDEXED,),
    "dropped_all_reduce": (MESH,),
    "doubled_all_reduce": (MESH,),
    "sum_for_extremum": (EXTREMUM,),
    "padding_in_sum": (SUM,),
    "argmax_index_bf16": (POSITION,),
}
# Names under which a peer's op would have it. A new version of a peer with such an op is not called unable.
NAMES = {
    INDEXED: re.compile(r"(?i)gather|scatter|embed|index|take|lookup|one_?hot"),
    EXTREMUM: re.compile(r"(?i)^(reduce)?(max|min)$|amax|amin"),
    SUM: re.compile(r"(?i)sum|mean"),
    POSITION: re.compile(r"(?i)arg(max|min|sort)|topk|^sort"),
}
# Where a reader can check what is said.
SOURCES = {
    "NNSmith": {MESH: "nnsmith/gir.py", INDEXED: "nnsmith/abstract/op.py, nnsmith/materialize/torch/dialect.py"},
    "xlaxiom": {
        MESH: "xlaxiom/model.py (Workload); its collective.py simulates shards, and no module uses it",
        INDEXED: "xlaxiom/operations.py",
        POSITION: "xlaxiom/operations.py",
    },
}


def unable(peer: str, fault: str, about: Mapping[str, Any], drawn: Mapping[str, Any]) -> str | None:
    """Why the peer cannot express the fault; None if it can, or might.

    `about` is what its driver knows (ops, modules that mention a mesh), `drawn` what it generated (ops, cases).
    """
    for need in NEEDS[fault]:
        source = SOURCES[peer].get(need, "its op list")
        if need == MESH:
            if not about["mesh"]:
                return f"no case has {need}: {source}"
        elif not any(NAMES[need].search(op) for op in (*about["ops"], *drawn["ops"])):
            return f"none of its {len(about['ops'])} ops is {need}: {source}; nor any op in {drawn['drawn']} cases"
    return None
