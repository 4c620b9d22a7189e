"""`relight setup elasticsearch`: puts templates and indices in place, and says where those there are not as wanted.

What is there is changed only where that is asked for. Retention is left to the lifecycle of a cluster that has it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import elasticsearch
import yaml
from elasticsearch import Elasticsearch

from relight.settings import models
from relight.setup import Outcome
from relight.stores.elastic_client import check_product, translated
from relight.stores.elastic_differences import differences, fits, flat
from relight.stores.port import StoreRefused

PRIORITY: Final = 250
_MISSING: Final = 404
_REBUILD: Final = "delete the index, set up again, and run `relight replay --into store`"
_Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """What relight's own are called in Elasticsearch."""

    prefix: str

    def logs(self, day: str) -> str:
        """Return the index of a day, `*` for all."""
        return f"{self.prefix}-logs-{day}"

    @property
    def incidents(self) -> str:
        """Return the alias of incidents."""
        return f"{self.prefix}-incidents"

    @property
    def timeline(self) -> str:
        """Return the alias of the moments of incidents."""
        return f"{self.prefix}-timeline"

    @property
    def aliases(self) -> tuple[str, ...]:
        """Return all aliases."""
        return self.incidents, self.timeline

    @property
    def all(self) -> str:
        """Return the pattern of all indices."""
        return ",".join((self.logs("*"), f"{self.incidents}-*", f"{self.timeline}-*"))


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that has to be there: a component template, an index template, a lifecycle policy."""

    kind: str
    name: str
    body: _Body


@cache
def layout() -> Mapping[str, Any]:
    """Return what `templates/elasticsearch.yaml` says."""
    text = resources.files("relight.stores").joinpath("templates/elasticsearch.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.safe_load(text)
    return found


def setup(
    client: Elasticsearch,
    place: str,
    settings: models.Elasticsearch,
    lines_days: int,
    *,
    apply: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Put in place what is missing; with `apply` change what differs. A dry run only tells. Raises: StoreError."""
    version = check_product(client, place)
    with translated(client, place):
        _check_names(client, settings.prefix)
        lifecycle = _has_lifecycle(client)
        pieces = list(wanted(settings, lines_days if lifecycle else None))
        lines = [f"{place}: version {version}"]
        as_wanted = True
        for piece in pieces:
            said, well = _put(client, piece, apply=apply, dry_run=dry_run)
            lines += said
            as_wanted = as_wanted and well
        said, well = _indices(client, settings, apply=apply, dry_run=dry_run)
    lines += said
    if not lifecycle:
        lines.append(
            f"this cluster has no index lifecycle management: log lines are kept until you delete their daily indices,"
            f" {Names(settings.prefix).logs('*')}"
        )
    if as_wanted and well and len(lines) == 1 + (not lifecycle):
        lines.insert(1, "templates and indices are as wanted")
    return Outcome(tuple(lines), as_wanted and well)


def wanted(settings: models.Elasticsearch, lines_days: int | None) -> Iterator[Piece]:
    """Yield what has to be there, in the order in which it can be made; `lines_days` with a lifecycle only."""
    prefix = settings.prefix
    if lines_days is not None:
        delete = {"min_age": f"{lines_days}d", "actions": {"delete": {}}}
        yield Piece("lifecycle policy", f"{prefix}-logs", {"policy": {"phases": {"delete": delete}}})
    for name, body in layout()["components"].items():
        own: _Body = {"mappings": body["mappings"]}
        index = dict(body.get("settings", {}).get("index", {}))
        if name == "logs":
            index["number_of_shards"] = settings.shards
            if lines_days is not None:
                index["lifecycle"] = {"name": f"{prefix}-logs"}
        if name != "ecs":
            index["number_of_replicas"] = settings.replicas
            own["settings"] = {"index": index}
        yield Piece("component template", f"{prefix}-{name}", {"template": own})
    for name, told in layout()["indices"].items():
        template: _Body = {"aliases": {f"{prefix}-{told['alias']}": {}}} if "alias" in told else {}
        yield Piece(
            "index template",
            f"{prefix}-{name}",
            {
                "index_patterns": [f"{prefix}-{pattern}" for pattern in told["patterns"]],
                "composed_of": [f"{prefix}-ecs", f"{prefix}-{name}"],
                "priority": PRIORITY,
                "template": template,
                "_meta": {"managed_by": "relight"},
            },
        )


def make_indices(client: Elasticsearch, prefix: str) -> list[str]:
    """Make the indices that have aliases where they are missing, and return their names."""
    missing = _missing_indices(client, prefix)
    for index, alias in missing:
        if client.indices.exists(index=index):
            client.indices.put_alias(index=index, name=alias)
        else:
            client.indices.create(index=index)
    return [index for index, _ in missing]


def _missing_indices(client: Elasticsearch, prefix: str) -> list[tuple[str, str]]:
    """Return the indices whose aliases are missing, with these."""
    told = [kind for kind in layout()["indices"].values() if "alias" in kind]
    pairs = [(f"{prefix}-{kind['index']}", f"{prefix}-{kind['alias']}") for kind in told]
    return [pair for pair in pairs if not client.indices.exists_alias(name=pair[1])]


def _check_names(client: Elasticsearch, prefix: str) -> None:
    """Make sure that no index is called as an alias has to be: with it not even a template can be made."""
    for index, alias in _missing_indices(client, prefix):
        if client.indices.exists(index=alias):
            raise StoreRefused(
                f"{alias} is an index, and has to be an alias of {index}: something wrote to it before it was set up."
                " Delete it, and set up again"
            )


def _put(client: Elasticsearch, piece: Piece, *, apply: bool, dry_run: bool) -> tuple[list[str], bool]:
    """Put a piece in place where it is missing, or may be changed. Return what to say, and whether it is as wanted."""
    there = _there(client, piece)
    what = f"{piece.kind} {piece.name}"
    if there is None:
        if not dry_run:
            _make(client, piece)
        return [f"{what}: {'would be created' if dry_run else 'created'}"], not dry_run
    found = list(differences(flat(there), flat(piece.body)))
    if not found:
        return [], True
    if apply and not dry_run:
        _make(client, piece)
    return [f"{what}: {difference}: {_fate(apply, dry_run)}" for difference in found], apply and not dry_run


def _fate(apply: bool, dry_run: bool) -> str:
    """Return what becomes of what differs and can be changed."""
    if apply:
        return "would be changed" if dry_run else "changed"
    return "left as it is; --apply changes it"


def _indices(
    client: Elasticsearch, settings: models.Elasticsearch, *, apply: bool, dry_run: bool
) -> tuple[list[str], bool]:
    """Make the indices with aliases; with `apply` let those that are there become what is wanted."""
    prefix = settings.prefix
    if dry_run:
        lines = [f"index {index}: would be created" for index, _ in _missing_indices(client, prefix)]
    else:
        lines = [f"index {index}: created" for index in make_indices(client, prefix)]
    well = not (dry_run and lines)
    for name in layout()["indices"]:
        there = client.indices.get(index=f"{prefix}-{name}-*", allow_no_indices=True)
        parts = [layout()["components"][part]["mappings"] for part in ("ecs", name)]
        for index in sorted(there):
            for said, good in (
                _grow(client, index, there[index]["mappings"], parts, apply=apply, dry_run=dry_run),
                _copy(client, index, there[index]["settings"], settings.replicas, apply=apply, dry_run=dry_run),
            ):
                lines += said
                well = well and good
    return lines, well


def _grow(
    client: Elasticsearch, index: str, there: _Body, parts: Sequence[_Body], *, apply: bool, dry_run: bool
) -> tuple[list[str], bool]:
    """Let the mapping of an index grow to what its template has by now, where that can be done and is asked for."""
    has, wanted_ = flat(there), dict(item for part in parts for item in flat(part).items())
    found = [f"index {index}: its mapping has {difference}" for difference in differences(has, wanted_)]
    possible = fits(has, wanted_)
    if not found or (possible and not (apply and not dry_run)):
        return [f"{line}: {_fate(apply, dry_run)}" for line in found], not found
    if possible:
        try:
            for part in parts:
                client.indices.put_mapping(index=index, **part)
        except elasticsearch.BadRequestError:
            possible = False
    fate = "changed" if possible else f"that cannot be changed: {_REBUILD}"
    return [f"{line}: {fate}" for line in found], possible


def _copy(
    client: Elasticsearch, index: str, there: _Body, replicas: int, *, apply: bool, dry_run: bool
) -> tuple[list[str], bool]:
    """Let an index have as many copies as new ones get, where that is asked for."""
    found = list(differences(flat(there), {"index.number_of_replicas": str(replicas)}))
    if found and apply and not dry_run:
        client.indices.put_settings(index=index, settings={"number_of_replicas": replicas})
    return [f"index {index}: {line}: {_fate(apply, dry_run)}" for line in found], not found or (apply and not dry_run)


def _there(client: Elasticsearch, piece: Piece) -> _Body | None:
    try:
        if piece.kind == "component template":
            answer = client.cluster.get_component_template(name=piece.name)
            return dict(answer["component_templates"][0]["component_template"])
        if piece.kind == "index template":
            answer = client.indices.get_index_template(name=piece.name)
            return dict(answer["index_templates"][0]["index_template"])
        return dict(client.ilm.get_lifecycle(name=piece.name)[piece.name])
    except elasticsearch.NotFoundError:
        return None


def _make(client: Elasticsearch, piece: Piece) -> None:
    if piece.kind == "component template":
        client.cluster.put_component_template(name=piece.name, **piece.body)
    elif piece.kind == "index template":
        body = {("meta" if key == "_meta" else key): value for key, value in piece.body.items()}
        client.indices.put_index_template(name=piece.name, **body)
    else:
        client.ilm.put_lifecycle(name=piece.name, **piece.body)


def _has_lifecycle(client: Elasticsearch) -> bool:
    """Tell whether the cluster has index lifecycle management."""
    try:
        client.ilm.get_status()
    except elasticsearch.ApiError as error:
        if error.status_code in (400, _MISSING, 405, 410):
            return False
        raise
    return True
