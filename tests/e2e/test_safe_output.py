"""What never comes out of a report, whatever the format: secrets, and what a terminal or a browser would obey."""

from pathlib import Path

import pytest
import wording
from cluster import BEGIN_S
from command import relight

FORMATS = ("text", "markdown", "html", "json", "jsonl")
SECRETS = {
    "a token of the hub": ("hf_" + "aZ9" * 12, "token {}"),
    "a cloud key": ("AKIA" + "Q7RZ" * 4, "key {}"),
    "a password in a URL": ("hunter2-correct", "https://ann:{}@store.example/corpus"),
    "an authorisation header": ("c2VjcmV0LXRva2VuLTEyMzQ1Njc4", "Authorization: Bearer {}"),
    "an assignment": ("Zk8-not-for-you-4411", "WANDB_API_KEY={}"),
}
HOSTILE = {
    "a colour": "\x1b[31mred\x1b[0m",
    "a link": "\x1b]8;;http://example.com\x07here\x1b]8;;\x07",
    "a title": "\x1b]0;owned\x07",
    "a cleared screen": "\x1b[2J\x1b[H",
    "an 8-bit escape": "\x9b31m",
    "a bell and a backspace": "\x07\x08\x08",
    "a reversed text": "\u202egnp.exe",
}


def _failing(message: str) -> str:
    lines = [wording.titan(BEGIN_S, "Training starts at step 1"), wording.step(BEGIN_S + 10, 1, 9.0)]
    lines += wording.python_exception(0, f"RuntimeError: could not open the corpus: {message}")
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("what", SECRETS)
def test_masked_is(what: str, form: str, tmp_path: Path) -> None:
    secret, around = SECRETS[what]
    (tmp_path / "job.log").write_text(_failing(around.format(secret)))
    out = relight("scan", tmp_path / "job.log", "--format", form).out
    assert secret not in out
    assert "could not open the corpus" in " ".join(out.split())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("what", HOSTILE)
def test_left_out_is(what: str, form: str, tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(_failing(f"before {HOSTILE[what]} after"))
    out = relight("scan", tmp_path / "job.log", "--format", form).out
    assert not set(out) & set("\x1b\x9b\x07\x08\u202e")
    assert not any(escaped in out for escaped in ("\\u001b", "\\u009b", "\\u0007", "\\u0008", "\\u202e"))
    assert "could not open the corpus" in " ".join(out.split())


def test_a_script_in_a_line_is_text_in_html(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(_failing("<script>alert(1)</script><img src=x onerror=alert(2)>"))
    out = relight("scan", tmp_path / "job.log", "--format", "html").out
    assert "<script>alert" not in out
    assert "<img" not in out
    assert "&lt;script&gt;" in out


def test_a_fence_in_a_line_does_not_end_the_code_of_markdown(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(_failing("````` # not a heading"))
    out = relight("scan", tmp_path / "job.log", "--format", "markdown").out
    assert "``````" in out


def test_escapes_in_a_files_name_do_not_come_out(tmp_path: Path) -> None:
    (tmp_path / "job\x1b[31m.log").write_text(_failing("nothing"))
    for form in FORMATS:
        out = relight("scan", tmp_path, "--format", form).out
        assert "\x1b" not in out
        assert "\\u001b" not in out
