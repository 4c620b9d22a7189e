"""What may be shown of a line, whatever the line is."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.redaction import MASK, SHOWN_CHARACTERS, masked, shown

HEX40 = "0123456789abcdef0123456789abcdef01234567"
ALNUM = "aB3dE6gH9jK2mN5pQ8sT1vW4xY7z"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJlc2lnbmF0dXJl"

SECRETS = [
    ("aws key AKIA" + "Z" * 12 + "4321 used", "aws key [masked] used"),
    ("HF_TOKEN=hf_" + ALNUM, "HF_TOKEN=[masked]"),
    (f"loading with hf_{ALNUM}", "loading with [masked]"),
    (f"openai sk-proj-{ALNUM}", "openai [masked]"),
    (f"remote: ghp_{ALNUM} rejected", "remote: [masked] rejected"),
    (f"WANDB_API_KEY={HEX40}", "WANDB_API_KEY=[masked]"),
    (f"wandb: api_key {HEX40}", "wandb: api_key [masked]"),
    (f"'api_key': '{HEX40}', 'x': 1", "'api_key': '[masked]', 'x': 1"),
    ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [masked]"),
    ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [masked]"),
    ('{"Authorization": "Bearer abcdefgh"}', '{"Authorization": "Bearer [masked]"}'),
    (f"curl -H bearer {ALNUM}", "curl -H bearer [masked]"),
    ("postgresql://train:hunter2@db.example:5432/runs", "postgresql://train:[masked]@db.example:5432/runs"),
    ("redis://:p@ss@cache:6379/0", "redis://:[masked]@cache:6379/0"),
    ("password=hunter2", "password=[masked]"),
    ("password: hunter2, user: x", "password: [masked], user: x"),
    ('"password": "two words", "user": "x"', '"password": "[masked]", "user": "x"'),
    (r"{\"db_password\": \"hunter2\", \"n\": 1}", r"{\"db_password\": \"[masked]\", \"n\": 1}"),
    ("token=abc123&step=4", "token=[masked]&step=4"),
    ("secret=x1 next", "secret=[masked] next"),
    ("aws_secret_access_key = a/b+c", "aws_secret_access_key = [masked]"),
    ("AccountName=a;AccountKey=Zm9v==;EndpointSuffix=b", "AccountName=a;AccountKey=[masked];EndpointSuffix=b"),
    ("train.py --api-key X --lr 0.1", "train.py --api-key [masked] --lr 0.1"),
    ("train.py --hf-token 'a b' --lr 0.1", "train.py --hf-token '[masked]' --lr 0.1"),
    ("train.py --password=x --lr 0.1", "train.py --password=[masked] --lr 0.1"),
    (f"got {JWT} back", "got [masked] back"),
    ("GET https://a.example/c?sv=1&sig=ab%2Fc%3D&se=2", "GET https://a.example/c?sv=1&sig=[masked]&se=2"),
    ("https://s3.example/k?X-Amz-Signature=00ff&y=1", "https://s3.example/k?X-Amz-Signature=[masked]&y=1"),
    ("POST https://hooks.slack.com/services/T0/B0/xyz ok", "POST https://hooks.slack.com/services/[masked] ok"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- after", "[masked] after"),
    ("-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNzaC1rZXktdjEA", "[masked]"),
    ("Set-Cookie: session=abc; Path=/", "Set-Cookie: [masked]"),
]

ORDINARY = [
    f"commit {HEX40}",
    f"HEAD is now at {HEX40} (main)",
    "run id 6f1c9d1e-7b0a-4a52-9d2e-0a1b2c3d4e5f",
    "GPU-6f1c9d1e-7b0a-4a52-9d2e-0a1b2c3d4e5f at 0000:3b:00.0",
    "max_tokens=2048 max_new_tokens: 128",
    "tokenizer=meta/tok tokenizer: fast",
    "token: 12",
    "tokens: 1200000 tokens/s: 81234.5 time_to_first_token=0.35s",
    "pad_token='<pad>' eos_token=</s> unk_token: [UNK] mask_token=X",
    "eos_token_id=2 token_type_ids: [0, 0]",
    "hf_token=None use_auth_token=False password=*** secret=${SECRET}",
    "token=os.environ['HF_TOKEN']",
    "PWD=/home/run OLDPWD=/ pwd: /data",
    "cache_key=layer.0 key=value keys: 12 monkey=1",
    "tcp://10.0.0.1:29500 http://host:8080/a?b=c s3://bucket/key",
    "git@github.com:org/repo.git user@host:/path",
    "the --token option is missing",
    "task-runner-with-a-long-name-2 disk-0123456789abcdef0123",
    "sk-learn-style-estimator-with-long-name",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "Signature=(Tensor, int) sig=11 signal 11",
    "Basic configuration loaded; bearer of bad news",
]


@pytest.mark.parametrize(("line", "expected"), SECRETS)
def test_a_secret_is_masked_and_the_name_of_its_key_stays(line: str, expected: str) -> None:
    assert masked(line) == expected


@pytest.mark.parametrize("line", ORDINARY)
def test_an_ordinary_line_is_left_alone(line: str) -> None:
    assert masked(line) == line
    assert shown(line) == line


@pytest.mark.parametrize(("line", "expected"), SECRETS)
def test_masking_again_changes_nothing(line: str, expected: str) -> None:
    assert masked(expected) == expected


PIECES = st.sampled_from(
    [line for line, _ in SECRETS]
    + ["token", "password", "=", ":", " ", '"', "'", "\\", MASK, "[", "]", "@", "://", "--", "Bearer ", "12", "&", "…"]
)
FRAGMENTS = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=8).map("".join)


@given(FRAGMENTS)
def test_masking_is_idempotent(text: str) -> None:
    assert masked(masked(text)) == masked(text)


HOSTILE = st.lists(
    st.one_of(
        st.binary(max_size=16),
        st.sampled_from(
            [b"\x1b[", b"\x1b]8;;http://x", b"\x07", b"\x1b\\", b"31m", b"\xc2\x9b", b"\x1bP", b"\t", b"\r"]
        ),
        st.text(alphabet="\u202e\u2066\u200b\u2028\ufeff\x85\x9d", max_size=3).map(lambda text: text.encode()),
    ),
    max_size=12,
).map(b"".join)


def assert_harmless(text: str) -> None:
    assert len(text) <= SHOWN_CHARACTERS
    assert not [
        c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and c not in _VISIBLE_FORMATS
    ]


_VISIBLE_FORMATS = {c for c in map(chr, range(0x110000)) if unicodedata.category(c) == "Cf"} - set(
    "\xad\u061c\u180e\ufeff"
    + "".join(
        map(chr, [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xE0000, 0xE0080)])
    )
)
"""Format characters that draw something, such as the Arabic number sign."""


@given(HOSTILE)
def test_what_is_shown_holds_no_escape_and_no_control_character(data: bytes) -> None:
    assert_harmless(shown(data))


@given(st.text(alphabet=st.characters()))
def test_any_text_can_be_shown_even_with_lone_surrogates(text: str) -> None:
    assert_harmless(shown(text))


@given(st.one_of(HOSTILE, FRAGMENTS))
def test_showing_again_changes_nothing(data: bytes | str) -> None:
    assert shown(shown(data)) == shown(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;never ended", "8;;never ended"),
        (b"a\tb", "a   b"),
        (b"a\r\nb\n", "a b"),
        (b"caf\xe9", "caf\ufffd"),
        ("gpu\u202egnp.exe\u202c", "gpugnp.exe"),
        ("zero\u200bwidth", "zerowidth"),
        (b"pass\x1b[0mword=hunter2", "password=[masked]"),
        (b"null\x00byte", "nullbyte"),
    ],
)
def test_escapes_go_and_their_text_stays(data: bytes | str, expected: str) -> None:
    assert shown(data) == expected


@pytest.mark.parametrize("before", range(1_940, 2_004))
def test_a_secret_at_the_cut_is_never_halved(before: int) -> None:
    secret = "ghp_" + "q7" * 40
    text = shown("x" * before + " " + secret + " " + "y" * 4_000)
    assert "q7q7" not in text
    assert "[" not in text or MASK in text
    assert len(text) <= SHOWN_CHARACTERS
    assert text.endswith("…")
    assert shown(text) == text


def test_a_line_of_exactly_the_limit_is_whole() -> None:
    assert shown("x" * SHOWN_CHARACTERS) == "x" * SHOWN_CHARACTERS


@pytest.mark.parametrize(
    "unit", [b"\x1b[", b"\x1b]", b"password=", b"a:b@", b"https://a:", b"[masked]", b"\xff", b'"\\']
)
def test_a_hostile_line_of_two_megabytes_costs_no_more_than_its_length(unit: bytes) -> None:
    line = unit * (2_000_000 // len(unit))
    begun = time.process_time()
    assert_harmless(shown(line))
    assert time.process_time() - begun < 2
