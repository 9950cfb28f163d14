# SPDX-License-Identifier: Apache-2.0
"""Runs cases on the torch_xla target, for test_torchxla.py: a process serves one device count only.

python torchxla_process.py RxC CASE.yaml ...      prints one JSON object: case file name -> blocks or failure
"""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from fuzz.case import Mesh, MeshfuzzError
from fuzz.case_file import load
from fuzz.ops.core import Moves, Op, register
from fuzz.payloads import values
from oracles.targets import torchxla
from oracles.targets.base import Block, TargetFailure
from oracles.targets.config import TargetConfig
from oracles.targets.torchxla import TorchXLA


def rejected_on_devices(x: torch.Tensor) -> torch.Tensor:
    if x.device.type == "xla":
        raise RuntimeError("\nthis shape is not to my taste\nand more")
    return x.clone()


def _op(name: str, run: Any) -> Op:
    return Op(name, "test", name, lambda scope: None, run, name + "({0})", Moves())


register(_op("test_not_lowered", torch.special.i1e), _op("test_rejected", rejected_on_devices))


def plain(blocks: tuple[Block, ...]) -> list[dict[str, Any]]:
    return [
        {
            "device": b.device,
            "start": b.start,
            "shape": b.values.shape,
            "values": b.values.flatten().tolist(),
            "dtype": str(b.values.dtype),
        }
        for b in blocks
    ]


def main() -> None:
    target = TorchXLA(TargetConfig("torchxla", Mesh.parse(sys.argv[1]), mock=False))
    report: dict[str, Any] = {}
    for path in map(Path, sys.argv[2:]):
        case = load(path)
        stages: list[str] = []
        try:
            inputs = {value.name: values(value.spec, value.payload) for value in case.inputs}
            with patch.object(torchxla, "_operations", wraps=torchxla._operations) as operations:
                observation = target.run(case, inputs, stages.append)
            ((program,), _) = operations.call_args
            report[path.stem] = {
                "outputs": [plain(blocks) for blocks in observation.outputs],
                "operations": observation.operations,
                "constraints": program.count('custom_call_target="Sharding"'),
                "stages": stages,
            }
        except TargetFailure as failure:
            report[path.stem] = {"verdict": failure.verdict, "stage": failure.stage, "message": str(failure)}
        except MeshfuzzError as error:
            report[path.stem] = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
