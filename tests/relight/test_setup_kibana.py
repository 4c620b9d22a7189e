"""`relight setup kibana`: the import of what relight brings, against a stand-in for Kibana."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kibana_stand_in import Kibana, basic, kibana_stand_in

from relight import kibana
from relight.assets.saved_objects import ndjson, saved_objects
from relight.cli import main
from relight.kibana import KibanaRefused, KibanaUnavailable
from relight.settings import models
from tests.servers.listening import made_certificate
from tests.servers.process import free_ports

PREFIX = "relight"
OBJECTS = saved_objects(PREFIX)


@pytest.fixture
def stand_in() -> Iterator[Kibana]:
    with kibana_stand_in() as found:
        yield found


def told_to(found: Kibana, **more: object) -> models.Kibana:
    return models.Kibana.model_validate({"url": found.url} | more)


def relight_setup(found: Kibana, *arguments: str, **more: str) -> Result:
    environment = {f"RELIGHT_KIBANA__{name.upper()}": value for name, value in more.items()}
    words = ["setup", "kibana", "--kibana", found.url, *arguments]
    return CliRunner(env=environment).invoke(main, words, catch_exceptions=False)


def refusal(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (2, "")
    (said,) = result.stderr.splitlines()
    return said


def test_all_objects_are_imported_and_told(stand_in: Kibana) -> None:
    result = relight_setup(stand_in)
    assert result.exit_code == 0, result.output
    first, *others = result.stdout.splitlines()
    assert first == f"Kibana at {stand_in.url}: version 9.5.3"
    assert others[0] == "data view [relight] Incidents: imported"
    assert others[-1] == "dashboard [relight] Overview of incidents: imported"
    assert len(others) == len(OBJECTS)
    assert list(stand_in.spaces["default"].values()) == [json.loads(told) for told in ndjson(PREFIX).splitlines()]


def test_twice_leaves_the_same(stand_in: Kibana) -> None:
    relight_setup(stand_in)
    before = deepcopy(stand_in.spaces)
    assert relight_setup(stand_in).exit_code == 0
    assert stand_in.spaces == before


def test_a_dry_run_looks_and_sends_nothing(stand_in: Kibana) -> None:
    result = relight_setup(stand_in, "--dry-run")
    assert result.exit_code == 1
    assert result.stdout.count(": would be imported\n") == len(OBJECTS)
    assert stand_in.asked == [("GET", "/api/status")]
    assert stand_in.spaces == {"default": {}}


def test_the_objects_can_be_written_to_a_file_without_a_kibana(tmp_path: Path) -> None:
    path = tmp_path / "relight.ndjson"
    result = CliRunner().invoke(main, ["setup", "kibana", "--output", str(path)], catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, "")
    assert path.read_bytes() == ndjson(PREFIX)


def test_they_go_into_the_space_that_is_set(stand_in: Kibana) -> None:
    stand_in.spaces["training"] = {}
    result = relight_setup(stand_in, space="training")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Kibana at {stand_in.url}, space training: version")
    assert {name: len(there) for name, there in stand_in.spaces.items()} == {"default": 0, "training": len(OBJECTS)}


def test_a_slash_at_the_end_of_the_address_does_no_harm(stand_in: Kibana) -> None:
    stand_in.url += "/"
    assert relight_setup(stand_in).exit_code == 0


def test_a_space_that_is_missing_is_told_before_anything_is_sent(stand_in: Kibana) -> None:
    said = refusal(relight_setup(stand_in, space="nowhere"))
    assert "there is no space nowhere. Make it in Kibana, or correct kibana.space" in said
    assert [method for method, _ in stand_in.asked] == ["GET", "GET"]


def test_a_user_with_a_password_is_let_in(stand_in: Kibana) -> None:
    stand_in.allowed = (basic("änn", "pass:word"),)
    assert relight_setup(stand_in, username="änn", password="pass:word").exit_code == 0


def test_an_api_key_is_let_in(stand_in: Kibana) -> None:
    stand_in.allowed = ("ApiKey a2V5",)
    assert relight_setup(stand_in, api_key="a2V5").exit_code == 0


@pytest.mark.parametrize("space", [None, "default"])
def test_wrong_credentials_are_told_with_what_to_check_and_never_shown(stand_in: Kibana, space: str | None) -> None:
    stand_in.allowed = (basic("ann", "right"),)
    said = refusal(relight_setup(stand_in, username="ann", password="wr0ng", **({"space": space} if space else {})))
    assert "does not let relight in (401, [security_exception]: unable to authenticate user)" in said
    assert "Check kibana.username and password, or api_key" in said
    assert "wr0ng" not in said


def test_a_user_without_the_privilege_is_told_which_one_it_is(stand_in: Kibana) -> None:
    stand_in.may_import = False
    said = refusal(relight_setup(stand_in))
    assert "does not allow that (403, Unable to bulk_create" in said
    assert "the privilege all for Saved Objects Management in this space" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"username": "ann"}, "kibana.username and kibana.password belong together"),
        ({"password": "x"}, "kibana.username and kibana.password belong together"),
        ({"username": "ann", "password": "x", "api_key": "k"}, "exclude each other"),
        ({"ca_file": "/nowhere/ca.pem"}, "kibana.ca_file: there is no file /nowhere/ca.pem"),
    ],
)
def test_settings_that_cannot_work_are_told(stand_in: Kibana, more: dict[str, str], said: str) -> None:
    assert said in refusal(relight_setup(stand_in, **more))
    assert stand_in.asked == []


def test_without_an_address_the_command_says_what_to_set() -> None:
    result = CliRunner().invoke(main, ["setup", "kibana"], catch_exceptions=False)
    assert "kibana.url is not set" in refusal(result)
    assert "--kibana URL" in result.stderr


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"starting": True}, "is not ready (503, Kibana server is not ready yet): try again later"),
        ({"status": 503, "level": "unavailable"}, "is not ready (503, unavailable): try again later"),
        ({"level": "critical"}, "is not ready (critical): try again later"),
    ],
)
def test_a_kibana_that_is_not_ready_is_told_as_one(stand_in: Kibana, state: dict[str, Any], said: str) -> None:
    vars(stand_in).update(state)
    with pytest.raises(KibanaUnavailable, match=re.escape(said)):
        kibana.setup(told_to(stand_in), OBJECTS)
    assert stand_in.spaces == {"default": {}}


def test_a_kibana_that_is_degraded_takes_the_objects(stand_in: Kibana) -> None:
    stand_in.level = "degraded"
    assert kibana.setup(told_to(stand_in), OBJECTS).as_wanted


def test_a_kibana_that_is_too_old_is_told(stand_in: Kibana) -> None:
    stand_in.version = "7.17.9"
    with pytest.raises(KibanaRefused, match=r"is Kibana 7\.17\.9\. relight needs Kibana 8 or newer"):
        kibana.setup(told_to(stand_in), OBJECTS)


def test_a_base_path_that_is_missing_is_not_kibana(stand_in: Kibana) -> None:
    stand_in.url += "/kibana"
    said = refusal(relight_setup(stand_in))
    assert "this is not Kibana: /api/status is answered with 404" in said
    assert "Kibana's base path" in said


@pytest.mark.elasticsearch
def test_elasticsearch_is_not_kibana(elasticsearch_url: str) -> None:
    with pytest.raises(KibanaRefused, match="this is not Kibana"):
        kibana.setup(models.Kibana(url=elasticsearch_url), OBJECTS)


def test_a_kibana_that_is_not_there_is_one_line_and_status_2() -> None:
    (port,) = free_ports(1)
    said = refusal(relight_setup(Kibana(url=f"http://127.0.0.1:{port}")))
    assert "no answer" in said
    assert "refused" in said


def test_an_object_that_is_not_taken_is_told_with_the_reason_and_the_others_are_imported(stand_in: Kibana) -> None:
    stand_in.refused = {
        f"{PREFIX}-overview": {"type": "unknown", "message": "[panelsJSON]: expected value", "statusCode": 400},
        f"{PREFIX}-dead-hosts": {"type": "conflict"},
    }
    result = relight_setup(stand_in)
    assert result.exit_code == 1
    said = [told for told in result.stdout.splitlines()[1:] if not told.endswith(": imported")]
    assert said == [
        "search [relight] Dead hosts: not imported: conflict",
        "dashboard [relight] Overview of incidents: not imported: unknown, [panelsJSON]: expected value",
    ]
    assert len(stand_in.spaces["default"]) == len(OBJECTS) - 2


def test_an_object_that_refers_to_what_is_not_there_is_told_with_what_is_missing(stand_in: Kibana) -> None:
    searches = [each for each in OBJECTS if each.type == "search"][:1]
    outcome = kibana.setup(told_to(stand_in), searches)
    assert not outcome.as_wanted
    assert outcome.lines[1].endswith(": not imported: it refers to what is not there (index-pattern relight-incidents)")


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key with a certificate for 127.0.0.1 that is its own authority."""
    return made_certificate(tmp_path_factory.mktemp("tls"))


def test_with_the_ca_file_the_server_is_believed_and_without_it_not(certificate: Path) -> None:
    with kibana_stand_in(certificate) as found:
        assert kibana.setup(told_to(found, ca_file=certificate.parent / "ca.pem"), OBJECTS).as_wanted
        with pytest.raises(KibanaRefused, match=r"TLS failed \(.*\)\. Check https, and kibana\.ca_file"):
            kibana.setup(told_to(found), OBJECTS)


def test_https_where_http_is_spoken_is_a_problem_of_tls(stand_in: Kibana) -> None:
    stand_in.url = stand_in.url.replace("http:", "https:")
    with pytest.raises(KibanaRefused, match="TLS failed"):
        kibana.setup(told_to(stand_in), OBJECTS)


def test_a_file_that_holds_no_certificate_is_a_problem_of_tls(stand_in: Kibana, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    stand_in.url = stand_in.url.replace("http:", "https:")
    with pytest.raises(KibanaRefused, match=r"kibana\.ca_file"):
        kibana.setup(told_to(stand_in, ca_file=tmp_path / "ca.pem"), OBJECTS)
