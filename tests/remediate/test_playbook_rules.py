"""Playbooks as YAML: what is wrong is said with file, line, playbook and field; and the linter sees the rest."""

from typing import Any

import pytest
import yaml

from remediate import playbook_lint
from remediate.playbook_rules import PlaybookError, Written, in_force, read_playbooks
from schemas.playbook import Aim, Playbook, human
from tests.remediate.stories import notify, playbook, rung

OWN = """\
playbooks:
  - id: own.one
    title: One of my own
    faults: [gpu.*, comm.dns]
    when:
      impact: failed
      recurrence: {at_least: 2, within: 1d}
    ladder:
      - action: collect_diagnostics
        on: scope
        timeout: 10m
        why: They are wanted later.
      - action: restart_job
        timeout: 90m
        why: It is worth a try.
      - action: notify
        channel: storage
        why: Somebody should know.
"""


def changed(old: str, new: str) -> str:
    assert old in OWN
    return OWN.replace(old, new, 1)


def error(text: str) -> str:
    with pytest.raises(PlaybookError) as caught:
        read_playbooks("own.yaml", text)
    return str(caught.value)


def written(*playbooks: Playbook) -> list[Written]:
    """Return playbooks as if each were written at a line of its own, the rungs at the lines behind it."""
    return [
        Written(one, "own.yaml", 10 * n, tuple(range(10 * n + 1, 10 * n + 1 + len(one.ladder))))
        for n, one in enumerate(playbooks, 1)
    ]


def complaints(*playbooks: Playbook) -> list[str]:
    every = written(*playbooks)
    return [str(one) for one in playbook_lint.check(every, in_force(every))]


def laddered(*rungs: dict[str, Any], faults: object = "gpu.fallen_off_bus", **more: Any) -> Playbook:
    return playbook("own.one", faults, ladder=list(rungs), **more)


# Reading


def test_a_playbook_is_read_with_the_lines_of_itself_and_of_its_rungs() -> None:
    (one,) = read_playbooks("own.yaml", OWN)
    assert (one.playbook.id, one.line, one.rung_lines) == ("own.one", 2, (9, 13, 16))
    first, second, last = one.playbook.ladder
    assert first.on is Aim.SCOPE
    assert (first.timeout_s, second.timeout_s, last.timeout_s) == (600, 5400, None)
    assert last.literals == {"channel": "storage"}
    assert one.playbook.when.impact == ("failed",)
    assert one.playbook.fault_names[-1] == "comm.dns"


def test_what_is_written_again_from_its_model_is_the_same_playbook() -> None:
    (one,) = read_playbooks("own.yaml", OWN)
    fields = one.playbook.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    (again,) = read_playbooks("own.yaml", yaml.safe_dump({"playbooks": [fields]}))
    assert again.playbook == one.playbook


def test_a_later_playbook_replaces_an_earlier_one_of_the_same_id() -> None:
    first, second = playbook("a"), playbook("a", "comm.dns")
    assert in_force(written(first, playbook("b"), second))["a"].playbook == second


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (changed("[gpu.*, comm.dns]", "gpu.melted"), 4, "field `faults.1`: 'gpu.melted' stands for no"),
        (changed("    title: One of my own\n", ""), 2, "field `title`: it is missing"),
        (changed("impact: failed", "impact: broken"), 6, "field `when.impact.1`: "),
        (changed("impact: failed", "impacts: failed"), 6, "field `when.impacts`: there is no such field"),
        (changed("at_least: 2", "at_least: 1"), 7, "field `when.recurrence.at_least`: "),
        (changed("within: 1d", "within: 1"), 7, "field `when.recurrence.within`: 1 is no duration"),
        (changed("timeout: 90m", "timeout: soon"), 14, "field `ladder.2.timeout`: 'soon' is no duration"),
        (changed("restart_job", "restart_jobs"), 13, "field `ladder.2.action`: 'restart_jobs' is no action"),
        (changed("channel: storage", "path: /tmp"), 17, "field `ladder.3.path`: there is no such field"),
        (changed("channel: storage", "batches: 7"), 16, "field `ladder.3`: `notify` has no parameter `batches`"),
        (changed("timeout: 90m", "on: scope"), 13, "field `ladder.2`: `restart_job` is not done to several"),
        (changed("why: Somebody should know.", "confidence: 7"), 18, "field `ladder.3.confidence`: "),
        (OWN + OWN.partition("\n")[2], 19, "the id is taken already by the playbook at line 2"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_playbook_field_and_what_is_wrong(text: str, line: int, said: str) -> None:
    assert error(text).startswith(f"own.yaml:{line}: playbook own.one: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed("    title", "    id: own.two\n    title"), "3: `id` stands there twice"),
        ("playbooks:\n- id: 'open\n", "3: not YAML: "),
        ("playbooks:\n- just words\n", "2: a playbook is a mapping with "),
        ("playbooks: 7\n", "1: a playbook file is a mapping with a list `playbooks:`"),
        ("- a\n", "1: a playbook file is a mapping with a list `playbooks:`"),
        ("", "1: a playbook file is a mapping with a list `playbooks:`"),
        ("playbooks: []\nlayer: x\n", "1: unknown key `layer`"),
        ("a: \x00", "1: not YAML: "),
        ("[" * 5000 + "]" * 5000, "1: "),  # nested too deep, or no mapping: it depends on how deep the caller is
        (f"playbooks: {'9' * 5000}", "1: not YAML that can be used: "),
        ("playbooks: &a [*a]", "1: a playbook is a mapping with "),
    ],
)
def test_what_is_no_playbook_file_is_an_error_with_a_line(text: str, said: str) -> None:
    assert error(text).startswith(f"own.yaml:{said}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"action": "wait"}, "`seconds` of `wait`: Field required"),
        ({"action": "wait", "seconds": 0}, "`seconds` of `wait`: Input should be greater than or equal to 1"),
        ({"action": "wait", "seconds": 60, "timeout": "1m"}, "leave `timeout` out"),
        ({"action": "rollback_checkpoint", "checkpoints": 0}, "`checkpoints` of `rollback_checkpoint`: "),
        ({"action": "skip_data", "batches": 10**9}, "`batches` of `skip_data`: "),
        ({"action": "notify", "channel": ""}, "`channel` of `notify`: "),
        ({"action": "notify", "why": "so"}, "String should have at least 8 characters"),
    ],
)
def test_a_parameter_that_its_action_does_not_take_is_an_error(change: dict[str, Any], said: str) -> None:
    one = {"id": "a", "title": "The one", "faults": "*", "ladder": [rung(**change)]}
    assert said in error(yaml.safe_dump({"playbooks": [one]}))


@pytest.mark.parametrize(("seconds", "text"), [(90, "90s"), (900, "15m"), (5400, "90m"), (7200, "2h"), (604_800, "7d")])
def test_durations_are_written_as_people_write_them(seconds: int, text: str) -> None:
    assert human(seconds) == text
    assert laddered(notify(timeout=text)).ladder[0].timeout_s == seconds


@pytest.mark.parametrize(
    ("action", "approval", "needed"),
    [
        ("reboot_node", "auto", True),
        ("reboot_node", "never", False),
        ("restart_job", "auto", False),
        ("restart_job", "always", True),
    ],
)
def test_a_person_is_asked_where_it_may_be_destructive_unless_the_playbook_says_otherwise(
    action: str, approval: str, needed: bool
) -> None:
    assert laddered(rung(action, approval=approval)).ladder[0].needs_approval is needed


# The linter


@pytest.mark.parametrize(
    ("one", "line", "said"),
    [
        (laddered(rung("restart_job", timeout="5m")), 11, "the last rung must be `notify` or `none`"),
        (laddered(rung("none"), notify()), 12, "nothing comes after `none`"),
        (laddered(rung("restart_job"), notify()), 11, "`restart_job` needs a `timeout`"),
        (laddered(notify(), notify(channel="x")), 11, "`notify` needs a `timeout`"),
        (laddered(rung("restart_job", timeout="5s"), notify()), 11, "`timeout` of 5s is out of reason"),
        (laddered(rung("restart_job", timeout="2d"), notify()), 11, "`timeout` of 2d is out of reason"),
        (laddered(rung("replace_node", timeout="9d"), notify()), 11, "`timeout` of 9d is out of reason"),
        (laddered(rung("wait", seconds=3), notify()), 11, "`seconds` of 3s is out of reason"),
        (
            laddered(rung("restart_job", timeout="5m"), rung("restart_job", timeout="6m"), notify()),
            12, "it does the same as the rung before it",
        ),
        (
            laddered(rung("reset_gpu", timeout="5m"), notify(), faults="storage.disk_full"),
            11, "`reset_gpu` can never be done: no GPU is blamed",
        ),
        (
            laddered(rung("reboot_node", timeout="5m"), notify(), faults=["software.config", "training.loss_nan"]),
            11, "`reboot_node` can never be done: no host is blamed",
        ),
        (
            laddered(rung("restart_job_excluding_hosts", timeout="5m"), notify(), faults="software.config"),
            11, "`restart_job_excluding_hosts` can never be done: no host is blamed",
        ),
    ],
)  # fmt: skip
def test_the_linter_names_the_rung_and_what_is_wrong_with_it(one: Playbook, line: int, said: str) -> None:
    (found,) = complaints(one)
    assert found.startswith(f"own.yaml:{line}: playbook own.one: {said}")


@pytest.mark.parametrize(
    "one",
    [
        laddered(notify()),
        laddered(rung("none")),
        laddered(rung("replace_node", timeout="2d"), notify()),
        laddered(*(rung("rollback_checkpoint", checkpoints=n, timeout="5m") for n in (1, 2)), notify()),
        laddered(rung("reset_gpu", timeout="5m"), notify(), faults="storage.disk_full", when={"signatures": "own.*"}),
        laddered(rung("restart_job_excluding_hosts", on="scope", timeout="5m"), notify(), faults="software.config"),
    ],
)  # fmt: skip
def test_what_is_sound_is_not_complained_of(one: Playbook) -> None:
    assert complaints(one) == []


def test_a_playbook_that_another_always_comes_before_is_named_with_that_one() -> None:
    found = complaints(playbook("a", "gpu.f*"), playbook("b"))
    assert found == ["own.yaml:10: playbook a: it never applies: b always comes first"]


def test_several_playbooks_can_leave_nothing_to_another() -> None:
    first = playbook("b", when={"impact": ["failed", "degraded"]})
    assert complaints(playbook("a"), first) == []
    found = complaints(playbook("a"), first, playbook("c", when={"impact": "none"}))
    assert found == ["own.yaml:10: playbook a: it never applies: b, c always comes first"]


def test_two_playbooks_for_the_same_leave_nothing_to_the_second_of_the_alphabet() -> None:
    assert complaints(playbook("b"), playbook("a")) == [
        "own.yaml:10: playbook b: it never applies: a always comes first"
    ]


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ({}, {"confidence": 0.5}),
        ({}, {"hosts": "lab*"}),
        ({"hosts": "*"}, {"hosts": "lab*", "impact": "failed"}),
        ({"hosts": "lab*"}, {"hosts": "*"}),
        ({"jobs": "a*"}, {"jobs": "b*", "impact": ["failed", "degraded", "none"]}),
        ({"confidence": 0.5}, {"confidence": 0.6, "impact": ["failed", "degraded", "none"]}),
        ({"impact": "failed"}, {"impact": "failed", "recurrence": {"at_least": 2, "within": "1d"}}),
        (
            {"recurrence": {"at_least": 2, "within": "1d"}},
            {"recurrence": {"at_least": 3, "within": "1d"}, "impact": ["failed", "degraded", "none"]},
        ),
        ({}, {"signatures": "nvrm.*"}),
    ],
)
def test_a_playbook_that_another_comes_before_only_sometimes_is_reached(mine: Any, theirs: Any) -> None:
    assert complaints(playbook("b", when=mine), playbook("a", when=theirs)) == []


def test_a_ladder_of_which_nothing_is_left_without_a_job_is_only_a_note() -> None:
    one = laddered(rung("restart_job", timeout="5m"), notify())
    assert complaints(one) == []
    (note,) = playbook_lint.notes(written(one))
    assert str(note) == (
        "own.yaml:10: playbook own.one: where no job has suffered nothing of the ladder is left but `notify`"
    )
    with_more = laddered(rung("restart_job", timeout="5m"), rung("reboot_node", timeout="5m"), notify())
    of_a_program = laddered(rung("restart_job", timeout="5m"), notify(), faults="comm.dns")
    assert playbook_lint.notes(written(with_more, of_a_program)) == []


def test_a_fault_class_that_is_not_covered_in_every_case_is_named_with_one() -> None:
    found = playbook_lint.uncovered([playbook("a", ["[!g]*", "g*.[!f]*"]), playbook("b", when={"impact": "failed"})])
    assert found == [
        "no playbook covers gpu.fallen_off_bus in the case of impact degraded, retry outlook may_recover, "
        "domain infrastructure"
    ]
    assert playbook_lint.uncovered([playbook("a", "*")]) == []
    assert playbook_lint.uncovered([playbook("a", "*", when={"hosts": "*"})])
