# SPDX-License-Identifier: Apache-2.0
"""Findings made by hand, ordinary and ugly, for the tests of what people read."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence

from fuzz.case import Case, Input, Mesh, Node, Output, Payload, Sharding, TensorSpec
from fuzz.case_file import dump
from fuzz.evidence import Boundary, Control
from fuzz.finding import Finding, Script, State
from oracles.explanation import RIGHT_CELL, Decoded, Element, Explanation, Part
from oracles.localisation import Localisation
from oracles.outcome import Mismatch, Outcome, Verdict
from oracles.quotation import Quote

MESH = Mesh((2, 2), ("x", "y"))
HOSTILE = "'op' <script>alert(\"1\")</script> & </svg> \x1b[31mred\x1b[0m"
Cell = Callable[[int, tuple[int, ...]], str]  # device, position in the output -> cause; empty if right


def case(mesh: Mesh = MESH, shape: tuple[int, ...] = (8, 8), split: Sharding = (("x",), ()), op: str = "flip") -> Case:
    value = Input("x0", TensorSpec(shape, "f32"), Payload("position"), split)
    node = Node("v0", op, ("x0",), (("dims", (0,)),))
    return Case(mesh, (value,), (node,), (Output("v0", split),))


def part_of(mesh: Mesh, device: int, shape: Sequence[int], split: Sharding) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Start and shape of what a device holds; uneven shards are as large as the first, the last ones smaller."""
    position, starts, sizes = mesh.coordinate(device), [], []
    for size, axes in zip(shape, split, strict=True):
        pieces, number = 1, 0
        for axis in axes:
            pieces, number = pieces * mesh.sizes[axis], number * mesh.sizes[axis] + position[axis]
        step = -(-size // pieces)
        starts.append(min(number * step, size))
        sizes.append(min(step, size - starts[-1]))
    return tuple(starts), tuple(sizes)


def decoded(mesh: Mesh, shape: tuple[int, ...], split: Sharding, cell: Cell, *, drawn: bool = True) -> Decoded:
    """What `cell` says of every element on every device."""
    causes: Counter[str] = Counter()
    elements, told = [], []
    for device in range(mesh.size):
        start, size = part_of(mesh, device, shape, split)
        said = []
        for inside in itertools.product(*map(range, size)):
            at = tuple(a + b for a, b in zip(start, inside, strict=True))
            said.append(cell(device, at))
            if said[-1]:
                causes[said[-1]] += 1
                elements.append(Element(at, device, said[-1], f"x0{list(at)}", f"x0{[0 for _ in at]}"))
        told.append((device, start, size, said))
    letters = {"": RIGHT_CELL} | {cause: chr(ord("a") + number) for number, cause in enumerate(causes)}
    parts = [Part(d, start, size, "".join(letters[s] for s in said) if drawn else "") for d, start, size, said in told]
    return Decoded("v0", shape, causes.total(), dict(causes), tuple(elements), tuple(parts))


def finding(
    key: str = "WRONG reverse",
    explained: Sequence[Decoded] | None = (),
    subject: Case | None = None,
    outcome: Outcome | None = None,
    **fields: object,
) -> Finding:
    """A wrong one with an explanation, unless told otherwise."""
    subject = subject or case()
    mismatch = Mismatch("v0", 3, 2, 4, (("(1, 0)", "3", "2"), ("(1, 1)", "4", "2")))
    outcome = outcome or Outcome(
        Verdict.WRONG,
        "shlo_compiler",
        op="flip",
        pcc=0.75,
        mismatches=(mismatch,),
        transition="shlo -> shlo_compiler",
        stages={"shlo": "right", "shlo_compiler": "wrong", "ttir": "not judged: op ttir.rope"},
    )
    explanation = None
    if explained is not None:
        sentence = "mesh rows 1-3 used mesh row 0's offset: each device reverses its own shard only"
        explanation = Explanation(sentence, "local_position", 3, tuple(explained))
    text = dump(subject)
    base = Finding(key, (), State.PROVEN, 4, text, text, outcome, 41, True, explanation=explanation, count=7)
    changes = {name: value for name, value in EVIDENCE.items() if explained is not None} | fields
    return Finding(**{name: changes.get(name, getattr(base, name)) for name in base.__slots__})


QUOTE = Quote(
    ("%1 = stablehlo.reverse %0, dims = [0] : tensor<4x8xf32> // " + "of one shard only " * 6,),
    ('%1 = "stablehlo.reverse"(%0) <{dimensions = array<i64: 0>}> : tensor<8x8xf32>',),
)
EVIDENCE: dict[str, object] = {
    "localisation": Localisation(Verdict.WRONG, ("Fusing (fuse)",), "shlo_compiler", quote=QUOTE),
    "boundaries": (
        Boundary("dim 0 of x0", ((1, False), (2, False), (3, True), (8, True))),
        Boundary("largest index in x1", ((2047, False), (2048, False), (2049, True))),
        Boundary("devices along y", ((1, True), (2, True))),
        Boundary("rows", ((1, False), (2, True), (3, False))),
    ),
    "controls": (
        Control("unsharded", Verdict.PASS),
        Control("one mesh axis", Verdict.PASS),
        Control("as index_select", Verdict.WRONG, "the same elements"),
        Control("optimization_level 1", Verdict.COMPILE_ERROR, HOSTILE),
        Control("on cpu", Verdict.PASS),
        Control("on torchxla", Verdict.UNSUPPORTED, "no lowering for aten::flip of a bool"),
    ),
    "scripts": (
        Script("torch", "repros/made_torch.py", True, "bug present: got 5"),
        Script("stablehlo", "", False, "the case has no module: too strange"),
    ),
}


def ordinary() -> Finding:
    """Two causes on half of the devices of a 2x2 mesh."""
    return finding(explained=[decoded(MESH, (8, 8), (("x",), ("y",)), _two_causes)])


def _two_causes(device: int, at: tuple[int, ...]) -> str:
    if device < 2:
        return ""
    return "never written" if at[1] == 3 else "element of another row" if at[0] % 2 else ""


def _stripe(device: int, at: tuple[int, ...]) -> str:
    return "wrong row" if at and at[-1] % 3 == 1 else "" if at else "garbage"


def ugly() -> dict[str, Finding]:
    """By what is ugly about them."""
    wide = Mesh((4, 8), ("x", "y"))
    line = Mesh((1, 2), ("x", "y"))
    many = [f"cause number {number} with quite a long name of its own" for number in range(11)]
    outputs: dict[str, tuple[Mesh, Decoded]] = {
        "rank 0": (MESH, decoded(MESH, (), (), _stripe)),
        "rank 1": (MESH, decoded(MESH, (10,), (("x", "y"),), _stripe)),
        "rank 3": (MESH, decoded(MESH, (3, 4, 6), ((), ("x",), ("y",)), lambda d, at: _stripe(d, at) * (at[0] != 1))),
        "rank 5": (MESH, decoded(MESH, (2, 2, 5, 4, 3), (("x",), (), (), ("y",), ()), _stripe)),
        "unit dims": (MESH, decoded(MESH, (1, 8, 1, 6), ((), ("x",), (), ()), _stripe)),
        "4096 columns": (
            MESH, decoded(MESH, (2, 4096), ((), ("y",)), lambda d, at: "wrong sign" if at[1] > 3000 else ""),
        ),
        "4096 rows of noise": (
            line,
            decoded(line, (4096, 2), (("y",), ()), lambda d, at: "rounded to 8 bits" if math.sin(at[0]) > 0.3 else ""),
        ),
        "replicas that disagree": (
            MESH, decoded(MESH, (4, 4), (("x",), ()), lambda d, at: "not summed" if d in (1, 3) and at[1] < 2 else ""),
        ),
        "replicas that agree": (MESH, decoded(MESH, (4, 4), (("x",), ()), _stripe)),
        "all replicas disagree": (
            wide, decoded(wide, (2, 3), ((), ()), lambda d, at: "garbage" if at == (d % 2, d % 3) else ""),
        ),
        "uneven shards": (wide, decoded(wide, (7, 5), (("x",), ("y",)), _stripe)),
        "32 devices": (wide, decoded(wide, (8, 16), (("x",), ("y",)), _stripe)),
        "32 devices in a row": (wide, decoded(wide, (32,), (("x", "y"),), _stripe)),
        "64 rows each its own": (
            MESH, decoded(MESH, (64, 64), (("x",), ()), lambda d, at: "wrong row" if sum(at) % 7 == d else ""),
        ),
        "eleven causes": (MESH, decoded(MESH, (11, 3), ((), ()), lambda d, at: many[at[0]])),
        "too large": (MESH, decoded(MESH, (8, 8), (("x",), ()), _stripe, drawn=False)),
        "nothing known": (MESH, Decoded("v0", (8, 8), 3, {"garbage": 3}, (), ())),
        "empty": (MESH, Decoded("v0", (0, 8), 0, {}, (), ())),
    }  # fmt: skip
    found = {
        name: finding(f"WRONG {name}", [seen], case(mesh, (8, 8), (("x",), ())))
        for name, (mesh, seen) in outputs.items()
    }
    found["two outputs"] = finding("WRONG two", [outputs["rank 0"][1], outputs["rank 1"][1]])
    found["no explanation"] = finding("WRONG unknown", None)
    found["unexplained"] = finding(
        "WRONG odd", None, explanation=Explanation("unexplained: the first wrong element is x0[3, 1]")
    )
    found["crash"] = finding(
        "CRASH flip", None, case(), Outcome(Verdict.CRASH, "compile", "signal SIGSEGV", log="#0 0x1")
    )
    found["hostile"] = finding(
        f"COMPILE_ERROR {HOSTILE}", None, case(), Outcome(Verdict.COMPILE_ERROR, "ttir", HOSTILE, op=HOSTILE)
    )
    return found
