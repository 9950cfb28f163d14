# SPDX-License-Identifier: Apache-2.0
"""Which implementation to test, as plain data. Importable everywhere: it pulls in no compiler."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fuzz.case import Mesh, MeshfuzzError
from fuzz.document import DocumentError, joined, shown
from fuzz.plain import read

KINDS = ("cpu", "torchxla", "tt", "plugin")


class TargetUnavailable(MeshfuzzError):
    """The target cannot start here. The message says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """One target on one topology; a worker process serves exactly one of these."""

    kind: str  # one of KINDS
    topology: Mesh = Mesh((2, 2), ("x", "y"))  # the devices there are; cases use meshes that fit
    plugin: str | None = None  # path of a PJRT plugin's shared object
    mock: bool = True  # tt only: compile for a mock mesh instead of executing on chips
    verbose: bool = False  # tt only: the compiler prints its module around every pass
    inject: str = ""  # tt with mock only: the fault of oracles.faults that is planted into every compile

    @classmethod
    def parse(cls, text: str, topology: Mesh, plugin: str | None = None, mock: bool = True) -> TargetConfig:
        """`cpu`, `torchxla`, `tt` or `plugin:PATH`. Raises TargetUnavailable for anything else."""
        kind, _, path = text.partition(":")
        if kind not in KINDS or bool(path) != (kind == "plugin"):
            raise TargetUnavailable(f"unknown target {text!r}: use cpu, torchxla, tt or plugin:PATH")
        return cls(kind, topology, path or plugin, mock and kind == "tt")

    def serves(self, mesh: Mesh) -> bool:
        """Whether cases on that mesh can run; torch_xla always uses every device of its process."""
        return mesh.size == self.topology.size if self.kind == "torchxla" else mesh.size <= self.topology.size

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, data: object, place: str = "") -> TargetConfig:
        """Raises DocumentError."""
        config = read(cls, data, place)
        if config.kind not in KINDS:
            raise DocumentError(f"unknown kind {shown(config.kind)}: use {', '.join(KINDS)}", joined(place, "kind"))
        return config

    def __str__(self) -> str:
        name = f"plugin:{self.plugin}" if self.kind == "plugin" else self.kind
        planted = f" --inject {self.inject}" if self.inject else ""
        return (f"{name} --mock {self.topology}" if self.mock else f"{name} {self.topology}") + planted
