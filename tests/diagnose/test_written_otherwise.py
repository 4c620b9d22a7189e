"""Words that are written otherwise than a rule's author writes them: in JSON, in colours, with NULs in between."""

import json

import orjson
import pytest
from made import resolve
from patterns import nominator
from reading import names

from diagnose.matching.dialect import confirming
from diagnose.matching.scanner import Scanner
from relight.catalogue import catalogue


@pytest.mark.parametrize("name", ["marker.progress.epoch-list", "marker.progress.mxnet"])
def test_progress_with_tabs_is_found_in_the_json_record_of_a_container(scanner: Scanner, name: str) -> None:
    line = next(line for line in resolve(name).match if "\t" in line)
    assert name in names(scanner, line)
    record = orjson.dumps({"log": line + "\n", "stream": "stdout", "time": "2026-11-24T03:12:01Z"}).decode()
    assert name in names(scanner, record)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"lost\s+bus", "lost\tbus"),
        (r"lost.bus", 'lost"bus'),
        (r"lost[^x]bus", "lost\\bus"),
        (r"lost\Wbus", 'lost"bus'),
        (r"lost[\t ]bus", "lost\tbus"),
        (r"lost[/\\]bus", "lost\\bus"),
        (r"lost\x22bus", 'lost"bus'),
        (r"lost\Sbus", 'lost"bus'),
    ],
)
def test_a_class_that_accepts_an_escaped_character_nominates_it_in_json(pattern: str, message: str) -> None:
    assert confirming(pattern).search(message.encode())
    assert nominator(pattern, whole=True)(orjson.dumps({"log": message}) + b"\n")


def test_a_dot_of_keras_bar_is_found_where_the_encoder_escapes_angles(scanner: Scanner) -> None:
    (line,) = [line for s in catalogue().signatures for line in s.match if "[==>" in line][:1]
    assert names(scanner, line)
    assert names(
        scanner,
        json.dumps({"log": line + "\n", "stream": "stdout", "time": "2026-11-24T03:12:01Z"}).replace(">", "\\u003e"),
    )


@pytest.mark.parametrize(
    "pattern", [r"\bKilled process|out of memory!", r"(?:\bKilled process)", r"\b\bKilled process"]
)
@pytest.mark.parametrize("before", [b'{"log":"first\\n', b"\x1b[31m"])
def test_a_word_border_in_an_alternative_or_a_group_may_follow_an_escape(pattern: str, before: bytes) -> None:
    assert nominator(pattern, whole=True)(before + b"Killed process 7\n")


@pytest.mark.parametrize("inside", ["\x1b[1m", "\0"])
def test_a_fault_is_found_though_there_is_an_escape_within_its_words(scanner: Scanner, inside: str) -> None:
    assert names(scanner, f"RuntimeError: CUDA error: an illegal memory{inside} access was encountered") == [
        "cuda.illegal-access"
    ]
