# SPDX-License-Identifier: Apache-2.0
"""What a fault model is: closed-form hypotheses about how an output came to be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from oracles.scene import Prediction, Scene

SIGNIFICANDS = (24, 11, 8)  # bits: f32, what a matrix unit keeps of it, bf16


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way in which the op of a scene may have been computed.

    `predict` must work for other inputs of the same case too; None where it predicts nothing. What torch raises on the
    way (an index out of range, shapes that do not fit) means the same.
    """

    model: str  # names the kind of fault, the same for all cases that have it: part of a bucket's key
    predict: Callable[[Scene], Prediction | None]
    sentence: Callable[[Scene], str]  # what happened, of a scene that the prediction fits


Model = Callable[[Scene], Iterator[Hypothesis]]  # simplest first


def through(change: Callable[[torch.Tensor], Prediction]) -> Callable[[Scene], Prediction]:
    """The right result, changed."""
    return lambda scene: change(scene.wanted)


def always(sentence: str) -> Callable[[Scene], str]:
    """A sentence that is the same for every scene."""
    return lambda _: sentence
