# SPDX-License-Identifier: Apache-2.0
"""Thin access to PJRT clients through jaxlib: open, compile for a mesh, execute per device.

Only the parts of jaxlib that are the same in 0.7 and 0.10 are used, and JAX's own choice of backends is bypassed: a
client is a plugin by path, or XLA's CPU client with as many devices as wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import torch
from jax._src.interpreters import mlir as jax_mlir
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import NamedSharding, PartitionSpec
from jaxlib import _jax, xla_client
from jaxlib.mlir import ir

jax.config.update("jax_enable_x64", True)  # torch indices are int64

_NUMPY_BF16 = np.dtype(ml_dtypes.bfloat16)


def cpu_client(devices: int) -> Any:
    """XLA's CPU client with that many devices."""
    return xla_client.make_cpu_client(num_devices=devices)


def load_plugin(name: str, path: Path) -> None:
    """Only load it: a second time does nothing. Raises RuntimeError."""
    if not xla_client.pjrt_plugin_loaded(name):
        xla_client.load_pjrt_plugin_dynamically(name, str(path))


def plugin_client(name: str, path: Path) -> Any:
    """A client of the PJRT plugin at `path`. Raises RuntimeError (from jaxlib) if it cannot start."""
    load_plugin(name, path)
    xla_client.initialize_pjrt_plugin(name)
    return xla_client.make_c_api_client(name, {}, None)


def mlir_context() -> ir.Context:
    """A context that knows StableHLO, Shardy and the dialects JAX uses."""
    context = jax_mlir.make_ir_context()
    context.allow_unregistered_dialects = True  # ttcore.* attributes
    return context


def compile_module(
    client: Any, module: ir.Module, *, partitions: int, replicas: int, overrides: Mapping[str, str] | None = None
) -> Any:
    """Compile for partitions x replicas devices. Raises RuntimeError with the compiler's message."""
    options = xla_client.CompileOptions()
    options.num_partitions, options.num_replicas = partitions, replicas
    build = options.executable_build_options
    build.num_partitions, build.num_replicas = partitions, replicas
    build.use_spmd_partitioning = build.use_shardy_partitioner = partitions > 1
    count = partitions * replicas
    build.device_assignment = xla_client.DeviceAssignment.create(np.arange(count).reshape(replicas, partitions))
    options.env_option_overrides = list((overrides or {}).items())
    devices = _jax.DeviceList(tuple(client.devices()[:count]))
    return client.compile_and_load(jax_mlir.module_to_bytecode(module), devices, options)


def execute(client: Any, executable: Any, arguments: Sequence[Sequence[torch.Tensor]]) -> list[list[torch.Tensor]]:
    """Run on the first devices of the client. `arguments` and the result are per argument, per device: local values."""
    count = len(arguments[0]) if arguments else len(executable.local_devices())
    devices = client.devices()[:count]
    grid = DeviceMesh(np.array(devices), ("d",))
    results = executable.execute_sharded([_place(shards, devices, grid) for shards in arguments])
    return [
        [to_torch(np.asarray(shard)) for shard in per_device]
        for per_device in results.disassemble_into_single_device_arrays()
    ]


def _place(shards: Sequence[torch.Tensor], devices: Sequence[Any], grid: DeviceMesh) -> Any:
    # The array is declared as split along its first dim: with a replicated sharding only the first shard is copied.
    local = [to_numpy(shard) for shard in shards]
    shape, dtype = local[0].shape, local[0].dtype
    spec = PartitionSpec("d") if shape else PartitionSpec()
    declared = (len(devices) * shape[0], *shape[1:]) if shape else ()
    aval = jax.core.ShapedArray(declared, dtype)
    return _jax.batched_device_put(aval, NamedSharding(grid, spec), local, list(devices))


def to_numpy(tensor: torch.Tensor) -> Any:
    """A contiguous numpy copy; bf16 as ml_dtypes.bfloat16."""
    if tensor.dtype is torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(_NUMPY_BF16)
    return tensor.contiguous().numpy()


def to_torch(array: Any) -> torch.Tensor:
    """The tensor of a numpy array; unsigned 32-bit values (which torch hardly supports) as int64."""
    if array.dtype == _NUMPY_BF16:
        return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
    if array.dtype == np.uint32:
        return torch.from_numpy(array.astype(np.int64))
    return torch.from_numpy(np.array(array))
