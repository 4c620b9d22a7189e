"""What is found below the paths that people name: files, directories, patterns, pipes, archives, rotated logs."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import socket
import subprocess
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ingest import archives
from ingest.chunks import chunks
from ingest.errors import Unreadable
from ingest.rotation import natural, streams
from ingest.sources import Discovery, Input, discover
from schemas.record import Origin

TEXT = b"".join(b"step %d loss %f\n" % (step, 1 / (step + 1)) for step in range(20_000))
DICE = random.Random(1)
NOISY = b"".join(b"step %d %s\n" % (n, DICE.randbytes(20).hex().encode()) for n in range(60_000))
"""Hard to compress: half of the packed bytes give about half of the lines."""

ROOT = Path(__file__).parents[2]

CODECS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "xz": lambda data: lzma.compress(data, preset=0),
    "bz2": bz2.compress,
}


def names(found: Discovery) -> list[str]:
    return [one.source.name for one in found.inputs]


def read(one: Input) -> bytes:
    with one.open() as stream:
        return stream.read()


def read_to_damage(one: Input) -> tuple[bytes, str]:
    """Return what can be read, and why no more."""
    parts = []
    with one.open() as stream:
        try:
            while block := stream.read(1000):
                parts.append(block)
        except Unreadable as error:
            return b"".join(parts), str(error)
    raise AssertionError("nothing was said to be damaged")


def copied(value: Any) -> Any:
    """Return a value as another process gets it."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


def tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_714_521_600
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


# Paths


def test_a_file_is_an_input_with_its_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(TEXT)
    os.utime(path, (5, 1_714_521_600))
    (one,) = discover([str(path)]).inputs
    assert (one.source.name, one.source.size_bytes, one.source.modified_s) == (str(path), len(TEXT), 1_714_521_600)
    assert one.source.path[-1] == "train.log"
    assert one.seekable_path == path
    assert read(one) == TEXT


def test_files_in_directories_come_in_natural_order_with_their_path_below(tmp_path: Path) -> None:
    for node in (10, 2, 1):
        (tmp_path / f"node{node}").mkdir()
        (tmp_path / f"node{node}" / "out.log").write_bytes(b"x\n")
    found = discover([str(tmp_path)])
    assert [one.source.path for one in found.inputs] == [(f"node{n}", "out.log") for n in (1, 2, 10)]
    assert found.problems == ()


def test_the_origin_is_told_from_the_path(tmp_path: Path) -> None:
    (tmp_path / "node7").mkdir()
    (tmp_path / "node7" / "out.log").write_bytes(b"x\n")
    (one,) = discover([str(tmp_path)], lambda path: Origin(host=path[0])).inputs
    assert one.source.origin.host == "node7"


def test_a_pattern_the_shell_left_alone_is_expanded(tmp_path: Path) -> None:
    for name in ("b10.out", "b9.out", "a.err"):
        (tmp_path / name).write_bytes(b"x\n")
    assert names(discover([f"{tmp_path}/*.out"])) == [f"{tmp_path}/b9.out", f"{tmp_path}/b10.out"]


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "run[1].log").write_bytes(b"x\n")
    assert names(discover([f"{tmp_path}/run[1].log"])) == [f"{tmp_path}/run[1].log"]


def test_hidden_files_are_passed_over_and_empty_ones_kept(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "log").write_bytes(b"x\n")
    (tmp_path / ".hidden.log").write_bytes(b"x\n")
    (tmp_path / "empty.log").write_bytes(b"")
    assert names(discover([str(tmp_path)])) == [f"{tmp_path}/empty.log"]


def test_links_to_files_are_followed_and_links_to_directories_are_not(tmp_path: Path) -> None:
    elsewhere, logs = tmp_path / "elsewhere", tmp_path / "logs"
    elsewhere.mkdir()
    logs.mkdir()
    (elsewhere / "real.log").write_bytes(b"x\n")
    (logs / "linked.log").symlink_to(elsewhere / "real.log")
    (logs / "loop").symlink_to(logs)
    (logs / "dead.log").symlink_to(tmp_path / "nowhere")
    found = discover([str(logs)])
    assert names(found) == [f"{logs}/linked.log"]
    assert Counter(skipped.reason for skipped in found.skipped) == {"a link to a directory": 1, "a dead link": 1}


def test_a_file_reached_twice_is_read_once_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_bytes(b"x\n")
    (tmp_path / "latest.log").symlink_to(tmp_path / "run.log")
    assert names(discover([str(tmp_path), f"{tmp_path}/run.log", f"{tmp_path}/latest.log"])) == [f"{tmp_path}/run.log"]


def test_a_pipe_and_a_socket_in_a_directory_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        found = discover(["."])
    assert found.inputs == ()
    assert Counter(skipped.reason for skipped in found.skipped) == {"a socket, a pipe or a device": 2}


BINARY = {
    "a.out": b"\x7fELF\x02\x01\x01" + bytes(range(256)),
    "model.pt": b"PK\x03\x04" + bytes(range(256)),
    "model.safetensors": (300).to_bytes(8, "little") + b'{"weight":{"dtype":"F16"}}' + b" " * 300,
    "x.npy": b"\x93NUMPY\x01\0v\0{'descr': '<f4'}",
    "x.pkl": b"\x80\x04\x95\x10\0\0\0\0\0\0\0}.",
    "runs.db": b"SQLite format 3\0" + b"\0" * 100,
    "loss.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
    "x.parquet": b"PAR1\x15\x04\x15" + bytes(range(200)),
    "events.out.tfevents.1.host": b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09\0\0\x80\x1b\xd5\x8a\xd9\x41\x1a\x0d" * 9,
    "noise": random.Random(1).randbytes(4000),
    "words.txt": b"\xff\xfe" + "step 1\n".encode("utf-16-le"),
    "zeros": b"\0" * 5000,
}


@pytest.mark.parametrize("name", BINARY)
def test_a_binary_file_is_skipped_in_a_directory_and_read_when_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BINARY[name])
    (tmp_path / "packed.gz").write_bytes(gzip.compress(BINARY[name]))
    found = discover([str(tmp_path)])
    assert found.inputs == ()
    assert sorted(skipped.path for skipped in found.skipped) == sorted([f"{tmp_path}/{name}", f"{tmp_path}/packed.gz"])
    (one,) = discover([f"{tmp_path}/{name}"]).inputs
    assert read(one) == BINARY[name]


TEXTUAL = {
    "ansi.log": b"\x1b[32mINFO\x1b[0m step 1\n" * 50,
    "progress.log": b"\r 1%|#         | 1/100\x08\x08" * 50,
    "utf8.log": "Verlust steigt: Größe über 3 \u2014 \u26a0\n".encode() * 50,
    "latin1.log": "Verlust f\u00e4llt\n".encode("latin-1") * 50,
    "hole.log": b"\0" * 100_000 + b"step 1\n" * 50,
    "tail.log": b"step 1\n" * 50 + b"\0" * 5000,
    "short.log": b"K",
}


@pytest.mark.parametrize("name", TEXTUAL)
def test_unusual_text_is_no_binary_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(TEXTUAL[name])
    assert names(discover([str(tmp_path)])) == [f"{tmp_path}/{name}"]


# Problems


def test_missing_paths_and_patterns_without_match_are_problems_that_say_what_to_do(tmp_path: Path) -> None:
    found = discover([f"{tmp_path}/none.log", f"{tmp_path}/*.log", "", "a\0b"])
    assert [problem.path for problem in found.problems] == [f"{tmp_path}/none.log", f"{tmp_path}/*.log", "", "a\0b"]
    assert all(problem.what and problem.advice for problem in found.problems)


def test_an_empty_directory_is_a_problem(tmp_path: Path) -> None:
    assert [problem.what for problem in discover([str(tmp_path)]).problems] == ["An empty directory"]


@pytest.mark.skipif(os.getuid() == 0, reason="NOT TESTED: to root, who runs this, nothing is forbidden")
def test_what_may_not_be_read_is_a_problem_and_the_rest_is_found(tmp_path: Path) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(b"x\n")
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "a.log").chmod(0)
    found = discover([str(tmp_path)])
    assert names(found) == [f"{tmp_path}/b.log"]
    assert [problem.what for problem in found.problems] == ["Permission denied"] * 2


def test_a_file_below_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_bytes(b"x\n")
    found = discover([f"{tmp_path}/train.log/rank0.log"])
    assert found.inputs == ()
    assert found.problems[0].what == "Not a directory"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="NOT TESTED: no /proc here")
def test_a_file_whose_reading_fails_is_a_problem() -> None:
    found = discover(["/proc/self/mem"])
    assert found.inputs == ()
    assert found.problems[0].what == "Input/output error"


def test_a_directory_that_took_the_place_of_a_file_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"x\n")
    (one,) = discover([str(path)]).inputs
    path.unlink()
    path.mkdir()
    with pytest.raises(Unreadable, match="Is a directory"):
        one.open()


def test_a_device_is_a_problem() -> None:
    assert discover(["/dev/null"]).problems[0].what == "A socket or a device"


def test_unreadable_survives_the_way_between_processes() -> None:
    error = copied(Unreadable("train.log", "damaged"))
    assert (error.source, error.reason, str(error)) == ("train.log", "damaged", "train.log: damaged")


# Pipes


def test_standard_input_is_kept_on_disk_and_can_be_read_again() -> None:
    found = discover(["-", "-"], stdin=io.BytesIO(TEXT))
    (one,) = found.inputs
    assert one.source.name == "stdin"
    assert read(one) == read(one) == TEXT


def test_compressed_standard_input_is_decompressed() -> None:
    (one,) = discover(["-"], stdin=io.BytesIO(gzip.compress(TEXT))).inputs
    assert read(one) == TEXT


def test_another_process_can_open_standard_input() -> None:
    (one,) = discover(["-"], stdin=io.BytesIO(TEXT)).inputs
    program = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer).open().read()))"
    result = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(one), cwd=ROOT, capture_output=True, check=True
    )
    assert int(result.stdout) == len(TEXT)


def test_a_named_pipe_is_read_once_as_standard_input_is() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"step 1\n")
    os.close(writing)
    (one,) = discover([f"/dev/fd/{reading}", f"/proc/self/fd/{reading}"]).inputs
    os.close(reading)
    assert read(one) == read(one) == b"step 1\n"


# Compression


@pytest.mark.parametrize("codec", CODECS)
def test_compressed_files_are_known_by_content_and_not_by_name(tmp_path: Path, codec: str) -> None:
    (tmp_path / "train.log").write_bytes(CODECS[codec](TEXT))
    (tmp_path / f"plain.{codec}").write_bytes(TEXT)
    found = discover([str(tmp_path)])
    assert [read(one) for one in found.inputs] == [TEXT, TEXT]
    assert {one.source.name: one.seekable_path is None for one in found.inputs} == {
        f"{tmp_path}/train.log": True,
        f"{tmp_path}/plain.{codec}": False,
    }


@pytest.mark.parametrize("codec", CODECS)
def test_concatenated_members_are_one_source(tmp_path: Path, codec: str) -> None:
    pack = CODECS[codec]
    (tmp_path / "log").write_bytes(pack(TEXT) + pack(b"") + pack(b"end\n"))
    assert read(discover([f"{tmp_path}/log"]).inputs[0]) == TEXT + b"end\n"


@pytest.mark.parametrize("codec", ["gz", "xz", "bz2"])
def test_padding_after_compressed_data_is_passed_over(tmp_path: Path, codec: str) -> None:
    (tmp_path / "log").write_bytes(CODECS[codec](TEXT) + b"\0" * 512)
    assert read(discover([f"{tmp_path}/log"]).inputs[0]) == TEXT


def test_gzip_in_gzip_is_unpacked_twice(tmp_path: Path) -> None:
    (tmp_path / "log.gz").write_bytes(gzip.compress(CODECS["zst"](gzip.compress(TEXT))))
    assert read(discover([f"{tmp_path}/log.gz"]).inputs[0]) == TEXT


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seed", range(5))
def test_large_and_hardly_compressible_data_come_out_whole(tmp_path: Path, codec: str, seed: int) -> None:
    dice = random.Random(seed)
    data = b"".join(dice.choice([dice.randbytes(9000), b"x" * 400_000, TEXT]) for _ in range(12))
    (tmp_path / "log").write_bytes(CODECS[codec](data))
    assert read(discover([f"{tmp_path}/log"]).inputs[0]) == data


@pytest.mark.parametrize("codec", CODECS)
def test_truncated_data_are_unreadable_after_all_that_could_be_had(tmp_path: Path, codec: str) -> None:
    packed = CODECS[codec](NOISY)
    (tmp_path / "log").write_bytes(packed[: len(packed) * 2 // 3])
    data, why = read_to_damage(discover([f"{tmp_path}/log"]).inputs[0])
    assert NOISY.startswith(data)
    assert len(data) > len(NOISY) // 3
    assert why == f"{tmp_path}/log: damaged data: it ends in the middle"


@pytest.mark.parametrize(("data", "missing"), [(TEXT, 1000), (b"x" * 10_000_000, 100), (b"x" * 10_000_000, 5000)])
def test_of_truncated_gzip_every_byte_is_had_that_zlib_can_give(tmp_path: Path, data: bytes, missing: int) -> None:
    packed = gzip.compress(data)[:-missing]
    (tmp_path / "log").write_bytes(packed)
    had, _ = read_to_damage(discover([f"{tmp_path}/log"]).inputs[0])
    assert had == zlib.decompressobj(31).decompress(packed)


def test_a_wrong_checksum_is_said_after_all_the_data(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[-6] ^= 1
    (tmp_path / "log").write_bytes(packed)
    data, why = read_to_damage(discover([f"{tmp_path}/log"]).inputs[0])
    assert data == TEXT
    assert "incorrect data check" in why


@pytest.mark.parametrize("codec", CODECS)
def test_chunks_of_a_truncated_file_come_before_the_error(tmp_path: Path, codec: str) -> None:
    packed = CODECS[codec](NOISY)
    (tmp_path / "log").write_bytes(packed[: len(packed) * 2 // 3])
    (one,) = discover([f"{tmp_path}/log"]).inputs
    whole, _ = read_to_damage(one)
    found: list[bytes] = []
    with one.open() as stream, pytest.raises(Unreadable):
        found.extend(chunk.data[chunk.start : chunk.end] for chunk in chunks(stream, 100_000))
    assert b"".join(found) == whole


def test_a_file_of_which_nothing_can_be_decompressed_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "log.gz").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 100)
    found = discover([str(tmp_path)])
    assert found.inputs == ()
    assert found.problems[0].what.startswith("damaged data")


# Archives


def test_the_members_of_an_archive_are_sources(tmp_path: Path) -> None:
    path = tmp_path / "run.tar.gz"
    path.write_bytes(gzip.compress(tar({"./node2/a.log": b"a\n", "node10/b.log.gz": gzip.compress(TEXT)})))
    found = discover([str(tmp_path)])
    assert names(found) == [f"{path}!/node2/a.log", f"{path}!/node10/b.log.gz"]
    assert [read(one) for one in found.inputs] == [b"a\n", TEXT]
    assert [one.source.path for one in found.inputs] == [
        ("run.tar.gz", "node2", "a.log"),
        ("run.tar.gz", "node10", "b.log.gz"),
    ]
    assert found.inputs[0].source.modified_s == 1_714_521_600
    assert [one.source.size_bytes for one in found.inputs] == [2, None]
    assert all(one.seekable_path is None and one.archive == str(path) for one in found.inputs)


def test_all_members_are_read_in_one_pass(tmp_path: Path) -> None:
    path = tmp_path / "run.tar.zst"
    path.write_bytes(CODECS["zst"](tar({f"rank{n}.log": TEXT[: n * 1000] for n in range(20)})))
    wanted = {one.member: one for one in discover([str(path)]).inputs}
    seen = {name: stream.read() for name, stream in archives.members(str(path)) if name in wanted}
    assert seen == {f"rank{n}.log": TEXT[: n * 1000] for n in range(20)}


def test_members_that_are_not_read_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run.tar"
    path.write_bytes(tar({"a.log": TEXT, "b.log": TEXT, "c.log": b"end\n"}))
    seen = {name: stream.read(4) for name, stream in archives.members(str(path))}
    assert seen == {"a.log": TEXT[:4], "b.log": TEXT[:4], "c.log": b"end\n"}


def test_an_archive_in_an_archive_is_opened_too(tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    path.write_bytes(tar({"node1.tar.gz": gzip.compress(tar({"a.log": TEXT})), "b.log": b"b\n"}))
    found = discover([str(path)])
    assert names(found) == [f"{path}!/node1.tar.gz!/a.log", f"{path}!/b.log"]
    assert [read(one) for one in found.inputs] == [TEXT, b"b\n"]


def test_links_devices_hidden_and_binary_members_are_no_sources(tmp_path: Path) -> None:
    path = tmp_path / "run.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in [("link.log", tarfile.SYMTYPE), ("dev.log", tarfile.CHRTYPE), ("pipe", tarfile.FIFOTYPE)]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name, content in [(".git/log", b"x\n"), ("m.pt", BINARY["model.pt"]), ("../../etc/a.log", b"a\n")]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    found = discover([str(path)])
    assert names(found) == [f"{path}!/etc/a.log"]
    assert [skipped.path for skipped in found.skipped] == [f"{path}!/m.pt"]


def test_members_of_one_name_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "run.tar"
    with tarfile.open(path, "w") as archive:
        for content in (b"old\n", b"new\n"):
            info = tarfile.TarInfo("a.log")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    found = discover([str(path)])
    assert {one.member: read(one) for one in found.inputs} == {"a.log": b"old\n", "a.log#2": b"new\n"}


def test_names_longer_than_a_header_are_kept(tmp_path: Path) -> None:
    name = "/".join(["node" * 20] * 4) + "/a.log"
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"run{kind}.tar"
        with tarfile.open(path, "w", format=kind) as archive:
            info = tarfile.TarInfo(name)
            info.size = 2
            archive.addfile(info, io.BytesIO(b"a\n"))
        assert [(one.member, read(one)) for one in discover([str(path)]).inputs] == [(name, b"a\n")]


def test_a_bad_member_spoils_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.tar.gz"
    bad = gzip.compress(NOISY)
    members = {
        "a.log": b"a\n",
        "bad.log.gz": bad[: len(bad) // 2],
        "worse.gz": bad[:12] + b"\xff" * 99,
        "c.log": b"c\n",
    }
    path.write_bytes(gzip.compress(tar(members)))
    found = discover([str(path)])
    assert [one.member for one in found.inputs] == ["a.log", "bad.log.gz", "c.log"]
    assert [problem.path for problem in found.problems] == [f"{path}!/worse.gz"]
    data, why = read_to_damage(found.inputs[1])
    assert NOISY.startswith(data)
    assert len(data) > len(NOISY) // 4
    assert why.startswith(f"{path}!/bad.log.gz: damaged data")
    assert read(found.inputs[2]) == b"c\n"


@pytest.mark.parametrize("codec", ["gz", "zst", "xz"])
def test_what_comes_before_the_damage_of_an_archive_is_read(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "run.tar.gz"
    packed = CODECS[codec](tar({"a.log": NOISY[:100_000], "b.log": NOISY, "c.log": NOISY}))
    path.write_bytes(packed[: len(packed) // 2])
    found = discover([str(path)])
    assert [one.member for one in found.inputs] == ["a.log", "b.log"]
    assert [problem.path for problem in found.problems] == [str(path)]
    assert read(found.inputs[0]) == NOISY[:100_000]
    data, _ = read_to_damage(found.inputs[1])
    assert NOISY.startswith(data)
    assert len(data) > len(NOISY) // 3


def test_a_truncated_archive_gives_every_byte_of_its_last_member(tmp_path: Path) -> None:
    path = tmp_path / "run.tar"
    path.write_bytes(tar({"a.log": TEXT})[: 512 + 100_000])
    found = discover([str(path)])
    assert len(found.problems) == 1
    data, why = read_to_damage(found.inputs[0])
    assert data == TEXT[:100_000]
    assert "the archive ends in the middle of this member" in why


def test_a_damaged_header_is_not_taken_for_the_end_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "run.tar"
    data = bytearray(tar({"a.log": b"a\n", "b.log": b"b\n"}))
    data[1024 + 10] ^= 0xFF
    path.write_bytes(data)
    found = discover([str(path)])
    assert [one.member for one in found.inputs] == ["a.log"]
    assert found.problems[0].what.startswith("damaged archive")


def test_an_empty_archive_member_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.tar"
    path.write_bytes(tar({"empty.log": b""}))
    assert [(one.member, read(one)) for one in discover([str(path)]).inputs] == [("empty.log", b"")]


def test_inputs_can_be_pickled(tmp_path: Path) -> None:
    (tmp_path / "run.tar").write_bytes(tar({"a.log": b"a\n"}))
    (tmp_path / "b.log").write_bytes(b"b\n")
    found = discover([str(tmp_path)]).inputs
    assert [read(one) for one in copied(found)] == [b"b\n", b"a\n"]


# Rotation


def test_the_parts_of_a_rotated_log_are_one_stream_the_oldest_first(tmp_path: Path) -> None:
    (tmp_path / "train.log.2.gz").write_bytes(gzip.compress(b"1\n"))
    (tmp_path / "train.log.1").write_bytes(b"2\n")
    (tmp_path / "train.log").write_bytes(b"3\n")
    found = discover([str(tmp_path)]).inputs
    assert [(read(one), one.source.stream, one.source.part) for one in found] == [
        (b"1\n", f"{tmp_path}/train.log", 0),
        (b"2\n", f"{tmp_path}/train.log", 1),
        (b"3\n", f"{tmp_path}/train.log", 2),
    ]


@pytest.mark.parametrize(
    "oldest_first",
    [
        ["train.log.10.gz", "train.log.2.gz", "train.log.1", "train.log"],
        ["train.log-20240501.gz", "train.log-20240502", "train.log"],
        ["train.log-20240501.gz", "train.log-20240502.gz"],
        ["messages.2", "messages.1", "messages"],
        ["messages-20240501.gz", "messages"],
        ["dmesg.1.gz", "dmesg.0", "dmesg"],
        ["train.log.2024-05-01", "train.log.2024-05-02_12-00-00", "train.log"],
        ["0.log.20240501-120000.gz", "0.log.20240502-120000", "0.log"],
        ["x.2024-05-01_12-00-00_123456.log", "x.log"],
        ["train.log.2.zst", "train.log.1.zst", "train.log.zst"],
        ["stderr.2", "stderr.1", "stderr"],
        ["job.log-1714521600", "job.log-1714608000.gz"],
    ],
)
def test_rotated_logs_are_known_by_their_names(oldest_first: list[str]) -> None:
    names = [f"logs/{name}" for name in reversed(oldest_first)]
    found = streams(names)
    assert len({stream for stream, _ in found}) == 1
    assert [part for _, part in found] == list(reversed(range(len(names))))


@pytest.mark.parametrize(
    "several",
    [
        ["stderr.0", "stderr.1", "stderr.2"],
        ["train.log", "train.log.0", "train.log.1"],
        ["rank.1", "rank.2"],
        ["train-20240501.log", "train-20240502.log"],
        ["slurm-1001.out", "slurm-1002.out"],
        ["worker_1.log", "worker_2.log"],
        ["core.1234", "core.1235"],
        ["a/train", "b/train.1"],
        ["train.log", "train.log.gz"],
    ],
)
def test_logs_beside_each_other_are_no_rotation(several: list[str]) -> None:
    assert streams(several) == [(name, 0) for name in several]


def test_logs_of_one_name_in_two_directories_are_two_streams() -> None:
    assert streams(["a/train.log", "a/train.log.1", "b/train.log"]) == [
        ("a/train.log", 1),
        ("a/train.log", 0),
        ("b/train.log", 0),
    ]


def test_members_of_archives_rotate_too(tmp_path: Path) -> None:
    path = tmp_path / "run.tar"
    path.write_bytes(tar({"train.log": b"2\n", "train.log.1": b"1\n"}))
    assert [read(one) for one in discover([str(path)]).inputs] == [b"1\n", b"2\n"]


def test_natural_order_knows_numbers_and_is_total() -> None:
    assert sorted(["n10", "n2", "n02", "n", "10", "2a"], key=natural) == ["2a", "10", "n", "n02", "n2", "n10"]
