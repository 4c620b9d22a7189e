"""Settings of all tests: how long hypothesis looks for a counterexample. RELIGHT_HYPOTHESIS=thorough: long."""

import os

from hypothesis import HealthCheck, settings

_PATIENT = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
settings.register_profile("quick", max_examples=100, deadline=None, suppress_health_check=_PATIENT)
settings.register_profile("thorough", max_examples=3000, deadline=None, suppress_health_check=_PATIENT)
settings.load_profile(os.environ.get("RELIGHT_HYPOTHESIS", "quick"))
