"""Signatures: who signed is known, what was altered is refused; and orchestrators in any language come to the same."""

import json
import os
import re
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediate.signing import LEAST_BYTES, Keys, NotAuthentic, canonical
from schemas.action import CollectDiagnostics, CordonNode, RestartProcess
from schemas.command import CommandOutcome, CommandWithdrawal, MessageSignature, OutcomeStatus, RecoveryCommand, Signed
from schemas.events import Event, encoded
from tests.servers.missing import not_tested

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
OLD, NEW = bytes(range(32)), b"\xff" * 80
KEYS = Keys({"new": NEW, "old.1": OLD}, "new")
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def command(**other: Any) -> RecoveryCommand:
    now_s = round(time.time(), 3)
    action = other.pop("action", RestartProcess(job="llama-70b ✨"))
    own = {
        "id": "4f6c", "cluster": "c1", "incident": "inc-1", "fault": "gpu.fallen_off_bus", "playbook": "gpu-lost",
        "rung": 1, "action": action, "target": "job/llama", "affects": action.resources, "issued_s": now_s,
        "reason": 'GPU 0000:3b:00 "lost"\\\n\u007f\u2028 é 😀', "expires_s": now_s + 300, "deadline_s": 1.8e9 + 0.25,
    }  # fmt: skip
    return RecoveryCommand(**{**own, **other})


def data_of(message: Signed) -> dict[str, Any]:
    return message.model_dump(mode="json")


# What is signed and checked


def test_what_was_signed_is_believed_by_who_has_the_key_and_by_nobody_else() -> None:
    data = data_of(KEYS.signed(command()))
    KEYS.check(data)
    Keys({"new": NEW}).check(data)
    with pytest.raises(NotAuthentic, match="the key 'new' is unknown"):
        Keys({"old.1": OLD}, "old.1").check(data)
    with pytest.raises(NotAuthentic, match="forged, or altered"):
        Keys({"new": OLD}).check(data)


def test_what_an_older_key_has_signed_is_believed_while_that_is_there() -> None:
    data = data_of(Keys({"old.1": OLD}, "old.1").signed(command()))
    KEYS.check(data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"expires_s": 4e9}, "forged, or altered"),
        ({"action": {"kind": "reboot_node", "host": "node03"}}, "forged, or altered"),
        ({"more": None}, "forged, or altered"),
        ({"signature": None}, "it is not signed"),
        ({"signature": "x"}, "it is not signed"),
        ({"signature": {"alg": "none", "key_id": "new", "value": ""}}, "in a way that is unknown"),
        ({"signature": {"alg": "HS256", "key_id": ["new"], "value": ""}}, "is unknown"),
        ({"signature": {"alg": "HS256", "key_id": "new", "value": None}}, "forged, or altered"),
        ({"signature": {"alg": "HS256", "key_id": "new", "value": "\ud800"}}, "forged, or altered"),
        ({"rung": 2**60}, "no canonical form"),
        ({"reason": "\ud800"}, "no canonical form"),
        ({"issued_s": float("nan")}, "no canonical form"),
    ],
)
def test_what_was_altered_is_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotAuthentic, match=reason):
        KEYS.check(data_of(KEYS.signed(command())) | change)


def test_a_field_that_is_left_out_is_missed() -> None:
    data = data_of(
        KEYS.signed(CommandOutcome(id="1", cluster="c", command="x", status=OutcomeStatus.FAILED, by="a", at_s=1))
    )
    KEYS.check(data)
    del data["healthy"]
    with pytest.raises(NotAuthentic, match="forged, or altered"):
        KEYS.check(data)


def test_how_json_is_written_plays_no_part() -> None:
    signed = KEYS.signed(command(issued_s=1_774_000_000.0))
    text = json.dumps(dict(reversed(data_of(signed).items())), indent=3, ensure_ascii=True)
    KEYS.check(orjson.loads(text.replace("1774000000.0", "1.774e9")))


def test_a_signature_is_of_one_digest_and_is_written_without_padding() -> None:
    signature = KEYS.signed(command()).signature
    assert signature is not None
    assert (signature.alg, signature.key_id, len(signature.value)) == ("HS256", "new", 43)
    MessageSignature.model_validate(signature.model_dump())


def test_what_is_signed_again_has_the_signature_of_the_new_key_alone() -> None:
    old = Keys({"old.1": OLD}, "old.1").signed(command())
    assert data_of(KEYS.signed(old)) == data_of(KEYS.signed(old.model_copy(update={"signature": None})))


def test_keys_that_are_no_protection_are_refused_and_secrets_are_not_shown() -> None:
    with pytest.raises(ValueError, match=f"it needs {LEAST_BYTES} at least"):
        Keys({"a": b"x" * 31})
    with pytest.raises(ValueError, match="is not among the keys"):
        Keys({}, "a")
    with pytest.raises(ValueError, match="no key signs"):
        Keys({"a": OLD}).signed(command())
    assert "\\x" not in repr(KEYS)


# What orchestrators do in other languages


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in Go, built."""
    go = which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if go is None:
        not_tested("there is no Go, with which docs/examples/verify is built")
    program = tmp_path_factory.mktemp("go") / "verify"
    built = subprocess.run(
        [go, "build", "-o", program, "."], cwd=EXAMPLES / "verify", capture_output=True, text=True, timeout=300,
        env={**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPROXY": "off"},
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return program


def program(name: str, request: pytest.FixtureRequest) -> list[str | Path]:
    match name:
        case "python":
            return ["python3", "-I", EXAMPLES / "verify.py"]
        case "go":
            return [request.getfixturevalue("go_program")]
        case _:
            for needed in ("jq", "openssl", "bash"):
                if which(needed) is None:
                    not_tested(f"there is no {needed}, which docs/examples/verify.sh needs")
            return ["bash", EXAMPLES / "verify.sh"]


@pytest.fixture(params=["python", "go", "shell"])
def verify(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run an example on bytes; without arguments with a file of keys."""
    words = program(request.param, request)
    keys = tmp_path / "commands.keys"
    lines = (f"{name} {b64encode(secret).decode()}" for name, secret in KEYS.secrets.items())
    keys.write_text("# made for a test\n\n" + "".join(f"{line}\n" for line in lines))

    def run(given: bytes, *arguments: str | Path) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run([*words, *(arguments or (keys,))], input=given, capture_output=True, timeout=120)

    return run


@dataclass(frozen=True)
class _Sent:
    message: Signed

    def bytes(self, **changes: Any) -> bytes:
        event = json.loads(encoded(Event("1", "c1", "inc-1/4f6c", 1.0, KEYS.signed(self.message))))
        event["data"] |= changes
        return orjson.dumps(event)


SENT: Mapping[str, Callable[[], Signed]] = {
    "with None in it": command,
    "with nothing in a list": lambda: command(action=CollectDiagnostics(), affects=(), target=""),
    "with whole seconds": lambda: command(issued_s=1_700_000_000.0, deadline_s=0.0),
    "with fractions": lambda: command(issued_s=1_700_000_000.123456, deadline_s=1e-7),
    "with anything in words": lambda: command(reason="\x00\x1f\t\r\n\b\f\"\\/\x7f\x80\u2028\ufeff\ue000😀é"),
    "a withdrawal": lambda: CommandWithdrawal(id="2", cluster="c1", command="4f6c", reason="", issued_s=1.5),
    "an outcome": lambda: CommandOutcome(
        id="3", cluster="c1", command="4f6c", status=OutcomeStatus.STARTED, by="a", at_s=2.0, healthy=False,
        before={"\ue000": "1", "😀": "2", "é": "3", "e": "4", "": ""},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SENT)
def test_an_orchestrator_believes_what_was_signed_and_gets_what_was_verified(verify: Run, what: str) -> None:
    message = SENT[what]()  # made now: what was made when the tests were gathered may have expired
    done = verify(_Sent(message).bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == canonical(data_of(message)) + b"\n"


def test_an_orchestrator_believes_the_older_key_too(verify: Run) -> None:
    signed = Keys({"old.1": OLD}, "old.1").signed(command())
    assert verify(encoded(Event("1", "c1", "s", 1.0, signed))).returncode == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action": {"kind": "cordon_node", "host": "node99"}}, "forged, or altered"),
        ({"expires_s": 9e9}, "forged, or altered"),
        ({"rung": 2}, "forged, or altered"),
        ({"more": 1}, "forged, or altered"),
        ({"signature": None}, "it is not signed"),
        ({"signature": {"alg": "none", "key_id": "new", "value": ""}}, "in a way that is unknown"),
        ({"signature": {"alg": "HS256", "key_id": "other", "value": "A" * 43}}, "'other' is unknown"),
        ({"signature": {"alg": "HS256", "key_id": "new", "value": "A" * 43}}, "forged, or altered"),
        ({"signature": {"alg": "HS256", "key_id": "new", "value": ""}}, "forged, or altered"),
    ],
)
def test_an_orchestrator_refuses_what_was_altered(verify: Run, changes: dict[str, Any], reason: str) -> None:
    done = verify(_Sent(command()).bytes(**changes))
    assert (done.returncode, done.stdout) == (1, b"")
    assert reason in done.stderr.decode().replace('"', "'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (lambda now_s: command(expires_s=now_s - 1), "expired"),
        (lambda now_s: command(issued_s=now_s + 900, expires_s=now_s + 1000), "in the future"),
        (
            lambda now_s: CommandWithdrawal(id="2", cluster="c", command="4", reason="", issued_s=now_s + 900),
            "in the future",
        ),
    ],
)
def test_an_orchestrator_refuses_what_is_of_another_time(
    verify: Run, message: Callable[[float], Signed], reason: str
) -> None:
    done = verify(_Sent(message(time.time())).bytes())
    assert (done.returncode, done.stdout) == (1, b"")
    assert reason in done.stderr.decode()


@pytest.mark.parametrize(
    "given_bytes", [b"", b"{", b"[]", b"null", b'{"specversion":"1.0","data":[]}', b"{}{}", b'{"data":{}}']
)
def test_an_orchestrator_refuses_what_is_no_event(verify: Run, given_bytes: bytes) -> None:
    done = verify(given_bytes)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, b"", 1)


def test_an_orchestrator_says_that_it_has_no_keys(verify: Run, tmp_path: Path) -> None:
    done = verify(b"{}", tmp_path / "none.keys")
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_key_is_shown_to_nobody_who_lists_processes() -> None:
    script = (EXAMPLES / "verify.sh").read_text()
    assert "-hmac" not in script.replace("`openssl dgst -hmac`", "")
    assert "hexkey" not in script


# All come to the same form

EDGES = (
    0.0, -0.0, 0.1, 1 / 3, 1e20, 123456789012345680000.0, 999999999999999900000.0, 1e21, 1e-6, 9.999e-7, 1e-7, 1.5e-9,
    5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**53, 2.0**53 + 2, -1.25e25, 100, -7, 1_774_000_000.5,
)  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 253_402_300_799),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.integers(-330, 308).map(lambda power: float(f"1e{power}")),
    st.decimals(0, 2**31, places=3).map(float),
)
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
NAMES = TEXTS.filter(bool)
SECONDS = st.floats(0, 253_402_300_799)
COMMANDS = st.builds(
    command,
    id=NAMES,
    reason=TEXTS,
    rung=st.integers(0, 2**53 - 1),
    action=st.builds(CordonNode, host=NAMES) | st.builds(RestartProcess, job=NAMES, host=st.none() | NAMES),
    issued_s=SECONDS,
    expires_s=SECONDS,
    deadline_s=SECONDS,
)
VALUES = st.one_of(COMMANDS.map(data_of), st.fixed_dictionaries({"value": PLAIN}))


@pytest.fixture(scope="session", params=["python", "go", "shell"])
def canonical_lines(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    words = program(request.param, request)

    def run(lines: bytes) -> bytes:
        return subprocess.run([*words, "--canonical"], input=lines, capture_output=True, timeout=300, check=True).stdout

    return run


@settings(max_examples=12)
@given(values=st.lists(VALUES, min_size=20, max_size=60))
def test_the_canonical_form_is_the_same_in_all_languages(
    canonical_lines: Callable[[bytes], bytes], values: list[dict[str, Any]]
) -> None:
    lines = b"".join(orjson.dumps(value) + b"\n" for value in (*values, {"edges": EDGES}))
    own = [canonical(orjson.loads(line)) for line in lines.splitlines()]
    found = canonical_lines(b"".join(without_signature(line) for line in lines.splitlines()))
    assert found.splitlines() == own


def without_signature(line: bytes) -> bytes:
    value = orjson.loads(line)
    value.pop("signature", None)
    return orjson.dumps(value) + b"\n"


def test_what_the_manual_says_of_a_signature_is_so() -> None:
    page = (EXAMPLES.parent / "orchestrators.md").read_text()
    data = json.loads(page.partition("```json\n")[2].partition("```")[0])
    form, value = page.partition("is signed as\n\n```\n")[2].partition("\n```")[0].splitlines()
    key_id, secret = re.search(r"With the key `(\S+) (\S+)`", page).groups()  # type: ignore[union-attr]
    assert canonical(data).decode() == form
    keys = Keys({key_id: b64decode(secret)}, key_id)
    keys.check(data | {"signature": {"alg": "HS256", "key_id": key_id, "value": value}})
