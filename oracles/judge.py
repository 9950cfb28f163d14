# SPDX-License-Identifier: Apache-2.0
"""One case, run and judged: what a worker does for every request."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from fuzz.case import Case, CaseError
from fuzz.payloads import values
from fuzz.scratch import scratch
from oracles.injection import judge_injected
from oracles.outcome import MISMATCHING, Outcome, Verdict
from oracles.reference import Expected, InvalidCase, reference
from oracles.stagewise import judge_stages
from oracles.targets.base import Observation, Target, TargetFailure
from oracles.targets.config import TargetConfig, TargetUnavailable
from oracles.targets.torch_xla_import import import_torch_xla
from oracles.verdict import compare, malformed, same

# bf16 results keep bf16 precision between fused ops only if XLA may not carry them wider; the reference rounds too.
XLA_FLAGS = "--xla_allow_excess_precision=false"


def preload(config: TargetConfig) -> None:
    """Import what opening the target imports, which takes seconds: processes forked from this one open it faster."""
    settle_process()
    if config.kind == "torchxla":
        import oracles.targets.torchxla
    else:
        import oracles.targets.pjrt  # noqa: F401 - for those that are forked


def settle_process() -> None:
    """What must hold before a compiler is imported; also imports torch_xla, the way it starts fastest."""
    if XLA_FLAGS not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_FLAGS}".strip()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["PJRT_DEVICE"] = "CPU"  # torch_xla only traces here; the device under test is another client
    torch.set_num_threads(1)  # one worker per core: more threads only get in each other's way
    import_torch_xla()


def open_target(config: TargetConfig) -> Target:
    """Open the target in this process, once. Raises TargetUnavailable."""
    settle_process()
    if config.kind == "torchxla":
        from oracles.targets.torchxla import TorchXLA

        return TorchXLA(config)
    return _open_pjrt(config)


def _open_pjrt(config: TargetConfig) -> Target:
    from oracles.targets import environment

    if config.kind == "cpu":
        from oracles.targets.client import cpu_client
        from oracles.targets.pjrt import PjrtTarget

        return PjrtTarget(config, cpu_client(max(8, config.topology.size)))
    if config.kind == "plugin":
        return _open_plugin(config, "plugin", environment.check_plugin(Path(config.plugin or "")))
    path = environment.find_tt_plugin(config.plugin)
    os.environ.update(environment.plugin_variables(path))
    # Not the user's: a compiler that prints every pass is slow, and has crashed while printing a module it rejects.
    os.environ.pop("TTXLA_LOGGER_LEVEL", None)
    if config.verbose:
        os.environ["TTXLA_LOGGER_LEVEL"] = "VERBOSE"
    if not config.mock:
        return _open_plugin(config, "tt", path)
    os.environ["TT_COMPILE_ONLY_SYSTEM_DESC"] = str(environment.prepare_compile_only(path, config.topology))
    from oracles.targets.client import cpu_client, load_plugin, plugin_client
    from oracles.targets.pjrt import MockTarget

    try:
        # While it is loaded the plugin unpacks what a pure compiler does not need. It cannot be shared instead: every
        # start unpacks it again, over what is there, and another process that does the same then fails.
        with scratch() as folder, _temporary_files_in(folder):
            load_plugin("tt", path)
        compiler = plugin_client("tt", path)
    except RuntimeError as error:
        raise TargetUnavailable(f"the TT plugin {path} does not start: {error}") from error
    return MockTarget(config, compiler, cpu_client(config.topology.size))


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Where a compiler in this process puts them meanwhile."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _open_plugin(config: TargetConfig, name: str, path: Path) -> Target:
    from oracles.targets.client import plugin_client
    from oracles.targets.pjrt import PjrtTarget

    try:
        client = plugin_client(name, path)
    except RuntimeError as error:
        raise TargetUnavailable(f"the plugin {path} does not start: {str(error).splitlines()[0]}") from error
    devices = len(client.devices())
    if devices < config.topology.size:
        raise TargetUnavailable(
            f"the plugin {path} has {devices} devices, mesh {config.topology} needs {config.topology.size}"
        )
    return PjrtTarget(config, client)


def _compared(
    case: Case, expected: Mapping[str, Expected], observation: Observation, inject: str, clock: _Clock
) -> Outcome:
    if observation.compiled is None:
        clock.enter("compare")
        return malformed(case, expected, observation) or compare(case, expected, observation)
    clock.enter("execute")
    if inject:
        return judge_injected(case, expected, observation.compiled, observation.operations, inject)
    return judge_stages(case, expected, observation.compiled, observation.operations)


def _wrote_the_same(first: Observation, second: Observation) -> bool:
    """Whether two compiles gave the same programs: then they mean the same, and need not be executed again."""
    if first.compiled is None or second.compiled is None or not first.compiled.texts:
        return False
    return first.compiled.texts == second.compiled.texts


@dataclass
class _Clock:
    """Tells the driver which phase runs, and measures each: name -> seconds."""

    announce: Callable[[str], None]
    phase: str = ""
    started: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    def enter(self, phase: str) -> None:
        now = time.perf_counter()
        if self.phase:
            self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + now - self.started
        self.phase, self.started = phase, now
        if phase:
            self.announce(phase)


@contextmanager
def _measured(announce: Callable[[str], None]) -> Iterator[_Clock]:
    clock = _Clock(announce)
    try:
        yield clock
    finally:
        clock.enter("")


def judge(target: Target, case: Case, on_stage: Callable[[str], None]) -> Outcome:
    """Run the case on the target and compare it with the reference. Every failure becomes an Outcome.

    A wrong result is run a second time: if the target does not repeat itself, that is what is wrong.
    """
    with _measured(on_stage) as clock:
        outcome = _judge(target, case, clock)
    return replace(outcome, seconds=clock.seconds)


def _judge(target: Target, case: Case, clock: _Clock) -> Outcome:
    clock.enter("reference")
    try:
        inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
        expected = reference(case, inputs)
    except (InvalidCase, CaseError) as error:
        return Outcome(Verdict.INVALID, stage="reference", message=str(error))
    try:
        observation = target.run(case, inputs, clock.enter)
        outcome = _compared(case, expected, observation, target.config.inject, clock)
        if outcome.verdict not in MISMATCHING:
            return outcome
        again = target.run(case, inputs, clock.enter)
        if _wrote_the_same(observation, again):
            return outcome
        repeated = _compared(case, expected, again, target.config.inject, clock)
        if not same(observation, again) or repeated != outcome:
            return replace(outcome, verdict=Verdict.NONDETERMINISTIC, message="two runs of one case differ")
        return outcome
    except TargetFailure as failure:
        return Outcome(failure.verdict, stage=failure.stage, message=str(failure))
    except Exception as error:  # noqa: BLE001 - the worker's border: what has no name is our failure, hence ENV
        return Outcome(
            Verdict.ENV,
            stage=clock.phase,
            message=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}",
            log=traceback.format_exc(limit=-6),
        )
