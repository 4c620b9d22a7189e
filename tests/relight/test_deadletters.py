"""`relight deadletters`: what is listed and shown of records that nobody could read, and how they are retried."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relight.cli import main
from relight.commands.deadletters import letters_table
from relight.deadletters import AlreadyRetried, DeadLetters, Letter, NoLetter, read, require_fresh, retry, whole
from relight.stages.deadletters import refused, turned_away
from relight.topics import DEADLETTERS, LOGS, SIGNALS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Headers, Outgoing, Partition, Record, TopicMissing
from schemas.deadletter import RecordRefused
from schemas.events import Event, encoded

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u009b31mred\u202e \x00\r\n"
NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relight.db"


@pytest.fixture
def log(path: Path) -> Iterator[EmbeddedLog]:
    with EmbeddedLog(path, durable=False) as log:
        log.create(specs(log_partitions=3, cluster_partitions=2))
        yield log


def poison(offset: int = 0, topic: str = LOGS, value: bytes | None = b"what", headers: Headers = ()) -> Record:
    return Record(topic, 1, offset, b"node03", value, headers, NOW_MS)


def add(log: EmbeddedLog, record: Record, stage: str = "match", reason: str = "it is no JSON") -> None:
    """Append a letter as a stage does."""
    log.append([refused(stage, "lab", record, reason)])


def add_at(log: EmbeddedLog, name: str, refused_ms: int, **more: str) -> None:
    """Append a letter with an id and a time of ours."""
    told = {"stage": "match", "reason": "it is no JSON", "topic": LOGS} | more
    data = RecordRefused(partition=0, offset=0, value=b"what", refused_ms=refused_ms, **told)
    log.append([Outgoing(DEADLETTERS, encoded(Event(name, "lab", "s", None, data)))])


def relight(path: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["deadletters", *words, "--embedded", str(path)], catch_exceptions=False)


def held(log: EmbeddedLog, topic: str = LOGS, partition: int = 1) -> list[tuple[bytes | None, bytes | None, Headers]]:
    return [(r.key, r.value, r.headers) for r in log.read(Partition(topic, partition), 0)]


def letter(name: str = "a" * 36, **more: object) -> Letter:
    told = {"cluster": "lab", "stage": "match", "reason": "no JSON", "topic": LOGS, "partition": 0, "offset": 0}
    place = {"size_bytes": 4, "refused_ms": NOW_MS, "kept": Partition(DEADLETTERS, 0), "kept_offset": 0}
    return Letter(**(told | place | more | {"id": name}))  # type: ignore[arg-type]


# What is read


def test_a_letter_that_was_written_twice_is_there_once(log: EmbeddedLog) -> None:
    add(log, poison(7))
    add(log, poison(7))
    assert [one.place for one in read(log).letters] == ["relight.logs/1@7"]


def test_letters_are_ordered_by_when_they_were_refused_the_newest_first(log: EmbeddedLog) -> None:
    for name, hours in (("b", 1), ("c", 2), ("a", 0)):
        add_at(log, name, NOW_MS + hours * HOUR_MS)
    assert [one.id for one in read(log).letters] == ["c", "b", "a"]


def test_what_is_no_letter_is_counted_and_hides_none(log: EmbeddedLog, path: Path) -> None:
    log.append([Outgoing(DEADLETTERS, b"\x00 no letter"), Outgoing(DEADLETTERS, None)])
    add(log, poison())
    known = read(log)
    assert (len(known.letters), known.others) == (1, 2)
    result = relight(path, "list")
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == "relight: 2 records among the dead letters are none; they are passed over\n"


def test_more_letters_than_are_read_at_once_are_all_there(log: EmbeddedLog) -> None:
    for offset in range(120):
        add(log, poison(offset))
    assert len(read(log).letters) == 120


def test_a_prefix_is_as_long_as_it_has_to_be_and_no_shorter_than_8() -> None:
    ids = ("01234567-x", "0123456789-a", "0123456789-b", "f0000000-1")
    prefixes = DeadLetters(tuple(letter(name) for name in ids)).prefixes()
    assert prefixes == {ids[0]: "01234567-", ids[1]: "0123456789-a", ids[2]: "0123456789-b", ids[3]: "f0000000"}


def test_an_id_that_begins_another_still_names_its_letter() -> None:
    known = DeadLetters((letter("abcdefghij"), letter("abcdefgh")))
    assert known.named("abcdefgh").id == "abcdefgh"


@pytest.mark.parametrize(("prefix", "said"), [("zz", "there is no"), ("abcd", "begins the ids of 2"), ("", "no dead")])
def test_an_unknown_or_ambiguous_prefix_names_no_letter(prefix: str, said: str) -> None:
    with pytest.raises(NoLetter, match=said):
        DeadLetters((letter("abcdefgh"), letter("abcdefij"))).named(prefix)


def test_a_letter_that_is_gone_since_it_was_read_is_said_to_be_gone(log: EmbeddedLog) -> None:
    with pytest.raises(NoLetter, match="not kept any more"):
        whole(log, letter())


# How it is retried


def test_a_retried_record_is_where_it_was_as_it_was_and_the_letter_is_marked(log: EmbeddedLog) -> None:
    headers = (("relight", b"7"), ("x", b"\xff\x00"))
    add(log, poison(value=b"\x00\xff", headers=headers))
    assert [one.retried_ms for one in retry(log, read(log).letters, NOW_MS)] == [None]
    assert held(log) == [(b"node03", b"\x00\xff", headers)]
    assert [one.retried_ms for one in read(log).letters] == [NOW_MS]


def test_a_record_without_a_value_is_retried_without_one(log: EmbeddedLog) -> None:
    add(log, poison(value=None))
    list(retry(log, read(log).letters, NOW_MS))
    assert held(log) == [(b"node03", None, ())]


def test_records_are_retried_in_the_order_in_which_they_were_refused(log: EmbeddedLog) -> None:
    for number in range(60):
        add(log, poison(number, value=str(number).encode()))
    list(retry(log, read(log).letters, NOW_MS))
    assert [value for _, value, _ in held(log)] == [str(number).encode() for number in range(60)]


def test_a_record_that_two_stages_refused_is_appended_once_and_both_letters_are_marked(log: EmbeddedLog) -> None:
    for stage in ("match", "correlate"):
        add(log, poison(), stage=stage)
    list(retry(log, read(log).letters, NOW_MS))
    assert len(held(log)) == 1
    assert [one.retried_ms for one in read(log).letters] == [NOW_MS, NOW_MS]


def test_a_letter_whose_record_could_not_be_appended_is_not_marked(log: EmbeddedLog) -> None:
    add(log, poison(topic="relight.gone"))
    with pytest.raises(TopicMissing):
        list(retry(log, read(log).letters, NOW_MS))
    assert [one.retried_ms for one in read(log).letters] == [None]


def test_a_letter_that_was_retried_is_refused() -> None:
    require_fresh([letter()])
    with pytest.raises(AlreadyRetried, match="--again"):
        require_fresh([letter(), letter("b", retried_ms=NOW_MS)])


# What the commands say


def test_where_there_is_no_terminal_the_columns_are_separated_by_tabs_and_nothing_is_cut(
    log: EmbeddedLog, path: Path
) -> None:
    reason = "it is no JSON " * 20
    add_at(log, "0123456789", NOW_MS, reason=reason)
    row = "01234567", "2027-01-15 08:00:00", "match", "relight.logs/0@0", "4 bytes", "no", reason
    assert relight(path, "list").stdout == "\t".join(row) + "\n"


def test_the_filters_choose_and_the_limit_leaves_the_newest(log: EmbeddedLog, path: Path) -> None:
    add(log, poison(1))
    add(log, poison(2, topic=SIGNALS), stage="correlate")
    add_at(log, "long ago", 1)

    def places(*words: str) -> list[str]:
        return [line.split("\t")[3] for line in relight(path, "list", *words).stdout.splitlines()]

    assert places() == ["relight.signals/1@2", "relight.logs/1@1", "relight.logs/0@0"]
    assert places("--stage", "correlate") == places("--topic", SIGNALS) == ["relight.signals/1@2"]
    assert places("--since", "2h") == ["relight.signals/1@2", "relight.logs/1@1"]
    assert places("--limit", "1") == ["relight.signals/1@2"]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_tells_all_of_a_letter(form: str, log: EmbeddedLog, path: Path) -> None:
    add_at(log, "0123456789", NOW_MS)
    text = relight(path, "list", "--format", form).stdout
    (told,) = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
    assert told == {
        "id": "0123456789",
        "refused": "2027-01-15T08:00:00Z",
        "retried": None,
        "cluster": "lab",
        "stage": "match",
        "topic": LOGS,
        "partition": 0,
        "offset": 0,
        "size_bytes": 4,
        "reason": "it is no JSON",
    }


def test_the_table_has_one_line_for_a_letter_and_fits_80_columns() -> None:
    letters = [
        letter("0123456789", stage="correlate", topic=SIGNALS, offset=12_345_678, reason="no JSON\n" * 99),
        letter("f123456789", size_bytes=65_536, retried_ms=NOW_MS),
    ]
    text = letters_table(letters, DeadLetters(tuple(letters)).prefixes(), 80)
    head, first, second = text.splitlines()
    assert head.split() == ["id", "UTC", "stage", "place", "size", "retried", "reason"]
    assert max(map(len, (head, first, second))) <= 80
    assert first.split()[:7] == ["01234567", "01-15", "08:00", "correlate", "signals/0@12345678", "4", "bytes"]
    assert first.rstrip().endswith("…")
    assert second.split() == ["f1234567", "01-15", "08:00", "match", "logs/0@0", "66", "kB", "yes", "no", "JSON"]


def test_the_table_of_no_letters_is_its_head() -> None:
    assert len(letters_table([], {}, 80).splitlines()) == 1


@pytest.mark.parametrize("words", [("list",), ("list", "-f", "json"), ("list", "-f", "jsonl"), ("show", "0123")])
def test_no_control_character_of_a_letter_reaches_the_output(
    words: tuple[str, ...], log: EmbeddedLog, path: Path
) -> None:
    add_at(log, "0123" + HOSTILE, 10**18, reason=HOSTILE, stage=HOSTILE, topic=HOSTILE)
    result = relight(path, *words)
    assert result.exit_code == 0
    assert [c for c in result.stdout if not c.isprintable() and c not in "\n\t"] == []
    assert "owned" not in result.stdout


def test_the_table_has_no_control_character_either() -> None:
    one = letter("0123" + HOSTILE, reason=HOSTILE, stage=HOSTILE, topic=HOSTILE)
    text = letters_table([one], DeadLetters((one,)).prefixes(), 80)
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    assert len(text.splitlines()) == 2


def test_everything_about_a_letter_is_shown_and_secrets_are_masked(log: EmbeddedLog, path: Path) -> None:
    headers = (("relight", b"7"), ("auth", b"password=hunter22"))
    value = b"first line\nexport AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI7MDENG \x1b[31mred\x1b[0m\n"
    add(log, poison(4, value=value, headers=headers), reason="chunk headers of version 7")
    (one,) = read(log).letters
    lines = relight(path, "show", one.id[:8]).stdout.splitlines()
    shown = [tuple(line.split(maxsplit=1)) for line in lines]
    assert ("id", one.id) in shown
    assert ("reason", "chunk headers of version 7") in shown
    assert ("place", "relight.logs/1@4") in shown
    assert ("key", "node03") in shown
    assert ("header", "relight = 7") in shown
    assert ("header", "auth = password=[masked]") in shown
    assert shown[-1] == ("value", "first line export AWS_SECRET_ACCESS_KEY=[masked] red")


def test_a_missing_key_and_value_are_said_to_be_none(log: EmbeddedLog, path: Path) -> None:
    add(log, Record(LOGS, 0, 0, None, None, (), NOW_MS))
    (one,) = read(log).letters
    lines = relight(path, "show", one.id).stdout.splitlines()
    assert [line.split() for line in lines[-2:]] == [["key", "(none)"], ["value", "(none)"]]


def test_raw_writes_the_exact_bytes(log: EmbeddedLog, path: Path) -> None:
    add(log, poison(value=bytes(range(256))))
    (one,) = read(log).letters
    assert relight(path, "show", one.id, "--raw").stdout_bytes == bytes(range(256))


def test_raw_bytes_are_not_written_to_a_terminal(log: EmbeddedLog, path: Path) -> None:
    add(log, poison(value=b"\x1b[2J"))
    (one,) = read(log).letters
    command = [str(Path(sys.executable).parent / "relight"), "deadletters", "show", one.id, "--raw"]
    ours, theirs = pty.openpty()
    try:
        result = subprocess.run(
            [*command, "--embedded", str(path)], stdout=theirs, stderr=subprocess.PIPE, timeout=60, check=False
        )
        os.write(theirs, b".")
        assert os.read(ours, 100) == b"."
    finally:
        os.close(ours)
        os.close(theirs)
    assert result.returncode == 2
    assert b"redirect --raw to a file or a pipe" in result.stderr


@pytest.mark.parametrize(
    "words", [("show", "zzz"), ("show", "0123"), ("show", ""), ("retry", "zzz"), ("retry", "0123")]
)
def test_a_prefix_that_names_no_one_letter_is_one_line_and_status_2(
    words: tuple[str, ...], log: EmbeddedLog, path: Path
) -> None:
    add_at(log, "01234567", NOW_MS)
    add_at(log, "0123abcd", NOW_MS)
    result = relight(path, *words)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert result.stderr.startswith("relight: ")


@pytest.mark.parametrize(
    "words",
    [
        ("retry",),
        ("retry", "01", "--all"),
        ("retry", "01", "--stage", "match"),
        ("list", "--since", "soon"),
        ("list", "--limit", "0"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line_and_status_2(
    words: tuple[str, ...], log: EmbeddedLog, path: Path
) -> None:
    result = relight(path, *words)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)


def test_letters_that_are_named_are_retried_and_not_again_unless_told(log: EmbeddedLog, path: Path) -> None:
    add(log, poison(1))
    add(log, poison(2))
    first, second = (one.id for one in read(log).letters)
    result = relight(path, "retry", first, first[:8])
    assert result.stdout == f"{first[:8]} is appended to relight.logs/1 again\n"
    result = relight(path, "retry", second, first)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "was retried already" in result.stderr
    assert len(held(log)) == 1, "nothing is retried when one of the letters must not be"
    assert relight(path, "retry", first, "--again").exit_code == 0
    assert len(held(log)) == 2
    retried = {line.split("\t")[3]: line.split("\t")[5] for line in relight(path, "list").stdout.splitlines()}
    assert retried == {"relight.logs/1@2": "yes", "relight.logs/1@1": "no"}


def test_all_are_retried_but_those_that_were_or_are_not_chosen(log: EmbeddedLog, path: Path) -> None:
    add(log, poison(1))
    add(log, poison(2, topic=SIGNALS), stage="correlate")
    assert relight(path, "retry", "--all", "--stage", "index").stdout == "There is nothing to retry.\n"
    assert len(relight(path, "retry", "--all", "--stage", "correlate").stdout.splitlines()) == 1
    assert (len(held(log)), len(held(log, SIGNALS))) == (0, 1)
    assert len(relight(path, "retry", "--all").stdout.splitlines()) == 1
    assert (len(held(log)), len(held(log, SIGNALS))) == (1, 1)
    assert relight(path, "retry", "--all").stdout == "There is nothing to retry.\n"
    assert len(relight(path, "retry", "--all", "--again", "--topic", LOGS).stdout.splitlines()) == 1
    assert (len(held(log)), len(held(log, SIGNALS))) == (2, 1)


def test_what_the_store_refused_is_left_to_a_replay_and_what_is_named_beside_it_is_retried(
    log: EmbeddedLog, path: Path
) -> None:
    add(log, poison(1))
    add(log, poison(2), stage="index", reason="a mapping conflict")
    add(log, poison(3), stage="index", reason="a mapping conflict")
    ids = {one.offset: one.id for one in read(log).letters}
    result = relight(path, "retry", *ids.values())
    assert (result.exit_code, result.stdout) == (2, f"{ids[1][:8]} is appended to relight.logs/1 again\n")
    why = "is what the store refused: when the cause is mended, `relight replay --into store` writes it again"
    assert result.stderr.splitlines() == [f"relight: the dead letter {ids[at]} {why}" for at in (3, 2)]
    assert len(held(log)) == 1
    assert {one.offset: one.retried_ms is not None for one in read(log).letters} == {1: True, 2: False, 3: False}


def test_of_all_letters_those_that_the_store_refused_are_counted(log: EmbeddedLog, path: Path) -> None:
    add(log, poison(1))
    for offset in (2, 3):
        add(log, poison(offset), stage="index")
    result = relight(path, "retry", "--all")
    assert (result.exit_code, len(result.stdout.splitlines()), len(held(log))) == (2, 1, 1)
    assert result.stderr.startswith("relight: 2 dead letters are what the store refused: when the cause is mended")
    assert len(result.stderr.splitlines()) == 1


def test_what_never_was_a_record_is_shown_and_left_to_who_sent_it(log: EmbeddedLog, path: Path) -> None:
    add(log, poison(1))
    log.append([turned_away("receive", "c1", "alertmanager", b"not JSON", "this is no webhook")])
    result = relight(path, "retry", "--all")
    assert (result.exit_code, len(result.stdout.splitlines()), len(held(log))) == (2, 1, 1)
    assert result.stderr == (
        "relight: 1 dead letters are what never became a record: when the cause is mended, whatever sent it has to"
        " send it again\n"
    )
    (letter,) = (one for one in read(log).letters if one.outside)
    told = relight(path, "show", letter.id).stdout
    assert "place    alertmanager\n" in told
    assert "value    not JSON\n" in told


def test_a_log_without_the_topic_says_what_to_do(path: Path) -> None:
    result = relight(path, "list")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "`relight setup` creates it" in result.stderr
