"""The templates of what programs say, from the package's data."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

_SCRIPTS: Final = {"megatron": "pretrain_gpt.py", "hf": "run_clm.py"}


@cache
def loaded(name: str) -> Any:
    """Return what a data file holds."""
    text = resources.files("relight.sim").joinpath(f"data/{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def message(name: str, **words: Any) -> str:
    """Return what NCCL, c10d or torchrun say, by the name of the message."""
    template: str = loaded("messages")[name]
    return template.format(**words)


def frameworks() -> Mapping[str, Any]:
    """Return the templates of what training programs print."""
    found: Mapping[str, Any] = loaded("frameworks")
    return found


def script(framework: str) -> str:
    """Return the name of the script that a framework's users start."""
    return _SCRIPTS.get(framework, "train.py")
