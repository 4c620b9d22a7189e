"""What a test says when something that it needs is not on the machine."""

import os
from typing import NoReturn

import pytest


def not_tested(reason: str) -> NoReturn:
    """Skip the test loudly, or fail it where servers are required: with RELIGHT_REQUIRE_SERVERS=1."""
    if os.environ.get("RELIGHT_REQUIRE_SERVERS") == "1":
        pytest.fail(f"RELIGHT_REQUIRE_SERVERS=1, but {reason}")
    pytest.skip(f"NOT TESTED: {reason}")
