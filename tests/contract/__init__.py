"""The contracts of the ports: one suite each, which every adapter's test file subclasses."""

import pytest

pytest.register_assert_rewrite(
    "tests.contract.groups_contract", "tests.contract.records_contract", "tests.contract.following"
)
