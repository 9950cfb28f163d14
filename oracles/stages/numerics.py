# SPDX-License-Identifier: Apache-2.0
"""How TT hardware stores and computes numbers, as rules that can be switched off one by one.

A wrong TTNN stage is executed again without rules: if it is right then, no element went to a wrong place, only digits
were lost, and the rule that loses them is named. Rules known only from a simulator are suspicions, not findings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from oracles.stages.elements import FLOATS, carrier, wrapped


@dataclass(frozen=True, slots=True)
class Rule:
    """One fact about the number formats of the chip."""

    name: str
    doc: str
    known_from: str
    documented: bool  # stated by the IR or the compiler's sources; else only observed on a simulator


RULES = {
    rule.name: rule
    for rule in (
        Rule(
            "storage",
            "a tensor holds what its element type can: bf16 8 and f32 24 significant bits, integers 32 bits",
            "the element types of the TTNN stage itself; tt-mlir turns i64 into i32 and i1 into bf16 before TTNN",
            documented=True,
        ),
        Rule(
            "ties_away",
            "integers become bf16 by rounding to nearest, ties away from zero: 2004 becomes 2008",
            "ttnn.typecast on the functional simulator ttsim 1.10.0, Blackhole",
            documented=False,
        ),
        Rule(
            "u16_typecast",
            "f32 becomes u16 by rounding half up, and saturates at 0 and 65535",
            "ttnn.typecast on ttsim 1.10.0, Blackhole; tt-metal#51655, tt-metal#55325",
            documented=False,
        ),
        Rule(
            "tf32_matmul",
            "f32 matmul keeps 11 significant bits of its first operand and 10 of its second; in four passes the "
            "upper 7 and lower 4 of the one meet the upper and lower 5 of the other; the products of a group are "
            "aligned to the largest and rounded half up to 2^(E-10)",
            "ttnn.matmul on ttsim 1.10.0, Blackhole; tt-metal#42845",
            documented=False,
        ),
        Rule(
            "bf16_accumulation",
            "a bf16 scatter that adds rounds after every addition",
            "ttnn.scatter_add on ttsim 1.10.0, Blackhole; tt-metal#36341",
            documented=False,
        ),
        Rule(
            "no_clamp",
            "embedding reads whatever lies behind the table for an index out of range: NaN here, 2^31-1 for integers",
            "ttnn.embedding on ttsim 1.10.0, Blackhole; tt-mlir#9211",
            documented=False,
        ),
    )
}

# Products that one pass of the matrix engine adds up before rounding. Not observed: the figures of ttsim do not tell.
MATMUL_GROUP = 16
# Significant bits of each operand in the upper pass. Low fidelity, which does only that pass, makes 129 * 1 to 128.
UPPER_BITS = (7, 5)


@dataclass(frozen=True, slots=True)
class Numerics:
    """The rules that hold in one execution."""

    rules: frozenset[str] = frozenset()

    def has(self, rule: str) -> bool:
        return rule in self.rules

    def without(self, *rules: str) -> Numerics:
        return replace(self, rules=self.rules - set(rules))

    def store(self, value: torch.Tensor, element: str) -> torch.Tensor:
        """The value as a tensor of that element type holds it; without `storage`, as wide as torch goes."""
        if self.has("storage") or element == "i1":
            if element == "bf16" and value.dtype is torch.float64:
                value = round_significand(value, 8)  # torch goes by way of f32, which rounds twice
            return wrapped(value.to(carrier(element)), element)
        return value.to(torch.float64 if element in FLOATS else torch.int64)

    def typecast(self, value: torch.Tensor, element: str) -> torch.Tensor:
        """`ttnn.typecast` to the element type, before storage."""
        if value.is_floating_point() and element not in FLOATS:
            if element == "ui16" and self.has("u16_typecast"):
                return (value.double() + 0.5).floor().clamp(0, 65535).nan_to_num()
            return value.double().trunc()
        if element == "bf16" and not value.is_floating_point() and self.has("ties_away"):
            return round_significand(value.double(), 8, half_up=True)
        return value

    def matmul(self, a: torch.Tensor, b: torch.Tensor, element: str) -> torch.Tensor:
        """`a @ b` for an f32 or bf16 result, batched like torch.matmul."""
        if element != "f32" or not self.has("tf32_matmul"):
            return a.double() @ b.double()
        exact = a.double() @ b.double()
        left, right = (torch.where(value.isfinite(), value, 0.0).double() for value in (a, b))
        aligned = _matmul_in_passes(round_significand(left, 11), round_significand(right, 10))
        return torch.where(exact.isfinite(), aligned, exact)


# StableHLO and TTIR say what each element type holds, and nothing about how a chip computes.
EXACT = Numerics(frozenset({"storage"}))
TT = Numerics(frozenset(RULES))
# No number loses a digit: what is wrong even so is wrong in its place.
WIDE = Numerics()


def round_significand(value: torch.Tensor, bits: int, half_up: bool = False) -> torch.Tensor:
    """A float64 tensor rounded to that many significant bits: ties to even, or away from zero with `half_up`."""
    mantissa, exponent = torch.frexp(value)
    scaled = mantissa * 2.0**bits
    rounded = torch.sign(scaled) * (scaled.abs() + 0.5).floor() if half_up else scaled.round()
    result = torch.ldexp(rounded, exponent - bits)
    return torch.where(value.isfinite(), result, value)


def _matmul_in_passes(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The sum of four passes: upper and lower bits of `a` with upper and lower bits of `b`."""
    total = torch.zeros_like(a @ b)
    for left in _split(a, UPPER_BITS[0]):
        for right in _split(b, UPPER_BITS[1]):
            if bool(left.any()) and bool(right.any()):
                total = total + _aligned_matmul(left, right)
    return total


def _split(value: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The upper significant bits of each element, and what is below them."""
    mantissa, exponent = torch.frexp(value)
    upper = torch.ldexp((mantissa * 2.0**bits).trunc(), exponent - bits)
    return upper, value - upper


def _aligned_matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Sum of products in which each group of MATMUL_GROUP loses what lies below 2^(E-10).

    E is the largest sum of two factors' exponents: that 1.5 * 1.5 needs one bit more does not count.
    """
    total = torch.zeros((), dtype=torch.float64)
    for first in range(0, a.shape[-1], MATMUL_GROUP):
        left = a[..., first : first + MATMUL_GROUP].unsqueeze(-1)
        right = b[..., first : first + MATMUL_GROUP, :].unsqueeze(-3)
        products = left * right
        exponents = torch.frexp(left)[1] + torch.frexp(right)[1] - 2  # frexp's mantissa lies in [0.5, 1)
        # A group of zeros has no largest product, and any exponent does.
        exponent = torch.where(products != 0, exponents, -1000).amax(dim=-2, keepdim=True)
        quantum = torch.ldexp(torch.ones((), dtype=torch.float64), exponent - 10)
        total = total + ((products / quantum + 0.5).floor() * quantum).sum(dim=-2)
    return total
