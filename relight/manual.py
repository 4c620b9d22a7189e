"""The pages of the manual that are made from the code: commands, fault classes, events, and what they look like.

`python -m relight.manual` writes them; a test compares them with what is in docs/.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from relight.cli import main
from relight.published import documents
from relight.topics import TOPICS, Topic
from schemas.events import EVENT_TYPES
from schemas.faults import fault_classes

DOCS: Final = Path(__file__).parent.parent / "docs"


def cli_page() -> str:
    """Return `docs/cli.md`: the help of every command, as the command line itself prints it."""
    lines = ["# Commands", "", "What `relight COMMAND --help` says."]
    for path, command in _commands(main, "relight"):
        settings = {**main.context_settings, "terminal_width": 100}
        context = click.Context(command, info_name=path, **settings)
        lines += ["", f"## {path}", "", "```", command.get_help(context).rstrip(), "```"]
    return "\n".join([*lines, ""])


def faults_page() -> str:
    """Return `docs/faults.md`: the fault classes by layer, as a table."""
    rows = [
        f"| `{c.fault}` | {c.layer} | {c.meaning} | {c.first_action} | {c.culprit} | {c.domain} | {c.retry_outlook} |"
        for c in fault_classes().values()
    ]
    head = [
        "# Fault classes",
        "",
        "Every diagnosis names one of these. `relight rules list --fault 'gpu.*'` lists the signatures of a class.",
        "",
        "| fault | layer | what it means | first action | culprit | domain | retry outlook |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def events_page() -> str:
    """Return `docs/events.md`: the topics, and every type of event with its fields."""
    lines = [
        "# Topics and events",
        "",
        "Every message but a log line is a [CloudEvents](https://cloudevents.io) 1.0 envelope in structured JSON mode.",
        "`id` follows from what caused the event: a consumer drops an id that it has seen. `partitionkey` is the",
        "cluster, `sequence` counts the events of one incident from 1, `dataschema` ends in the version of `data`.",
        "Readers accept all versions up to theirs. JSON Schemas and the AsyncAPI document are in [schemas/](schemas).",
        "",
        "| topic | key | holds | written by | kept |",
        "|---|---|---|---|---|",
        *(f"| `{t.name}` | {t.key} | {t.holds} | {t.written_by} | {_kept(t)} |" for t in TOPICS),
    ]
    for event in EVENT_TYPES:
        lines += ["", f"## {event.name}", "", " ".join((event.data.__doc__ or "").split()), ""]
        lines += [f"On `{event.topic}`, written by {event.writer}. Version {event.version}.", ""]
        lines += ["| field | type |", "|---|---|"]
        fields = event.data.model_json_schema(mode="serialization").get("properties", {})
        lines += [f"| `{name}` | {_type(field)} |" for name, field in fields.items()]
    return "\n".join([*lines, ""])


def _kept(topic: Topic) -> str:
    if topic.compacted:
        return "the last of each key"
    return "for ever" if topic.days is None else f"{topic.days} days"


def _type(schema: dict[str, Any]) -> str:
    """Return a field's type as people read it."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema and len(schema["enum"]) > 8:
        return "a fault class"
    items = schema.get("items")
    return f"list of {_type(items)}" if isinstance(items, dict) else str(schema.get("type", "any"))


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands(command.commands[name], f"{path} {name}")


PAGES: Final = {"cli.md": cli_page, "faults.md": faults_page, "events.md": events_page}


def pages() -> dict[str, bytes]:
    """Return all pages, and the published documents, by their paths below `docs/`."""
    made = {name: page().encode() for name, page in PAGES.items()}
    return made | {f"schemas/{name}": content for name, content in documents().items()}


if __name__ == "__main__":
    for name, content in pages().items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_bytes(content)
