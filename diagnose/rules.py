"""Rules: the signatures of the shipped catalogue and of a user's own directory, loaded, overridden and indexed.

Loading stops at the first thing wrong and says file, rule and line; `diagnose/rulecheck.py` looks for more.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import ValidationError

from schemas.authored import AuthoringError
from schemas.detect import Score
from schemas.signature import Signature


class RuleError(AuthoringError):
    """A rule file cannot be used. The message names file, rule, line and what is wrong."""

    noun = "rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """A signature and the place that it was written at."""

    signature: Signature
    file: str
    line: int

    def error(self, what: str) -> RuleError:
        """Return an error that names this rule."""
        return RuleError(self.file, self.line, what, self.signature.id)


@dataclass(frozen=True)
class Catalogue:
    """All signatures in force, in a fixed order: by id."""

    signatures: tuple[Signature, ...]

    @cached_property
    def by_id(self) -> Mapping[str, Signature]:
        """Return the signatures by their ids."""
        return MappingProxyType({s.id: s for s in self.signatures})

    @cached_property
    def detectors(self) -> Mapping[str, Mapping[str, Signature]]:
        """Return the detectors that look at numbers of each metric, by their ids."""
        found: dict[str, dict[str, Signature]] = {}
        for signature in self.signatures:
            detect = signature.detect
            for metric in detect.metric if detect and detect.score is not Score.ABSENCE else ():
                found.setdefault(metric, {})[signature.id] = signature
        return found  # plain: what a range of a source has measured goes from process to process


def catalogue_of(rules: Iterable[Rule]) -> Catalogue:
    """Return the catalogue that these rules make; a later rule replaces an earlier one of the same id."""
    last = {rule.signature.id: rule.signature for rule in rules}
    return Catalogue(tuple(last[name] for name in sorted(last)))


def shipped_files() -> list[Traversable]:
    """Return the rule files that come with relight, by name."""
    folder = resources.files("diagnose").joinpath("catalogue/signatures")
    return sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)


def files_under(folder: Path, noun: str = RuleError.noun) -> list[Path]:
    """Return a user's rule files, or files of another noun: a YAML file itself, or all below a directory.

    Raises:
        FileNotFoundError: there is no such path, or no YAML file in it.
    """
    files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.suffix in (".yaml", ".yml"))
    if not files:
        raise FileNotFoundError(f"{folder}: no {noun} files (*.yaml) there")
    return files


def read_rules(file: Traversable | Path) -> list[Rule]:
    """Return the rules of one file.

    Raises:
        RuleError: the file is not YAML, or a rule in it is not a signature.
    """
    return rules_in(str(file), file.read_bytes().decode("utf-8", "replace"))


def rules_in(name: str, text: str) -> list[Rule]:
    """Return the rules of a file that is called `name` and holds this text.

    Raises:
        RuleError: the text is not YAML, or a rule in it is not a signature.
    """
    return list(_rules(name, text))


def _rules(name: str, text: str) -> Iterator[Rule]:
    document, lines = _parsed(name, text)
    defaults = document.get("defaults") or {}
    seen: dict[str, int] = {}
    for fields, line in zip(document.get("signatures") or [], lines, strict=True):
        rule = _rule(name, line, defaults, fields)
        if (first := seen.setdefault(rule.signature.id, line)) != line:
            raise rule.error(f"the id is taken already by the rule at line {first}")
        yield rule


def _parsed(name: str, text: str) -> tuple[dict[str, Any], list[int]]:
    """Return a rule file's content, and the line at which each of its signatures begins."""
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        root = yaml.compose(text, Loader=loader)
        document = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RuleError(name, mark.line + 1 if mark else 1, f"not YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(document, dict) or not isinstance(document.get("signatures"), list):
        raise RuleError(name, 1, "a rule file is a mapping with a list `signatures:`; see docs/rules.md")
    if unknown := sorted(set(document) - {"layer", "defaults", "signatures"}):
        raise RuleError(name, 1, f"unknown key `{unknown[0]}`; a rule file has `layer`, `defaults` and `signatures`")
    assert isinstance(root, yaml.MappingNode)
    listed = next(value for key, value in root.value if key.value == "signatures")
    return document, [node.start_mark.line + 1 for node in listed.value]


def _rule(name: str, line: int, defaults: Mapping[str, Any], fields: object) -> Rule:
    if not isinstance(fields, dict):
        raise RuleError(name, line, "a signature is a mapping with at least `id`, `title`, `from` and `pattern`")
    try:
        return Rule(Signature.model_validate({**defaults, **fields}), name, line)
    except ValidationError as error:
        raise RuleError(name, line, _first_reason(error), str(fields.get("id", "without id"))) from None


def _first_reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = get_close_matches(field, [known.alias or name for name, known in Signature.model_fields.items()], 1)
        return f"field `{field}`: there is none of that name" + (f"; did you mean `{near[0]}`?" if near else "")
    return (f"field `{field}`: " if field else "") + first["msg"].removeprefix("Value error, ")
