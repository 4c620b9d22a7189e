"""docs/playbooks.md against the code: its actions, its fields, and its example."""

from pathlib import Path

import pytest

from remediate.playbook_lint import check
from remediate.playbook_rules import in_force, read_playbooks
from schemas.action import ACTIONS
from schemas.playbook import Playbook, Rung, When

TEXT = (Path(__file__).parents[2] / "docs/playbooks.md").read_text(encoding="utf-8")
LITERALS = ("checkpoints", "batches", "seconds", "channel")


def row(action: str) -> str:
    """Return the row of an action in the table, as the code has it."""
    facts = ACTIONS[action]
    parameters = [name for name in facts.model.model_fields if name != "kind"]
    targets = ", ".join(name for name in parameters if name not in LITERALS)
    literals = ", ".join(f"`{name}`" for name in parameters if name in LITERALS)
    flags = ("yes" if flag else "no" for flag in (facts.destructive, facts.takes_out, facts.restarts))
    return "".join(f"| {cell} " if cell else "| " for cell in (f"`{action}`", targets, literals, *flags)) + "|"


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_in_the_table_with_what_is_true_of_it(action: str) -> None:
    assert row(action) in TEXT.splitlines()


def test_the_table_of_actions_has_no_others_and_keeps_their_order() -> None:
    table = TEXT.partition("## Actions")[2].partition("## Which")[0]
    listed = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert listed == list(ACTIONS)


@pytest.mark.parametrize("model", [Playbook, When, Rung])
def test_every_field_is_documented(model: type[Playbook | When | Rung]) -> None:
    names = [field.alias or name for name, field in model.model_fields.items()]
    assert [name for name in names if f"`{name}`" not in TEXT] == []


def test_the_example_is_sound() -> None:
    example = TEXT.partition("```yaml\n")[2].partition("```")[0]
    written = read_playbooks("docs/playbooks.md", example)
    assert check(written, in_force(written)) == []
    assert len(written) == 1
