# SPDX-License-Identifier: Apache-2.0
"""All planted faults."""

from faults import elementwise, meshes_and_chains, orderings_and_reductions, reads, shapes, writes

FAMILIES = (reads, writes, orderings_and_reductions, shapes, elementwise, meshes_and_chains)
FAULTS = tuple(fault for family in FAMILIES for fault in family.FAULTS)
