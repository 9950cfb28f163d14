# SPDX-License-Identifier: Apache-2.0
"""Starts the TT plugin on a mock cluster and keeps a copy of the system descriptor it writes.

    python preparation.py PLUGIN.so COPY

A script of its own that `environment` runs: the mock device takes over the process that opens it. Imports nothing of
ours, so that it runs from any folder.
"""

import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from jaxlib import xla_client


def main(plugin: str, copy: str) -> None:
    """The descriptor vanishes when the client does: it is copied while the client lives."""
    xla_client.load_pjrt_plugin_dynamically("tt", plugin)
    xla_client.initialize_pjrt_plugin("tt")
    client = xla_client.make_c_api_client("tt", {}, None)
    shutil.copyfile(Path(tempfile.gettempdir(), "tt_pjrt_system_descriptor"), copy)
    del client


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (RuntimeError, OSError) as error:
        traceback.print_exc()
        sys.exit(str(error).splitlines()[0])
