# SPDX-License-Identifier: Apache-2.0
"""The fault models, simplest first. To add one, write its hypotheses in the module of its family and list it here."""

from __future__ import annotations

from oracles.models.execution import alone
from oracles.models.indices import changed_flat_index, changed_index, collapsed_index, ignored_index
from oracles.models.meanings import another_reduction, overwrites, transposed
from oracles.models.model import Hypothesis, Model
from oracles.models.shards import interleaved, local_positions, wrong_parts
from oracles.models.values import (
    counted_again,
    lost_base,
    lost_constant,
    padding,
    rounded_values,
    stale_rows,
    truth_value,
)

MODELS: tuple[Model, ...] = (
    rounded_values,
    changed_flat_index,
    changed_index,
    truth_value,
    lost_constant,
    overwrites,
    lost_base,
    another_reduction,
    interleaved,
    alone,
    wrong_parts,
    local_positions,
    counted_again,
    collapsed_index,
    ignored_index,
    transposed,
    padding,
    stale_rows,
)

__all__ = ["MODELS", "Hypothesis", "Model"]
