# SPDX-License-Identifier: Apache-2.0
"""Equivalent forms: an op of a case written as a graph of other ops that computes the same.

A form that passes where the op fails is a workaround, and says that the failure belongs to the op. Each form is one
function in one family module, registered by `equivalent`; importing this package registers all of them.
"""

from fuzz.rewrites import elementwise, reads, reductions, shapes, writes
from fuzz.rewrites.core import Form, Graph, equivalent, forms, of_op

FAMILIES = (reads, writes, shapes, reductions, elementwise)

__all__ = ["FAMILIES", "Form", "Graph", "equivalent", "forms", "of_op"]
