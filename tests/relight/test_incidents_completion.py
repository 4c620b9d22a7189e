"""`relight completion`: the scripts, and what a shell completes with them without asking a server."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from relight.cli import main
from relight.commands.completion import SHELLS

RELIGHT = Path(sys.executable).parent / "relight"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_asks_relight_itself(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"_RELIGHT_COMPLETE={shell}_complete" in result.stdout
    assert result.stderr == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine: completion was NOT tried in it")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("relight inci", {"incidents"}),
        ("relight incidents s", {"search", "show", "stats"}),
        ("relight incidents list --format j", {"json", "jsonl"}),
        ("relight incidents list --sort c", {"confidence"}),
        ("relight incidents list --state m", {"merged"}),
        ("relight incidents list --severity e", {"error"}),
        ("relight incidents list --fault gpu.fallen", {"gpu.fallen_off_bus"}),
        ("relight incidents list --limit a", {"all"}),
        ("relight completion z", {"zsh"}),
    ],
)
def test_bash_completes_commands_and_values(typed: str, offered: set[str]) -> None:
    words = typed.split(" ")
    script = (
        'eval "$(relight completion bash)"\n'
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        f"_relight_completion relight {words[-1]} {words[-2]}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PATH": f"{RELIGHT.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, env=environment, timeout=30, check=True
    )
    assert (set(done.stdout.split()), done.stderr) == (offered, "")


def test_a_shell_that_is_unknown_is_a_mistake() -> None:
    assert CliRunner().invoke(main, ["completion", "csh"]).exit_code == 2
