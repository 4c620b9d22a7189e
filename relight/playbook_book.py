"""The playbooks in force, read from the files that are shipped and from one's own; and what is said of them."""

from collections.abc import Callable, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from diagnose.rules import files_under
from remediate import playbook_lint
from remediate.playbook_rules import PlaybookError, Written, in_force, read_playbooks
from schemas.playbook import Playbook


def shipped_files() -> list[Traversable]:
    """Return the playbook files that come with relight, by name."""
    folder = resources.files("remediate").joinpath("playbooks")
    return sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)


def written(own: Sequence[Path] = ()) -> list[Written]:
    """Return all playbooks with their places: those shipped, then one's own.

    Raises:
        PlaybookError: a file has a mistake.
        FileNotFoundError: a path holds no playbook files.
    """
    files = [*shipped_files(), *(file for path in own for file in files_under(path, PlaybookError.noun))]
    return [one for file in files for one in read_playbooks(str(file), file.read_bytes().decode("utf-8", "replace"))]


def playbooks(own: Sequence[Path] = ()) -> tuple[Playbook, ...]:
    """Return the playbooks in force: those shipped, overridden by one's own.

    Raises:
        PlaybookError: a file has a mistake, or one of one's own playbooks is not sound.
        FileNotFoundError: a path holds no playbook files.
    """
    every = written(own)
    known = in_force(every)
    if complaints := playbook_lint.check(_of(every, own), known):
        raise complaints[0]
    return tuple(one.playbook for one in known.values())


def listed(own: Sequence[Path], wanted: Callable[[str], bool]) -> str:
    """Return one line for each playbook that is for a wanted fault class: its id, its ladder, its title."""
    chosen = [p for p in playbooks(own) if any(map(wanted, p.fault_names))]
    rows = [(p.id, " > ".join(rung.action for rung in p.ladder), p.title) for p in chosen]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    lines = [f"{row[0].ljust(widths[0])}  {row[1].ljust(widths[1])}  {row[2]}" for row in rows]
    return "\n".join([*lines, f"{len(rows)} playbooks"])


def shown(own: Sequence[Path], name: str) -> str:
    """Return a playbook as YAML, as it could be written.

    Raises:
        KeyError: there is no such playbook; the message suggests near ones.
    """
    known = {playbook.id: playbook for playbook in playbooks(own)}
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, 3, 0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else "; `relight playbooks list` lists them"
        raise KeyError(f"there is no playbook {name}{hint}")
    fields = known[name].model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump({"playbooks": [fields]}, sort_keys=False, width=110, allow_unicode=True).rstrip()


def checked(files: Sequence[Path], own: Sequence[Path]) -> tuple[int, list[str], list[PlaybookError]]:
    """Check the playbooks of files, or of `own`, or else the shipped ones.

    Returns:
        How many were checked, what is wrong, and what is worth knowing.

    Raises:
        PlaybookError: a file cannot be read as playbooks at all.
        FileNotFoundError: a path holds no playbook files.
    """
    every = written((*own, *files))
    known = in_force(every)
    chosen = _of(every, files or own) or every
    complaints = [*map(str, playbook_lint.check(chosen, known))]
    complaints += playbook_lint.uncovered(one.playbook for one in known.values())
    return len(chosen), complaints, playbook_lint.notes(chosen)


def _of(every: Sequence[Written], own: Sequence[Path]) -> list[Written]:
    files = {str(file) for path in own for file in files_under(path, PlaybookError.noun)}
    return [one for one in every if one.file in files]
