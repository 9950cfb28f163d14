# SPDX-License-Identifier: Apache-2.0
"""torch_xla without the compilers of torch that it imports for ways in that are not used here.

`import torch_xla` brings in torch._dynamo, torch._inductor and sympy: for torch.compile, for torch.export and for a GRU
made of scans (torch_xla 2.9: `__init__.py`, `stablehlo.py`, `_patched_functions.py`). That is half of the CPU time that
a worker takes to start, and 160 MB of its memory. Lazy tracing, which is what a worker does, needs none of it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LEFT_OUT = ("torch._dynamo", "torch._dynamo.config", "torch_xla._patched_functions", "torch_xla.stablehlo")


class _Placeholder(ModuleType):
    """A module that has every name: a class that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name in LEFT_OUT else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def import_torch_xla() -> None:
    """Import it now, before anyone else does; as a whole if it cannot be without the rest."""
    if "torch_xla" in sys.modules or "torch._dynamo" in sys.modules:
        return
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        importlib.import_module("torch_xla")
    except (ImportError, AttributeError, TypeError):
        # Another version needs more of them: whoever imports it next gets all of it.
        for name in [name for name in sys.modules if name.partition(".")[0] == "torch_xla"]:
            del sys.modules[name]
    finally:
        sys.meta_path.remove(finder)
        # Whoever asks for them later gets the real ones.
        for name in LEFT_OUT:
            if isinstance(sys.modules.get(name), _Placeholder):
                parent, _, last = name.rpartition(".")
                vars(sys.modules.get(parent, finder)).pop(last, None)
                del sys.modules[name]
