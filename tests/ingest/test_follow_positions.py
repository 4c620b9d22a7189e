"""Positions: what is confirmed is kept, in one file that is whole or not there, and that may be lost."""

import os
from pathlib import Path

import orjson
import pytest

from ingest.follow.positions import Cursor, Place, Positions, PositionsError

DAY_MS = 24 * 3600 * 1000


def place(offset: int, *, generation: str = "g", inode: int = 7, part: int = 0) -> Place:
    return Place(
        stream="/a.log",
        generation=generation,
        offset_bytes=offset,
        line=1 + offset,
        part=part,
        device=1,
        inode=inode,
        head_bytes=1,
        head="h",
        last=f"last {offset}",
    )


def cursor(offset: int, generation: str = "g") -> Cursor:
    return Cursor(stream="journal", generation=generation, offset_bytes=offset, line=1, cursor=f"s={offset}")


def test_what_was_confirmed_is_there_after_a_restart(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "deep" / "p.json")
    positions.confirm([(0, place(5)), (5, place(9)), (0, cursor(3))])
    positions.save()
    again = Positions(tmp_path / "deep" / "p.json")
    assert again.places(7) == [place(9)]
    assert again.cursor("journal") == cursor(3)
    assert os.listdir(tmp_path / "deep") == ["p.json"]


def test_what_lies_behind_a_gap_waits_until_it_is_filled(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "p.json")
    positions.confirm([(9, place(12)), (5, place(9))])
    assert positions.places(7) == []
    positions.confirm([(0, place(5))])
    assert positions.places(7) == [place(12)]


def test_what_was_confirmed_before_changes_nothing(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "p.json")
    positions.confirm([(0, place(9)), (0, place(5)), (9, place(9)), (5, place(12))])
    assert positions.places(7) == [place(12)]


def test_a_new_generation_of_a_stream_that_is_no_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "p.json")
    positions.confirm([(0, cursor(9)), (0, cursor(4, "h"))])
    assert positions.cursor("journal") == cursor(4, "h")


def test_a_file_that_was_not_seen_for_a_day_is_forgotten(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "p.json")
    positions.confirm([(0, place(5)), (0, place(6, generation="other", inode=8)), (0, cursor(3))])
    positions.seen(["g", "other"], 1000)
    positions.seen(["g"], 1000 + DAY_MS + 1)
    assert [one.offset_bytes for one in positions.places(7)] == [5]
    assert positions.places(8) == []
    assert positions.cursor("journal") == cursor(3)


def test_a_file_that_moved_stays_moved_when_late_pieces_are_confirmed(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "p.json")
    positions.confirm([(0, place(5))])
    positions.move(place(9, inode=8))
    assert [one.offset_bytes for one in positions.places(8)] == [5]
    positions.confirm([(5, place(9))])
    assert positions.places(7) == []
    assert positions.places(8) == [place(9, inode=8)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":1,"files":[{"stream":"x"}]}', b'{"version":"x"}'])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(PositionsError, match=r"p\.json: the positions are damaged\. Delete the file"):
        Positions(tmp_path / "p.json")


def test_a_file_of_a_newer_relight_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(orjson.dumps({"version": 3, "files": [{"new": 1}]}))
    with pytest.raises(PositionsError, match=r"of version 3, this relight knows 2.*delete the file and start over"):
        Positions(tmp_path / "p.json")


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    positions = Positions(tmp_path / "p.json")
    positions.path = tmp_path / "file" / "p.json"
    positions.put(place(5))
    with pytest.raises(PositionsError, match=r"file/p\.json: the positions cannot be written"):
        positions.save()


def test_nothing_is_written_when_nothing_has_changed(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "p.json")
    positions.save()
    assert not (tmp_path / "p.json").exists()
