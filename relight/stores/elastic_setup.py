"""`relight setup elasticsearch`: puts templates and indices in place, and says where those there are not as wanted.

What is there is changed only where that is asked for. Retention is left to the lifecycle of a cluster that has it.
"""

from collections.abc import Iterator, Mapping
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

PRIORITY: Final = 250
_MISSING: Final = 404
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
    def templates(self) -> tuple[str, ...]:
        """Return all index templates."""
        return tuple(f"{self.prefix}-{name}" for name in layout()["indices"])

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
        lifecycle = _has_lifecycle(client)
        pieces = list(wanted(settings, lines_days if lifecycle else None))
        lines = [f"{place}: version {version}"]
        as_wanted = True
        for piece in pieces:
            said, well = _put(client, piece, apply=apply, dry_run=dry_run)
            lines += said
            as_wanted = as_wanted and well
        said, well = _indices(client, settings.prefix, apply=apply, dry_run=dry_run)
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
    made = []
    for told in layout()["indices"].values():
        if "alias" in told and not client.indices.exists_alias(name=f"{prefix}-{told['alias']}"):
            client.indices.create(index=f"{prefix}-{told['index']}")
            made.append(f"{prefix}-{told['index']}")
    return made


def _put(client: Elasticsearch, piece: Piece, *, apply: bool, dry_run: bool) -> tuple[list[str], bool]:
    """Put a piece in place where it is missing, or may be changed. Return what to say, and whether it is as wanted."""
    there = _there(client, piece)
    what = f"{piece.kind} {piece.name}"
    if there is None:
        if not dry_run:
            _make(client, piece)
        return [f"{what}: {'would be created' if dry_run else 'created'}"], not dry_run
    differences = list(_differences(_flat(there), _flat(piece.body)))
    if not differences:
        return [], True
    if apply and not dry_run:
        _make(client, piece)
    fate = ("would be changed" if dry_run else "changed") if apply else "left as it is; --apply changes it"
    return [f"{what}: {found}: {fate}" for found in differences], apply and not dry_run


def _indices(client: Elasticsearch, prefix: str, *, apply: bool, dry_run: bool) -> tuple[list[str], bool]:
    """Make the indices with aliases, and let their mappings grow to what is wanted."""
    if dry_run:
        missing = [
            told["index"] for told in layout()["indices"].values()
            if "alias" in told and not client.indices.exists_alias(name=f"{prefix}-{told['alias']}")
        ]  # fmt: skip
        return [f"index {prefix}-{index}: would be created" for index in missing], not missing
    lines = [f"index {name}: created" for name in make_indices(client, prefix)]
    well = True
    for name, told in layout()["indices"].items():
        if "alias" not in told:
            continue
        alias = f"{prefix}-{told['alias']}"
        (mapping,) = client.indices.get_mapping(index=alias).values()
        parts = [layout()["components"][part]["mappings"]["properties"] for part in ("ecs", name)]
        for part in parts:
            for found in _differences(_flat(mapping["mappings"]["properties"]), _flat(part)):
                well = False
                lines.append(
                    f"index {alias}: its mapping has {found}: delete it, set up again, and run"
                    " `relight replay --into store`"
                )
    return lines, well


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


def _flat(body: Any, path: str = "") -> dict[str, str]:
    """Return a body as paths and values: Elasticsearch gives back settings as strings, and not always nested."""
    if isinstance(body, Mapping):
        found: dict[str, str] = {}
        for key, value in body.items():
            found |= _flat(value, f"{path}.{key}" if path else str(key))
        return found
    if isinstance(body, list):
        return {path: ", ".join(map(str, body))}
    return {path: str(body).lower() if isinstance(body, bool) else str(body)}


def _differences(there: Mapping[str, str], wanted_: Mapping[str, str]) -> Iterator[str]:
    """Yield where what is there is not as wanted. What is there besides is nobody's concern."""
    for path, value in wanted_.items():
        if there.get(path) != value:
            yield f"{path} is {there.get(path, 'not set')}, wanted is {value}"
