"""docker/ as its tests read it: the compose file and its services, and the programs that check what is there.

No container is started. What a check needs that is not on the machine (promtool, hadolint, the package compose-spec)
skips its test loudly, or fails it with RELIGHT_REQUIRE_SERVERS=1.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.missing import not_tested

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
PROMETHEUS = DOCKER / "prometheus"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

GIVEN = {"KIBANA_ENCRYPTION_KEY": "0123456789abcdef0123456789abcdef"}
"""What stands in for variables that have to be given; any other gets a word."""

each_service = pytest.mark.parametrize("name", SERVICES)


def run(program: str, package: str, *arguments: str | Path, cwd: Path = DOCKER) -> None:
    """Run a program that checks something; it has to be content."""
    found = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if found is None:
        not_tested(f"there is no `{program}` ({package})")
    done = subprocess.run([found, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<word>[^}]*))?\}|(?P<odd>.?))")


def interpolated(value: Any) -> Any:
    """Return what compose makes of a value: variables are put in, `$$` is a dollar sign."""
    if isinstance(value, dict):
        inside = {key: interpolated(inner) for key, inner in value.items()}
        return inside | {"scale": int(inside["scale"])} if "scale" in inside else inside
    if isinstance(value, list):
        return [interpolated(inner) for inner in value]
    return VARIABLE.sub(_put, value) if isinstance(value, str) else value


def _put(found: re.Match[str]) -> str:
    assert found["odd"] is None, f"{found[0]!r} in {found.string!r}: write ${{NAME}}, or $$ for a dollar sign"
    if found["dollar"]:
        return "$"
    return found["word"] if found["how"] == ":-" else GIVEN.get(found["name"], "word")


def variables(value: Any) -> set[str]:
    return {found["name"] for found in VARIABLE.finditer(json.dumps(value)) if found["name"]}


def own(service: Mapping[str, Any]) -> bool:
    return "build" in service


def ends_by_itself(service: Mapping[str, Any]) -> bool:
    return bool(service["restart"] == "no")


def config(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DOCKER / path).read_text("utf-8"))
    return content
