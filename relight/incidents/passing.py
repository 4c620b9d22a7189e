"""Whether an incident that has changed is one that a query asks for: what a store tells of changes is not filtered."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from relight.stores.facets import facets
from relight.stores.port import Query
from schemas.document import IncidentDocument


def passes(document: IncidentDocument, query: Query) -> bool:
    """Tell whether an incident passes all that a query gives, but for its `text`."""
    known = facets(document)
    jobs = () if known.job is None else (known.job,)
    return (
        (query.since_ms is None or known.opened_ms >= query.since_ms)
        and (query.until_ms is None or known.opened_ms < query.until_ms)
        and _like((known.cluster,), query.clusters)
        and _like((known.fault,), query.faults)
        and _like(known.hosts, query.hosts)
        and _like(jobs, query.jobs)
        and (not query.states or document.history.state in query.states)
        and (query.severity is None or known.severity >= query.severity.rank)
    )


def _like(names: Sequence[str], patterns: Sequence[str]) -> bool:
    globs = [pattern.replace("[", "[[]") for pattern in patterns]
    return not globs or any(fnmatchcase(name, glob) for name in names for glob in globs)
