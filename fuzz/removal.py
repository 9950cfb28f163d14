# SPDX-License-Identifier: Apache-2.0
"""Can a workaround go? The avoided form, its neighbours and the replacement, tried wherever the workaround is used.

A failure keeps a workaround, wherever its bug would show. Passes free it only if this run could have shown the bug at
all: a mock runs no kernel, and a workaround inside the compiler is at work in every compile here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import torch

from fuzz.case import Case, CaseError
from fuzz.ops.core import case_bytes
from fuzz.payloads import values
from fuzz.pool import Pool
from fuzz.replay import Replay, named
from fuzz.report.words import plural
from fuzz.verify import NOT_RUN, PASSES, said, too_large
from fuzz.workarounds import Form, Instance, ShowsIn, Workaround, in_dtype, instances, undivided
from oracles.outcome import Verdict
from oracles.reference import Expected, reference
from oracles.targets.config import TargetConfig

Try = Callable[[Case], Replay]


class Advice(StrEnum):
    """What to do with a workaround."""

    SAFE = "SAFE TO REMOVE"
    KEEP = "KEEP"
    CANNOT_TELL = "CANNOT TELL HERE"


REPLACEMENT_WRONG = "REPLACEMENT WRONG"
MAX_BYTES = 1 << 30  # of all values of a form


@dataclass(frozen=True, slots=True)
class Ruling:
    """What to do with one workaround, and what that rests on."""

    workaround: Workaround
    advice: Advice
    detail: str
    replacement: str = ""  # how the replacement form is wrong; empty: it is right wherever it ran
    tried: int = 0  # cases
    fresh: int = 0  # passes in processes of their own
    skipped: tuple[str, ...] = ()  # instances that the mesh does not divide
    broken: bool = False  # our side failed
    seconds: float = field(default=0.0, compare=False)

    @property
    def actionable(self) -> bool:
        """Whether somebody should change the workaround."""
        return self.advice is Advice.SAFE or bool(self.replacement)

    def to_plain(self) -> dict[str, Any]:
        entry = self.workaround
        return {
            "id": entry.id,
            "ticket": entry.ticket,
            "repository": entry.repository,
            "file": entry.file,
            "avoids": entry.avoids,
            "shows_in": str(entry.shows_in),
            "needs": entry.needs,
            "advice": str(self.advice),
            "detail": self.detail,
            "replacement_wrong": self.replacement,
            "tried": self.tried,
            "fresh_passes": self.fresh,
            "skipped": list(self.skipped),
            "broken": self.broken,
            "seconds": round(self.seconds, 3),
        }


# --- first: everything on warm workers --------------------------------------------------------------------------------


def trial(pool: Pool) -> Try:
    """Runs cases on warm workers; a case that several workarounds share runs once."""
    known: dict[str, Replay] = {}
    lock = threading.Lock()

    def run(case: Case) -> Replay:
        with lock:
            if case.digest in known:
                return known[case.digest]
        seen = named(pool, case)
        with lock:
            return known.setdefault(case.digest, seen)

    return run


def rulings(
    wanted: Sequence[Workaround], config: TargetConfig, version: str, run: Try, workers: int
) -> Iterator[Ruling]:
    """What the warm workers say of each, as soon as it is known. SAFE is not confirmed yet.

    `version`: of the compiler, for which alone a SAFE holds.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="workarounds") as threads:
        pending = [threads.submit(rule, workaround, config, version, run) for workaround in wanted]
        try:
            for done in as_completed(pending):
                yield done.result()
        finally:
            for each in pending:
                each.cancel()


def rule(workaround: Workaround, config: TargetConfig, version: str, run: Try) -> Ruling:
    """What to do with one workaround, as far as `run` tells."""
    began = time.monotonic()
    forms = (workaround.avoided, *workaround.neighbours)
    seen = _Seen()
    tried = (_failure(form, workaround, config, run, seen) for form in forms)
    failure = next(filter(None, tried), "")
    if failure:
        advice, detail = Advice.KEEP, failure
    elif seen.unknown:
        advice, detail = Advice.CANNOT_TELL, seen.unknown
    elif not shows_on(config, workaround.shows_in):
        advice, detail = Advice.CANNOT_TELL, f"passes here, but needs {workaround.needs}"
    else:
        meshes, dtypes = ", ".join(map(str, workaround.meshes)), ", ".join(workaround.dtypes)
        near = f", with {plural(len(forms) - 1, 'neighbour')}," if workaround.neighbours else ""
        advice, detail = Advice.SAFE, f"in {version}: passes{near} on {meshes} in {dtypes}"
    wrong = _failure(workaround.replacement, workaround, config, run, seen) or difference(workaround)
    return Ruling(
        workaround,
        advice,
        detail,
        wrong,
        seen.tried,
        skipped=tuple(seen.skipped),
        broken=seen.broken,
        seconds=time.monotonic() - began,
    )


def shows_on(config: TargetConfig, shows_in: ShowsIn) -> bool:
    """Whether a run on the target would show a bug of that place."""
    chips = config.kind == "tt" and not config.mock
    return shows_in is ShowsIn.STAGES or (shows_in is ShowsIn.SILICON and chips)


class _Seen:
    """What happened beside failures."""

    def __init__(self) -> None:
        self.tried = 0
        self.unknown = ""  # the first case that says nothing, and why
        self.skipped: list[str] = []
        self.broken = False


def _failure(form: Form, workaround: Workaround, config: TargetConfig, run: Try, seen: _Seen) -> str:
    """The first instance of a form that does not pass, and how it fails; empty if none."""
    for instance in instances(form, workaround):
        if reason := too_large(instance.case, config):
            seen.unknown = seen.unknown or f"{instance}: {reason}"
        elif reason := undivided(instance.case):
            seen.skipped.append(f"{instance}: {reason}")
        else:
            now = run(instance.case)
            seen.tried += 1
            if now.outcome.verdict in NOT_RUN:
                seen.unknown = seen.unknown or f"{instance}: {said(now)}"
                seen.broken |= now.outcome.verdict is Verdict.ENV
            elif not now.passed:
                return f"{instance}: {said(now)}"
    return ""


def difference(workaround: Workaround) -> str:
    """How the forms differ in torch on the CPU; empty if they compute the same. Raises CaseError, InvalidCase."""
    for dtype in workaround.dtypes:
        avoided, other = (
            _outputs(in_dtype(form.case, workaround.dtypes[0], dtype))
            for form in (workaround.avoided, workaround.replacement)
        )
        if len(avoided) != len(other):
            return f"has {len(other)} outputs, the avoided form {len(avoided)}"
        for number, (want, got) in enumerate(zip(avoided, other, strict=True)):
            if want.values.shape != got.values.shape:
                shapes = list(got.values.shape), list(want.values.shape)
                return f"output {number} has shape {shapes[0]}, of the avoided form {shapes[1]}"
            allowed = sum((each.bound for each in (want, got) if each.bound is not None), torch.zeros(()))
            far = (want.values.double() - got.values.double()).abs() > allowed
            if far.any():
                return f"{int(far.sum())} elements of output {number} are not those of the avoided form, in {dtype}"
    return ""


def _outputs(case: Case) -> list[Expected]:
    """What a case computes. It runs in this process: the forms are data, so their size is looked at first."""
    if case_bytes(case) > MAX_BYTES:
        raise CaseError(f"a form of a workaround takes more than {MAX_BYTES >> 20} MB")
    inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
    known = reference(case, inputs)
    return [known[output.name] for output in case.outputs]


# --- then: what would be removed, again in fresh processes ------------------------------------------------------------


def confirmed(ruling: Ruling, again: Try) -> Ruling:
    """A SAFE that fresh processes agree with: three of the avoided form, one of each neighbour, where it is used first.

    `again` runs a case in a process of its own. The other meshes and dtypes have passed in a warm worker.
    """
    if ruling.advice is not Advice.SAFE:
        return ruling
    workaround, passes = ruling.workaround, 0
    for form in (*[workaround.avoided] * PASSES, *workaround.neighbours):
        instance = _first(form, workaround)
        if instance is None:
            continue
        now = again(instance.case)
        if not now.passed:
            advice = Advice.CANNOT_TELL if now.outcome.verdict in NOT_RUN else Advice.KEEP
            detail = f"{instance}: passed in a warm worker, in a fresh one {said(now)}"
            return replace(ruling, advice=advice, detail=detail, fresh=passes)
        passes += 1
    return replace(ruling, fresh=passes)


def _first(form: Form, workaround: Workaround) -> Instance | None:
    return next((instance for instance in instances(form, workaround) if not undivided(instance.case)), None)
