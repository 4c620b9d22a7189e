"""What all tests share: the shipped catalogue, and how hypothesis looks.

The same examples in every run, so that a change is judged and not its luck; RELIGHT_HYPOTHESIS=thorough looks long
and elsewhere each time.
"""

import os
from collections.abc import Callable

import hyperscan
import pytest
from hypothesis import HealthCheck, settings

from diagnose.matching.database import Plan
from diagnose.matching.scanner import Scanner
from diagnose.rules import Catalogue
from relight.catalogue import automaton, catalogue, resolver
from schemas.signature import Signature

pytest_plugins = ["tests.servers.plugin"]

_PATIENT = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
settings.register_profile("quick", max_examples=100, deadline=None, suppress_health_check=_PATIENT, derandomize=True)
settings.register_profile("thorough", max_examples=3000, deadline=None, suppress_health_check=_PATIENT)
settings.load_profile(os.environ.get("RELIGHT_HYPOTHESIS", "quick"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs a Kubernetes last: its program may still be being built."""
    items.sort(key=lambda item: "kubernetes_process" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def known() -> Catalogue:
    """The shipped catalogue."""
    return catalogue()


@pytest.fixture(scope="session")
def compiled(known: Catalogue) -> tuple[Plan, hyperscan.Database]:
    """How the shipped catalogue is compiled, and its automaton."""
    return automaton(known)


@pytest.fixture(scope="session")
def scanner(compiled: tuple[Plan, hyperscan.Database]) -> Scanner:
    """The scanner of the shipped catalogue."""
    return Scanner(*compiled)


@pytest.fixture(scope="session")
def resolve(known: Catalogue) -> Callable[[str], Signature]:
    """From ids to signatures, codes of tables included."""
    return resolver(known)
