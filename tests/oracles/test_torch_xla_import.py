# SPDX-License-Identifier: Apache-2.0
"""A worker starts without torch's compilers, and whoever wants them still gets them."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import sys
from oracles.targets.torch_xla_import import LEFT_OUT, import_torch_xla
import_torch_xla()
import torch, torch_xla
print(sorted(name for name in LEFT_OUT if name in sys.modules))
print(torch.arange(3, device=torch_xla.device()).add(1).tolist())
import torch._dynamo.config
import torch_xla.stablehlo
print(torch._dynamo.config.automatic_dynamic_shapes, torch_xla.stablehlo.__file__ is not None)
"""


WORKER = """
import sys
from fuzz import worker
from oracles.targets.torch_xla_import import LEFT_OUT
worker.serve = lambda service: print("torch_xla" in sys.modules, [name for name in LEFT_OUT if name in sys.modules])
worker.main()
"""


def test_a_worker_has_imported_nothing_of_it() -> None:
    """Its parts import torch_xla, too: whichever comes first decides."""
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True []"]


def test_what_is_left_out_is_not_loaded_and_comes_when_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PJRT_DEVICE": "CPU"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "[1, 2, 3]", "True True"]
