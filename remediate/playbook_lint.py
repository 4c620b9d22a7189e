"""The linter of playbooks: what reading cannot see, each check a function from a playbook to complaints."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import product
from typing import Final, NamedTuple

from remediate.conditions import fault_rank, others_given
from remediate.playbook_rules import PlaybookError, Written
from schemas.faults import fault_classes
from schemas.playbook import Playbook, Rung, When, human
from schemas.vocabulary import Culprit, Domain, Impact, Layer, RetryOutlook

LEAST_S: Final = 30
MOST_S: Final = 86_400
MOST_REPAIR_S: Final = 7 * 86_400
"""What people or a repair shop are waited for may take days."""
_ENDS: Final = ("notify", "none")
_REPAIRS: Final = ("notify", "replace_node")
_HOSTLESS: Final = (Culprit.FILE, Culprit.JOB)


class Case(NamedTuple):
    """What is known of an incident whatever its names and numbers."""

    impact: Impact
    retry_outlook: RetryOutlook
    domain: Domain


CASES: Final = tuple(Case(*case) for case in product(Impact, RetryOutlook, Domain))


def check(written: Iterable[Written], known: Mapping[str, Written]) -> list[PlaybookError]:
    """Return every complaint about the playbooks; `known` holds all that are in force, by id."""
    return [complaint for one in written for lint in _LINTS for complaint in lint(one, known)]


def notes(written: Iterable[Written]) -> list[PlaybookError]:
    """Return what is no mistake but worth knowing: ladders of which nothing is left where no job has suffered."""
    return [note for one in written for note in _needs_a_job(one)]


def uncovered(playbooks: Iterable[Playbook]) -> list[str]:
    """Return in words the fault classes for which no playbook is left in some case, in the order of their table."""
    every = [p for p in playbooks if not set(p.when.given) - set(Case._fields)]
    found = []
    for fault in fault_classes():
        mine = [p.when for p in every if fault_rank(p, fault) is not None]
        left = next((case for case in CASES if not any(admits(when, case) for when in mine)), None)
        if left is not None:
            told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in left._asdict().items())
            found.append(f"no playbook covers {fault} in the case of {told}")
    return found


def admits(when: When, case: Case) -> bool:
    """Tell whether conditions hold in a case, leaving aside those of names and numbers."""
    return all(not getattr(when, name) or value in getattr(when, name) for name, value in case._asdict().items())


def _ends_with_people(one: Written, known: Mapping[str, Written]) -> Iterator[PlaybookError]:
    ladder = one.playbook.ladder
    if ladder[-1].action not in _ENDS:
        yield one.error("the last rung must be `notify` or `none`: somebody has to know", len(ladder) - 1)
    for number, rung in enumerate(ladder[:-1]):
        if rung.action == "none":
            yield one.error("nothing comes after `none`", number + 1)


def _goes_on(one: Written, known: Mapping[str, Written]) -> Iterator[PlaybookError]:
    ladder = one.playbook.ladder
    for number, rung in enumerate(ladder):
        if rung.action == "none" or rung.patience_s is None:
            if number < len(ladder) - 1 and rung.action != "none":
                yield one.error(f"`{rung.action}` needs a `timeout`: when is the next rung due?", number)
            continue
        most_s = MOST_REPAIR_S if rung.action in _REPAIRS else MOST_S
        if not (LEAST_S <= rung.patience_s <= most_s):
            field = "seconds" if rung.action == "wait" else "timeout"
            what = f"`{field}` of {human(rung.patience_s)} is out of reason: {human(LEAST_S)} to {human(most_s)}"
            yield one.error(f"{what} for `{rung.action}`", number)


def _never_twice(one: Written, known: Mapping[str, Written]) -> Iterator[PlaybookError]:
    ladder = one.playbook.ladder
    for number in range(1, len(ladder)):
        if _does(ladder[number]) == _does(ladder[number - 1]):
            yield one.error("it does the same as the rung before it", number)


def _does(rung: Rung) -> object:
    return rung.action, rung.on, rung.literals


def _can_be_resolved(one: Written, known: Mapping[str, Written]) -> Iterator[PlaybookError]:
    """Find rungs whose target no diagnosis of these faults names. A signature may blame something else."""
    if one.playbook.when.signatures:
        return
    culprits = {fault_classes()[fault].culprit for fault in one.playbook.fault_names}
    for number, rung in enumerate(one.playbook.ladder):
        if (target := _lacking(rung, culprits)) is not None:
            yield one.error(f"`{rung.action}` can never be done: no {target} is blamed for these faults", number)


def _lacking(rung: Rung, culprits: set[Culprit]) -> str | None:
    required = {name for name, field in rung.facts.model.model_fields.items() if field.is_required()}
    if "gpu" in required and Culprit.GPU not in culprits:
        return "GPU"
    needs_host = "host" in required or ("hosts" in required and rung.on == "culprit")
    return "host" if needs_host and culprits <= set(_HOSTLESS) else None


def _is_reached(one: Written, known: Mapping[str, Written]) -> Iterator[PlaybookError]:
    """Find playbooks that never win: others apply wherever this one does, and are more specific."""
    mine = one.playbook
    rivals = [other.playbook for name, other in known.items() if name != mine.id]
    winners: set[str] = set()
    for fault in mine.fault_names:
        stronger = [other for other in rivals if _outranks(other, mine, fault) and _implied(other.when, mine.when)]
        for case in CASES:
            if admits(mine.when, case):
                first = next((other.id for other in stronger if admits(other.when, case)), None)
                if first is None:
                    return
                winners.add(first)
    yield one.error(f"it never applies: {', '.join(sorted(winners))} always comes first")


def _outranks(other: Playbook, mine: Playbook, fault: str) -> bool:
    """Tell whether another playbook is surely more specific, whatever the incident."""
    rank, own = fault_rank(other, fault), fault_rank(mine, fault)
    if rank is None or own is None:
        return False
    theirs, ours = (
        (len(w.given) - others_given(w), r, others_given(w)) for w, r in ((other.when, rank), (mine.when, own))
    )
    return theirs > ours or (
        theirs == ours and _names_and_numbers(other) == _names_and_numbers(mine) and other.id < mine.id
    )


def _names_and_numbers(playbook: Playbook) -> object:
    when = playbook.when
    return when.hosts, when.jobs, when.signatures, when.confidence, when.recurrence


def _implied(theirs: When, mine: When) -> bool:
    """Tell whether one playbook's conditions of names and numbers hold wherever those of the other do."""
    if (theirs.confidence or 0) > (mine.confidence or 0):
        return False
    if theirs.recurrence is not None:
        own = mine.recurrence
        if own is None or own.at_least < theirs.recurrence.at_least or own.within_s > theirs.recurrence.within_s:
            return False
    pairs = ((theirs.hosts, mine.hosts), (theirs.jobs, mine.jobs), (theirs.signatures, mine.signatures))
    return all(not wider or (narrower and _covers(wider, narrower)) for wider, narrower in pairs)


def _covers(wider: Iterable[str], narrower: Iterable[str]) -> bool:
    return all(any(fnmatchcase(pattern, other) for other in wider) for pattern in narrower)


def _needs_a_job(one: Written) -> Iterator[PlaybookError]:
    layers = {fault_classes()[fault].layer for fault in one.playbook.fault_names}
    if not layers & {Layer.HARDWARE, Layer.DRIVER}:
        return
    doing = [rung for rung in one.playbook.ladder if rung.action not in (*_ENDS, "wait")]
    if doing and not one.playbook.when.jobs and all(_is_for_a_job(rung) for rung in doing):
        yield one.error("where no job has suffered nothing of the ladder is left but `notify`")


def _is_for_a_job(rung: Rung) -> bool:
    field = rung.facts.model.model_fields.get("job")
    return field is not None and field.is_required()


_Lint = Callable[[Written, Mapping[str, Written]], Iterator[PlaybookError]]
_LINTS: Final[tuple[_Lint, ...]] = (_ends_with_people, _goes_on, _never_twice, _can_be_resolved, _is_reached)
