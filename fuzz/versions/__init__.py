# SPDX-License-Identifier: Apache-2.0
"""The same cases on several versions of a plugin: what each says, and which version changed it."""
