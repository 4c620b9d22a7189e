"""KQL as Elasticsearch's query DSL: as much of it as relight's assets use, and an error for anything else.

A stand-in for the translation inside Kibana: fields with values, lists of values, ranges, wildcards, `and`, `or`, `not`
and brackets. Text without a field, nested fields and functions are refused.
"""

import re
from collections.abc import Iterator
from typing import Any

Dsl = dict[str, Any]

_TOKEN = re.compile(r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<sign><=|>=|[:<>()])|(?P<word>[^\s:<>(){}"\\]+))""")
_RANGES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_WORDS = ("and", "or", "not")


class NotUnderstood(ValueError):
    """The query has something that this translation does not know."""


def translated(query: str) -> Dsl:
    """Return a query as query DSL. Raises: NotUnderstood."""
    if not query.strip():
        return {"match_all": {}}
    reading = _Reading(query)
    found = reading.either()
    reading.end()
    return found


def fields_of(query: str) -> set[str]:
    """Return the fields that a query names."""
    return set(_named(translated(query)))


def _named(dsl: Any) -> Iterator[str]:
    if isinstance(dsl, list):
        for each in dsl:
            yield from _named(each)
        return
    for kind, body in dsl.items():
        if kind == "bool":
            for clauses in body.values():
                yield from _named(clauses if isinstance(clauses, list) else [])
        elif kind == "exists":
            yield body["field"]
        elif kind != "match_all":
            yield from body


class _Reading:
    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens = list(self._split(query))

    def either(self, field: str | None = None) -> Dsl:
        found = [self._both(field)]
        while self._next_is("or"):
            found.append(self._both(field))
        return found[0] if len(found) == 1 else {"bool": {"should": found, "minimum_should_match": 1}}

    def end(self) -> None:
        if self._tokens:
            raise NotUnderstood(f"{self._query!r}: what is {self._tokens[0]!r}?")

    def _both(self, field: str | None) -> Dsl:
        found = [self._one(field)]
        while self._next_is("and"):
            found.append(self._one(field))
        return found[0] if len(found) == 1 else {"bool": {"filter": found}}

    def _one(self, field: str | None) -> Dsl:
        if self._next_is("not"):
            return {"bool": {"must_not": [self._one(field)]}}
        if self._next_is("("):
            found = self.either(field)
            self._take(")")
            return found
        token = self._word()
        if field is not None:
            return _value(field, token)
        if token.startswith('"') or not self._tokens or self._tokens[0] not in (":", *_RANGES):
            raise NotUnderstood(f"{self._query!r}: {token!r} stands without a field")
        sign = self._take()
        if sign != ":":
            return {"range": {token: {_RANGES[sign]: _plain(self._word())}}}
        if self._next_is("("):
            found = self.either(token)
            self._take(")")
            return found
        return _value(token, self._word())

    def _take(self, wanted: str | None = None) -> str:
        if not self._tokens or (wanted is not None and self._tokens[0] != wanted):
            raise NotUnderstood(f"{self._query!r}: {wanted or 'more'} is missing")
        return self._tokens.pop(0)

    def _word(self) -> str:
        """Take a field or a value."""
        token = self._take()
        if token.lower() in _WORDS or token in (":", "(", ")", *_RANGES):
            raise NotUnderstood(f"{self._query!r}: {token!r} where a field or a value has to be")
        return token

    def _next_is(self, wanted: str) -> bool:
        if self._tokens and self._tokens[0].lower() == wanted:
            self._tokens.pop(0)
            return True
        return False

    @staticmethod
    def _split(query: str) -> Iterator[str]:
        at = 0
        while query[at:].strip():
            found = _TOKEN.match(query, at)
            if found is None:
                raise NotUnderstood(f"{query!r}: what is {query[at:].strip()[0]!r}?")
            yield found[0].strip()
            at = found.end()


def _value(field: str, token: str) -> Dsl:
    if token == "*":
        return {"exists": {"field": field}}
    if token.startswith('"'):
        return {"match_phrase": {field: _plain(token)}}
    return {"wildcard": {field: token}} if "*" in token else {"match": {field: token}}


def _plain(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith('"') else token
