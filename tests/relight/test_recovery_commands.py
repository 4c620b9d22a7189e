"""`relight commands`: what people see of recovery commands, what they can ask for, and what is refused."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from relight.cli import main
from relight.keys import KeyFile
from relight.settings import settings
from relight.topics import CONTROL, INCIDENTS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing
from relight.transports.reading import records
from schemas.command import OutcomeStatus, Request, RequestKind
from schemas.events import decoded, encoded
from schemas.remedy import CommandHistory, CommandState
from tests.remediate.stories import notify, rung
from tests.remediate.world import FREE, World, world

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]x[/]\u202e\x9b2J\nState      effective api_key=sk-abcdefghijklmnop12345678"
BAD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]|sk-abcdefghijklmnop")


@dataclass
class Desk:
    """A log with the commands of a made-up cluster, `alpha`, and the command line on it."""

    path: Path
    world: World

    def run(self, *words: str, cluster: str = "alpha", **more: str) -> Result:
        environment = {"RELIGHT_KEYS__FOLDER": str(self.path.parent / "keys"), "RELIGHT_CONFIG": "", **more}
        flags = ("--embedded", str(self.path), "--cluster", cluster)
        return CliRunner().invoke(main, ["commands", *words, *flags], env=environment, catch_exceptions=False)

    def refuses(self, *words: str, **more: str) -> str:
        """Return the one line with which a command line is refused."""
        done = self.run(*words, **more)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        (line,) = done.stderr.splitlines()
        assert line.startswith("relight: ")
        assert self.asked() == []
        return line.removeprefix("relight: ")

    def asked(self) -> list[Request]:
        """Return what was asked for; it is signed."""
        keys = self.path.parent / "keys" / "requests.keys"
        with EmbeddedLog(self.path, durable=False) as log:
            found = [*records(log, CONTROL)]
        for record in found:
            KeyFile(keys).keys.check(json.loads(record.value or b"")["data"])
        said = [decoded(record.value).data for record in found]
        return [one for one in said if isinstance(one, Request)]

    def on_a_terminal(self, columns: int, *words: str) -> str:
        """Return what the command prints on a terminal so many columns wide."""
        return on_a_terminal(self.path, columns, *words)

    def of(self, kind: str) -> CommandHistory:
        return self.world.last(kind)


def desk_of(path: Path, told: World) -> Desk:
    with EmbeddedLog(path, durable=False) as log:
        log.create(specs(1, 1))
        log.append([Outgoing(INCIDENTS, encoded(event), event.cluster.encode()) for event in told.topic])
    return Desk(path, told)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relight.db"


@pytest.fixture
def desk(path: Path) -> Desk:
    """A cordon that is in flight, one that has helped, one that waits for a person; two are out of service."""
    w = world(rung("cordon_node", timeout="30m"), notify(), policy=FREE.model_copy(update={"hosts_out": 5}))
    w.fails("helped", job=None, host="node01")
    w.tick()
    w.succeed(w.last().id, healthy=True)
    w.resolves("helped")
    w.tick(60)
    w.fails("flies", job=None, host="node02", fault="gpu.gsp_error")
    w.tick(60)
    w.report(w.last("cordon_node").id, OutcomeStatus.ACCEPTED)
    w.tick(60)
    w.playbooks = w.planner.playbooks = world(rung("drain_node", timeout="30m", approval="always"), notify()).playbooks
    w.planner._chosen.clear()
    w.fails("waits", job=None, host="node03", fault="gpu.ecc_uncorrectable")
    w.tick(60)
    w.succeed(w.last("collect_diagnostics").id)
    w.tick(60)
    return desk_of(path, w)


def on_a_terminal(path: Path, columns: int, *words: str) -> str:
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [str(Path(sys.executable).parent / "relight"), "commands", *words, "--embedded", str(path)]
    plain = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment = {**plain, "TERM": "xterm-256color", "RELIGHT_CONFIG": "", "XDG_STATE_HOME": str(path.parent)}
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        printed = b""
        while chunk := _read(leader):
            printed += chunk
    os.close(leader)
    assert process.returncode == 0, printed
    return printed.decode().replace("\r\n", "\n")


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:
        return b""


# list


def test_a_list_has_what_is_not_over_the_newest_first_with_what_holds_it_back(desk: Desk) -> None:
    done = desk.run("list")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    drain, cordon = desk.of("drain_node"), desk.of("cordon_node")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [row[0] for row in rows if row[2] != "issued"] == [drain.id, cordon.id]
    waiting = next(row for row in rows if row[0] == drain.id)
    assert waiting[2:] == ["planned", "drain_node host/node03", "approval: a person has to agree"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", waiting[1]), "in UTC"


def test_all_of_them_are_listed_when_asked_for(desk: Desk) -> None:
    rows = [line.split("\t") for line in desk.run("list", "--all").stdout.splitlines()]
    assert {row[0] for row in rows} == {one.id for one in desk.world.commands}
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    assert "cordon_node host/node01" in [row[3] for row in rows if row[2] == "effective"]


def test_programs_get_json(desk: Desk) -> None:
    every = json.loads(desk.run("list", "--all", "-f", "json").stdout)
    lines = [json.loads(line) for line in desk.run("list", "--all", "-f", "jsonl").stdout.splitlines()]
    assert every == lines
    assert {one["id"] for one in every} == {one.id for one in desk.world.commands}
    assert {one["cluster"] for one in every} == {"alpha"}
    for one in every:
        CommandHistory.model_validate({key: value for key, value in one.items() if key != "cluster"})


def test_a_terminal_of_80_columns_shows_whole_commands_and_what_holds_all_of_them_back(desk: Desk) -> None:
    for words in (("pause", "--reason", "an upgrade of the switches", "--by", "ann"), ("silence", "host=~node0.*")):
        assert desk.run(*words).exit_code == 0
    admit(desk)
    shown = ESCAPE.sub("", desk.on_a_terminal(80, "list"))
    assert max(map(cell_len, shown.splitlines())) <= 80
    assert "alpha: paused by ann: an upgrade of the switches\n" in shown
    assert re.search(r'alpha: silence [0-9a-f]{8} host=~"node0\.\*"\n', shown)
    assert "alpha: 2 of 5 hosts out of service: node01, node02\n" in shown
    drain = desk.of("drain_node")
    assert re.search(
        rf"{drain.id[:8]}  05-12 03:\d\d  planned   drain_node host/node03 *\n {{33}}pause: ann has paused remediation",
        shown,
    )


def test_a_narrow_terminal_folds_what_a_command_is_and_cuts_why(path: Path) -> None:
    w = world(rung("cordon_node", timeout="30m", why="It is worth a try. " * 10), notify())
    w.fails(job=None, host="gpu-rack07-node004." * 4 + "example.org")
    w.tick()
    desk_of(path, w)
    lines = ESCAPE.sub("", on_a_terminal(path, 60, "list")).splitlines()
    assert max(map(cell_len, lines)) <= 60
    table = lines[next(at for at, line in enumerate(lines) if line.startswith("ID")) + 1 :]
    told = "".join(line[31:].strip() for line in table)
    assert told.startswith("cordon_nodehost/" + "gpu-rack07-node004." * 4 + "example.org")
    assert told.endswith("…")


def admit(desk: Desk) -> None:
    """Let what was asked for be known, as the stage does."""
    from schemas.remedy import RequestAdmitted

    desk.world.topic.clear()
    for request in desk.asked():
        desk.world.say(RequestAdmitted(request=request))
    desk.world.read = 0
    desk.world.tick()
    with EmbeddedLog(desk.path, durable=False) as log:
        log.append([Outgoing(INCIDENTS, encoded(event), b"alpha") for event in desk.world.topic])


def test_a_terminal_tells_that_it_is_a_dry_run_and_that_there_is_nothing(path: Path) -> None:
    w = World([], FREE.model_copy(update={"dry_run": True}))
    w.tick()
    desk_of(path, w)
    shown = ESCAPE.sub("", on_a_terminal(path, 80, "list"))
    assert shown == "alpha: dry run, nothing is issued: set remediate.dry_run = false\nNo commands.\n"


def test_where_nothing_was_ever_said_nothing_is_listed(path: Path) -> None:
    desk = desk_of(path, World([]))
    with EmbeddedLog(desk.path, durable=False) as log:
        assert len([*records(log, INCIDENTS)]) == 1
    assert desk.run("list").stdout == ""
    assert desk.run("list", "-f", "json").stdout == "[]\n"
    assert desk.run("list", "-f", "jsonl").stdout == ""


# show


def test_one_command_is_shown_whole_by_the_beginning_of_its_id(desk: Desk) -> None:
    cordon = desk.of("cordon_node")
    shown = desk.run("show", cordon.id[:8]).stdout
    for line in (
        f"Command    {cordon.id}",
        "State      accepted",
        "Cluster    alpha",
        "Action     cordon_node host node02",
        "Affects    host/node02",
        "Incidents  flies",
        "Fault      gpu.gsp_error",
        "Playbook   lab, rung 1",
        "Why        It is worth a try.",
        "Approval   not needed",
        "By         agent",
    ):
        assert f"{line}\n" in shown
    assert json.loads(desk.run("show", cordon.id, "-f", "json").stdout)["state"] == "accepted"
    assert "Held back  approval: a person has to agree\n" in desk.run("show", desk.of("drain_node").id).stdout


def test_how_it_has_ended_is_shown_with_what_was_printed(desk: Desk) -> None:
    command = desk.of("cordon_node")
    w = desk.world
    w.topic.clear()
    w.read = 0
    w.report(command.id, OutcomeStatus.STARTED)
    w.report(command.id, OutcomeStatus.FAILED, reason="no such node", output="line 1\nline 2\x1b[2J")
    w.tick(1)
    with EmbeddedLog(desk.path, durable=False) as log:
        log.append([Outgoing(INCIDENTS, encoded(event), b"alpha") for event in w.topic])
    shown = desk.run("show", command.id).stdout
    assert "Result     failed\n" in shown
    assert shown.endswith("Output\n  line 1\n  line 2\n")


@pytest.mark.parametrize("name", ["", "zz", "0000"])
def test_what_there_is_not_is_refused(desk: Desk, name: str) -> None:
    for words in (("show", name), ("approve", name), ("cancel", name)):
        assert desk.refuses(*words) == f"there is no command {name!r}: `relight commands list --all` shows them"


def test_a_beginning_that_several_share_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = sorted(one.id for one in desk.world.commands)
    first = next(letter for letter in "0123456789abcdef" if sum(name.startswith(letter) for name in ids) == 1)
    assert desk.run("show", first).exit_code == 0
    shared = [c for c in "0123456789abcdef" if sum(name.startswith(c) for name in ids) > 1]
    for letter in shared:
        assert "write more of it" in desk.refuses("show", letter)


# approve, deny, cancel


@pytest.mark.parametrize("kind", ["approve", "deny", "cancel"])
def test_what_is_asked_for_a_command_is_signed_and_says_who_and_why(desk: Desk, kind: str) -> None:
    drain = desk.of("drain_node")
    done = desk.run(kind, drain.id[:8], "--reason", "it is night", "--by", "ann", cluster="another")
    assert done.stdout == f"{kind}: drain_node host/node03 ({drain.id[:8]})\n"
    (request,) = desk.asked()
    assert (request.kind, request.command, request.cluster) == (RequestKind(kind), drain.id, "alpha")
    assert (request.by, request.reason) == ("ann", "it is night")


def test_who_asks_is_who_is_logged_in(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "bob")
    desk.run("approve", desk.of("drain_node").id)
    assert desk.asked()[0].by == "bob"


def test_what_cannot_be_asked_for_any_more_is_refused_and_of_several_none_is_asked(desk: Desk) -> None:
    flies, over = desk.of("cordon_node"), next(c for c in desk.world.commands if c.state is CommandState.EFFECTIVE)
    words = f"cordon_node host/node02 ({flies.id[:8]})"
    assert desk.refuses("approve", flies.id) == f"{words} waits for nobody's approval: it is accepted"
    assert desk.refuses("deny", over.id).endswith("cannot be taken back any more: it is effective")
    assert "effective" in desk.refuses("cancel", desk.of("drain_node").id, over.id)


# pause, resume, silence, unsilence, restore


def test_a_pause_is_for_one_cluster_or_for_all_and_for_a_while_or_for_ever(desk: Desk) -> None:
    assert desk.run("pause", "--for", "2h", "--reason", "an upgrade").stdout == "paused: alpha\n"
    assert desk.run("pause", "--everywhere").stdout == "paused: all clusters\n"
    assert desk.run("resume").stdout == "resumed: alpha\n"
    assert desk.run("resume", "--everywhere").stdout == "resumed: all clusters\n"
    first, everywhere, *resumed = desk.asked()
    assert first.until_s == pytest.approx(first.at_s + 7200, abs=1)
    assert (first.cluster, first.reason) == ("alpha", "an upgrade")
    assert (everywhere.cluster, everywhere.until_s) == (None, None)
    assert [(one.kind, one.cluster) for one in resumed] == [(RequestKind.RESUME, "alpha"), (RequestKind.RESUME, None)]


def test_a_silence_is_of_matchers_and_is_ended_by_the_beginning_of_its_id(desk: Desk) -> None:
    words = ("host=~node0.*", 'fault="gpu.gsp_error"', "job!=", "severity!~info|warning")
    done = desk.run("silence", *words, "--for", "45m")
    (request,) = desk.asked()
    matchers = 'host=~"node0.*", fault="gpu.gsp_error", job!="", severity!~"info|warning"'
    assert ", ".join(map(str, request.matchers)) == matchers
    assert done.stdout == f"silenced: {matchers} ({request.id[:8]})\n"
    admit(desk)
    ended = desk.run("unsilence", request.id[:8])
    assert ended.stdout == f"ended: {matchers}\n"
    assert (desk.asked()[1].silence, desk.asked()[1].kind) == (request.id, RequestKind.UNSILENCE)


def test_hosts_come_back_into_service(desk: Desk) -> None:
    assert desk.run("restore", "node01", "node02").stdout == "back in service: node01\nback in service: node02\n"
    assert [(one.kind, one.host) for one in desk.asked()] == [
        (RequestKind.RESTORE, "node01"),
        (RequestKind.RESTORE, "node02"),
    ]


def test_a_host_that_is_not_out_of_service_cannot_come_back(desk: Desk) -> None:
    assert desk.refuses("restore", "node01", "node77") == "node77 is not out of service by a command"
    assert desk.refuses("restore", "node01", cluster="beta") == "node01 is not out of service by a command"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("silence", "host"), "'host' is no matcher: write LABEL=VALUE, LABEL!=VALUE, LABEL=~PATTERN or"),
        (("silence", "rack=1"), "'rack=1': Input should be 'fault', 'host', 'job'"),
        (("silence", "host=~("), "'(' is no pattern that can be used"),
        (("silence", f"host={'x' * 600}"), "String should have at most 500 characters"),
        (("silence", *("host=a",) * 21), "matchers: Tuple should have at most 20 items"),
        (("unsilence", "abc"), "there are no silences whose id begins with 'abc'"),
        (("unsilence", ""), "there are no silences whose id begins with ''"),
        (("pause", "--reason", "x" * 2001), "reason: String should have at most 2000 characters"),
        (("pause", "--by", "x" * 513), "by: String should have at most 512 characters"),
        (("pause", "--reason", "\udcff"), "reason: Input should be a valid string"),
        (("resume", "--by", "\udcff"), "by: Input should be a valid string"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_one_line(desk: Desk, words: tuple[str, ...], reason: str) -> None:
    assert reason in desk.refuses(*words)


@pytest.mark.parametrize("span", ["1", "h", "2y", "-1h", "1.5h", "²h", "9999999s", "0s"])
def test_what_is_no_duration_is_refused(desk: Desk, span: str) -> None:
    done = desk.run("pause", "--for", span)
    assert (done.exit_code, desk.asked()) == (2, [])
    assert f"{span!r} is no duration: write 30s, 45m, 2h or 7d." in done.stderr


def test_a_topic_that_is_missing_and_keys_that_cannot_be_used_are_one_line(desk: Desk, tmp_path: Path) -> None:
    empty = Desk(tmp_path / "empty.db", desk.world)
    with EmbeddedLog(empty.path, durable=False):
        pass
    for words in (("list",), ("show", "x")):
        done = empty.run(*words)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
        assert "`relight setup`" in done.stderr
    keys = tmp_path / "keys" / "requests.keys"
    keys.parent.mkdir(exist_ok=True)
    keys.write_text("nonsense and more\n")
    keys.chmod(0o600)
    done = desk.run("pause")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


@pytest.mark.parametrize("number", range(6))
def test_the_settings_in_the_manual_can_be_used(tmp_path: Path, number: int) -> None:
    page = (Path(__file__).parents[2] / "docs" / "remediation.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 6
    file = tmp_path / "relight.toml"
    file.write_text(blocks[number])
    found = settings({}, file)
    assert found.remediate.dry_run is (number > 0)
    assert len(found.remediate.maintenance) == (2 if number == 0 else 0)


# hostile names


@pytest.fixture
def hostile(path: Path) -> Desk:
    """Everything that can come from a log or from another's hand is hostile."""
    w = world(rung("restart_job", timeout="30m", why=f"It is worth a try {HOSTILE}"), notify())
    w.fails(HOSTILE, host=f"node {HOSTILE}", job="48211")
    w.tick()
    w.report(w.last().id, OutcomeStatus.STARTED)
    w.report(w.last().id, OutcomeStatus.FAILED, reason=HOSTILE, output=HOSTILE)
    w.ask(RequestKind.PAUSE, by=HOSTILE, reason=HOSTILE)
    w.ask(RequestKind.PAUSE, by=HOSTILE, cluster=None)
    w.ask(RequestKind.SILENCE, matchers=(w_matcher(HOSTILE),), by=HOSTILE, reason=HOSTILE)
    w.tick()
    return desk_of(path, w)


def w_matcher(value: str):  # type: ignore[no-untyped-def]
    from schemas.command import Matcher

    return Matcher(label="host", value=value)


def test_nothing_hostile_reaches_a_terminal_or_a_program(hostile: Desk) -> None:
    name = hostile.of("restart_job").id
    printed = [
        hostile.run("list", "--all").stdout,
        hostile.run("show", name).stdout,
        ESCAPE.sub("", hostile.on_a_terminal(80, "list", "--all")),
        hostile.run("unsilence", next(iter(hostile.world.cases.silences))).stdout,
        *(json.dumps(json.loads(hostile.run(*words, "-f", "json").stdout), ensure_ascii=False, indent=0)
          for words in (("list", "--all"), ("show", name))),
    ]  # fmt: skip
    for text in printed:
        assert BAD.search(text.replace("\n", " ")) is None, repr(text)
        assert "[red]x[/]" in text or "restart_job" in text, "brackets are no marks of ours"
    states = [line for line in printed[1].splitlines() if line.startswith("State ")]
    assert len(states) == 1, "a line cannot be added"
    assert "[red]x[/]" in printed[2]
