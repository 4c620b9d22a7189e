"""Benign lines: what healthy runs and machines print though it reads like a fault. No signature may accept one.

They stand in `diagnose/catalogue/benign/*.txt`, a file for each family of programs; lines that begin with `# ` tell
where the format of the lines below comes from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class BenignLine:
    """A line as a program prints it, and the place that it was written at."""

    text: str
    file: str
    line: int

    @property
    def place(self) -> str:
        """Return the place as `benign/nccl.txt:12`."""
        return f"benign/{self.file}:{self.line}"


def benign_lines() -> Iterator[BenignLine]:
    """Yield every benign line, families by name."""
    folder = resources.files("diagnose").joinpath("catalogue/benign")
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".txt")), key=lambda f: f.name):
        for number, text in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
            if text and not text.startswith("# "):
                yield BenignLine(text, file.name, number)
