# SPDX-License-Identifier: Apache-2.0
"""No test is timed: machines are shared, and a slow moment says nothing about the code."""

from hypothesis import HealthCheck, settings

settings.register_profile("untimed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
