# SPDX-License-Identifier: Apache-2.0
"""The commands, one module per family. A command parses, calls the layer below, prints, and returns an exit code.

What needs torch is imported inside the commands, so that the command line starts fast.
"""
