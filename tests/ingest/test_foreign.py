"""One log line a record, as the shippers of others send it: where it came from, and what is matched of it."""

import io
import json
from calendar import timegm
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.matching.scanner import Scanner
from diagnose.rules import Catalogue
from ingest.chunks import chunks
from ingest.decode import decoder_for
from ingest.foreign import MAX_BYTES, ForeignLine, foreign_line
from schemas.record import Decoded, Source

AT_S = timegm((2024, 5, 1, 4, 11, 25)) + 0.5
"""2024-05-01T04:11:25.5Z, the time of most lines below."""
APPENDED_MS = int(AT_S + 60) * 1000
MESSAGE = 'RuntimeError: "boom" in /opt/train/a.py: C:\\tmp <café>'


def read(value: bytes | str | dict[str, Any], key: bytes | None = None) -> ForeignLine:
    raw = orjson.dumps(value) if isinstance(value, dict) else value.encode() if isinstance(value, str) else value
    return foreign_line(raw, key, APPENDED_MS)


def decoded(line: ForeignLine) -> Decoded:
    """Decode a line as the first of its source."""
    return decoder_for(Source(line.stream), line.segment)(line.segment)


def fluent_bit(message: str = MESSAGE, **more: Any) -> dict[str, Any]:
    """Return a record of a tailed container, as out_kafka sends it with the Kubernetes filter."""
    pod = {"pod_name": "llm-worker-3", "namespace_name": "ml", "pod_id": "6f0c", "host": "gpu-17",
           "container_name": "pytorch", "docker_id": "ab12", "container_image": "train:1",
           "labels": {"training.kubeflow.org/job-name": "llm", "training.kubeflow.org/replica-index": "3"}}  # fmt: skip
    return {"@timestamp": AT_S, "log": message, "stream": "stderr", "logtag": "F", "kubernetes": pod} | more


def vector(message: str = MESSAGE, **more: Any) -> dict[str, Any]:
    """Return an event of Vector's source `kubernetes_logs`."""
    pod = {"pod_name": "llm-0-1-x7", "pod_namespace": "ml", "pod_node_name": "gpu-17", "container_name": "pytorch",
           "pod_uid": "6f0c", "pod_labels": {"batch.kubernetes.io/job-name": "llm-workers-0",
                                             "jobset.sigs.k8s.io/jobset-name": "llm",
                                             "jobset.sigs.k8s.io/restart-attempt": "2"}}  # fmt: skip
    return {
        "file": "/var/log/pods/ml_llm-0-1-x7_6f0c/pytorch/0.log",
        "kubernetes": pod,
        "message": message,
        "source_type": "kubernetes_logs",
        "stream": "stdout",
        "timestamp": "2024-05-01T04:11:25.500000000Z",
    } | more


def filebeat(message: str = MESSAGE, **more: Any) -> dict[str, Any]:
    """Return an event of Filebeat's input `filestream` with the default codec."""
    return {
        "@timestamp": "2024-05-01T04:11:25.500Z",
        "@metadata": {"beat": "filebeat", "type": "_doc", "version": "8.15.0"},
        "log": {"offset": 4711, "file": {"path": "/var/log/train/rank3.log", "inode": "12"}},
        "message": message,
        "input": {"type": "filestream"},
        "host": {"name": "gpu-17"},
        "agent": {"type": "filebeat", "name": "gpu-17", "version": "8.15.0"},
        "ecs": {"version": "8.0.0"},
    } | more


def rsyslog(message: str = MESSAGE, **more: Any) -> dict[str, Any]:
    """Return what a list template of rsyslog makes of a line."""
    return {
        "@timestamp": "2024-05-01T06:11:25.500000+02:00",
        "host": "gpu-17",
        "severity": "err",
        "syslogtag": "python[12]:",
        "message": f" {message}",
    } | more


SHAPES: dict[str, Callable[..., dict[str, Any]]] = {
    "fluent-bit": fluent_bit,
    "vector": vector,
    "filebeat": filebeat,
    "rsyslog": rsyslog,
}
STREAMS = {
    "fluent-bit": "ml/llm-worker-3/pytorch",
    "vector": "ml/llm-0-1-x7/pytorch",
    "filebeat": "/var/log/train/rank3.log",
    "rsyslog": "syslog",
}
each_shipper = pytest.mark.parametrize("shipper", SHAPES)


def ascii_only(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()


def slashes_escaped(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record).replace(b"/", rb"\/")


def html_escaped(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record).replace(b"<", rb"\u003c").replace(b">", rb"\u003e")


def indented(record: dict[str, Any]) -> bytes:
    return b"\r\n" + orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n"


each_writer = pytest.mark.parametrize("write", [orjson.dumps, ascii_only, slashes_escaped, html_escaped, indented])


@each_shipper
@each_writer
def test_host_stream_time_and_message_of_every_shipper_are_read(
    shipper: str, write: Callable[[dict[str, Any]], bytes]
) -> None:
    line = read(write(SHAPES[shipper]()))
    assert (line.host, line.stream, line.time_s) == ("gpu-17", STREAMS[shipper], AT_S)
    assert b"\n" not in line.segment
    found = decoded(line)
    assert found.message.decode() == MESSAGE
    assert (found.origin.host, found.origin.time_s) == ("gpu-17", AT_S)


@pytest.mark.parametrize(
    ("shipper", "write"),
    [
        ("fluent-bit", ascii_only),
        ("vector", orjson.dumps),
        ("filebeat", html_escaped),
        ("filebeat", indented),
        ("rsyslog", slashes_escaped),
    ],
)
def test_matching_finds_in_a_record_what_it_finds_in_the_line(
    shipper: str, write: Callable[[dict[str, Any]], bytes], scanner: Scanner, known: Catalogue
) -> None:
    lines = [(signature.id, signature.match[0]) for signature in known.signatures if signature.kind == "fault"]
    assert len(lines) > 50
    missed = [
        name
        for name, text in lines
        if name in names(scanner, text.encode())
        and name not in names(scanner, read(write(SHAPES[shipper](text))).segment)
    ]
    assert missed == []


def names(scanner: Scanner, line: bytes) -> list[str]:
    """Return the signatures found in a line that is a source of its own."""
    decoder = decoder_for(Source("a", modified_s=AT_S), line)
    return [found.signature.id for chunk in chunks(io.BytesIO(line)) for found in scanner.findings(chunk, decoder)]


@pytest.mark.parametrize(
    ("line", "time_s"),
    [
        ("<3>May  1 04:11:25 gpu-17 kernel: boom", AT_S - 0.5),
        ("May  1 04:11:25 gpu-17 kernel: boom", AT_S - 0.5),
        ("<3>1 2024-05-01T04:11:25.5Z gpu-17 kernel - - - boom", AT_S),
        ("<3>2024-05-01T06:11:25.500000+02:00 gpu-17 kernel: boom", AT_S),
        ("2024-05-01T06:11:25.500000+02:00 gpu-17 systemd: boom", AT_S),
        ("2024-05-01T04:11:25.5Z login.example.com sshd[12]: boom", AT_S),
    ],
)
def test_a_raw_syslog_line_tells_host_and_time(line: str, time_s: float) -> None:
    found = read(line + "\r\n", key=b"relay-1")
    assert (found.host.split(".")[0], found.stream, found.time_s) in (
        ("gpu-17", "syslog", time_s), ("login", "syslog", time_s))  # fmt: skip
    assert found.segment == line.encode()


@pytest.mark.parametrize(
    "line",
    [
        "step 12 loss 2.5",
        "  File \"a.py\", line 3, in f",
        "2024-05-01T04:11:25Z worker ready: ok",
        "2024-05-01T04:11:25Z stderr F boom: no",
        "2024-05-01T04:11:25Z rank0 step: 3",
        '{"cut": "off',
        "{'a': 1}",
        "[rank3]: boom",
        "[1, 2, 3]",
        "[]",
        '"a"',
        "17",
        "caf\xe9 \x1b[31mred\x1b[0m",
    ],
)  # fmt: skip
def test_other_text_is_a_raw_line_whose_key_may_name_the_host(line: str) -> None:
    raw = line.encode("latin-1")
    assert read(raw + b"\n", key=b"gpu-17") == ForeignLine("gpu-17", "lines", raw)
    assert read(raw) == ForeignLine("unknown", "lines", raw)


@pytest.mark.parametrize(
    "key", [b"", b"logs", b"12345", b"6f0c1c9e-5b1a-4a2e-9d57-0d6b8f6a1c11", b"a b1", b"\xff1", b"-1a"]
)
def test_a_key_that_is_no_hosts_name_names_none(key: bytes) -> None:
    assert read("step 12", key=key).host == "unknown"


@pytest.mark.parametrize("key", [b"gpu-17", b"10.0.0.3", b"login.example.com", b"n1"])
def test_a_key_that_is_a_hosts_name_names_the_host(key: bytes) -> None:
    assert read("step 12", key=key).host == key.decode()
    assert read({"message": "step 12"}, key=key).host == key.decode()


def test_a_raw_record_may_hold_several_lines() -> None:
    assert read(b"Traceback:\n  File\r\n\n").segment == b"Traceback:\n  File"


def test_what_a_json_record_does_not_tell_the_syslog_line_in_it_does() -> None:
    line = read({"@timestamp": AT_S + 9, "log": "May  1 04:11:25 gpu-17 kernel: boom"}, key=b"relay-1")
    assert (line.host, line.stream, line.time_s) == ("gpu-17", "syslog", AT_S + 9)
    assert read({"log": "May  1 04:11:25 gpu-17 kernel: boom"}).time_s == AT_S - 0.5


def test_a_pods_node_is_its_host_and_not_the_pod_in_which_the_shipper_runs() -> None:
    pod = {"node": {"name": "gpu-17"}, "pod": {"name": "llm-0"}, "namespace": "ml", "container": {"name": "pytorch"}}
    line = read(filebeat(host={"name": "filebeat-x2k"}, kubernetes=pod))
    assert (line.host, line.stream) == ("gpu-17", "ml/llm-0/pytorch")
    assert decoded(line).origin.host == "gpu-17"


@pytest.mark.parametrize(
    ("record", "stream"),
    [
        ({"file": "/var/log/a.log", "message": "x"}, "/var/log/a.log"),
        ({"log.file.path": "/var/log/a.log", "message": "x"}, "/var/log/a.log"),
        ({"$!": {"metadata": {"filename": "/var/log/a.log"}}, "msg": "x"}, "/var/log/a.log"),
        ({"filename": "train.py", "message": "x"}, "lines"),
        ({"container_name": "/trainer", "log": "x"}, "trainer"),
        ({"MESSAGE": "x", "_BOOT_ID": "1", "_TRANSPORT": "kernel"}, "journal"),
        ({"message": "x", "source_type": "journald"}, "journal"),
        ({"message": "x", "input": {"type": "journald"}}, "journal"),
        ({"message": "x", "appname": "sshd", "source_type": "syslog"}, "syslog"),
        ({"message": "x", "file": 3, "kubernetes": "none", "log": []}, "lines"),
    ],
)
def test_the_stream_is_what_people_know_the_source_by(record: dict[str, Any], stream: str) -> None:
    assert read(record).stream == stream


@pytest.mark.parametrize("labels", ["labels", "pod_labels"])
@pytest.mark.parametrize(
    ("told", "job", "attempt"),
    [
        ({"training.kubeflow.org/job-name": "llm", "batch.kubernetes.io/job-name": "b"}, "llm", None),
        ({"training_kubeflow_org/job-name": "llm"}, "llm", None),
        ({"jobset.sigs.k8s.io/jobset-name": "llm", "jobset.sigs.k8s.io/restart-attempt": "0"}, "llm", "0"),
        ({"jobset_sigs_k8s_io/jobset-name": "llm", "jobset_sigs_k8s_io/restart-attempt": "2"}, "llm", "2"),
        ({"ray.io/cluster": "llm-x7k2p", "ray.io/originated-from-cr-name": "llm"}, "llm", None),
        ({"ray.io/cluster": "llm"}, "llm", None),
        ({"batch.kubernetes.io/job-name": "llm"}, "llm", None),
        ({"app": "web"}, None, None),
    ],
)
def test_the_labels_of_a_pod_name_the_job(labels: str, told: dict[str, str], job: str, attempt: str) -> None:
    line = read({"message": "x", "kubernetes": {"pod_name": "p", labels: told}})
    assert (line.job, line.attempt) == (job, attempt)


def test_what_an_operator_adds_names_the_slurm_job() -> None:
    line = read({"message": "x", "slurm_job_id": 561, "slurm_restart_count": 0, "rank": 3})
    assert (line.job, line.attempt, line.rank) == ("561", "0", 3)
    line = read(filebeat(fields={"SLURM_JOB_ID": "561", "SLURM_RESTART_COUNT": "1"}))
    assert (line.job, line.attempt, line.rank) == ("561", "1", None)


JOURNAL = {
    "_BOOT_ID": "9d",
    "_TRANSPORT": "kernel",
    "SYSLOG_FACILITY": "0",
    "SYSLOG_IDENTIFIER": "kernel",
    "PRIORITY": "3",
}


@pytest.mark.parametrize(
    "record",
    [
        JOURNAL | {"MESSAGE": "boom", "_HOSTNAME": "gpu-17", "@timestamp": AT_S},
        JOURNAL | {"MESSAGE": [98, 111, 111, 109], "_HOSTNAME": "gpu-17", "__REALTIME_TIMESTAMP": str(int(AT_S * 1e6))},
        JOURNAL
        | {"message": "boom", "host": "gpu-17", "source_type": "journald", "timestamp": "2024-05-01T04:11:25.500Z"},
    ],
    ids=["fluent-bit", "journalctl", "vector"],
)
def test_the_journal_is_read_as_each_shipper_passes_it_on(record: dict[str, Any]) -> None:
    line = read(record)
    assert (line.host, line.stream, line.time_s) == ("gpu-17", "journal", AT_S)
    found = decoded(line)
    assert found.message == b"boom"
    assert (found.origin.host, found.origin.time_s, found.origin.level) == ("gpu-17", AT_S, "error")


def test_a_json_record_that_is_not_all_utf_8_is_one() -> None:
    line = read(b'{"host":"gpu-17","message":"caf\xe9 boom"}\n')
    assert line.host == "gpu-17"
    assert decoded(line).message.decode() == "caf� boom"


def test_the_blank_behind_a_syslog_tag_is_none_of_the_message_but_indentation_is() -> None:
    assert decoded(read(rsyslog("  File"))).message == b"  File"
    assert decoded(read(rsyslog() | {"syslogtag": "train", "message": "  File"})).message == b"  File"


def test_a_level_below_log_is_read() -> None:
    assert decoded(read(filebeat(log={"level": "ERROR"}))).origin.level == "error"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "empty"),
        (b"\r\n", "empty"),
        (b"a" * (MAX_BYTES + 1), "more than the 1,048,576"),
        (b"\x00ab\x00\x00\x00cd", "binary"),
        (b"\x01\x02\x03\x04 text", "binary"),
        (b"\x7fELF\x02\x01\x01\x00", "an ELF program"),
        (b"\x82\xaa@timestamp\xcbA\xd9\x8a\xa3log\xa4boom", "set `format json`"),
        (b'[{"message":"a"},{"message":"b"}]', "one record a line"),
        (b'\n[ {"message": "a"} ]\n', "one record a line"),
    ],
)
def test_what_is_no_line_is_refused_with_the_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        foreign_line(value, None, APPENDED_MS)


KEYS = st.sampled_from(
    ["message", "log", "host", "name", "kubernetes", "labels", "file", "path", "node", "pod", "rank", "fields", "$!"]
) | st.sampled_from(
    ["@timestamp", "_BOOT_ID", "slurm_job_id", "container_name", "namespace", "syslogtag", "ray.io/cluster", "input"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(
    st.binary(max_size=80) | st.dictionaries(KEYS, VALUES, max_size=6).map(lambda r: json.dumps(r).encode()),
    st.none() | st.binary(max_size=20),
)
def test_any_bytes_are_a_line_that_can_be_decoded_or_are_refused(value: bytes, key: bytes | None) -> None:
    try:
        line = foreign_line(value, key, APPENDED_MS)
    except ValueError:
        return
    assert line.host
    assert line.stream
    assert line.segment
    assert decoded(line) == decoded(line)
