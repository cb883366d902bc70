import os
import zlib

import pytest

from minillm.errors import RunDirectoryError
from minillm.journal import Journal, read_mark

LINES = ["first\n", "sécond\n", "third\n"]


def test_it_goes_on_behind_the_mark_and_what_came_later_is_cut_off(tmp_path):
    path = tmp_path / "log"
    with Journal(path) as journal:
        journal.writelines(LINES[:2])
        mark = journal.sync()
        journal.writelines(["late\n"])
    assert mark == (len("".join(LINES[:2]).encode()), zlib.crc32("".join(LINES[:2]).encode()))
    with path.open("ab") as file:
        file.write(b"ha\xfflf")
    with Journal(path, mark) as journal:
        journal.writelines(iter(LINES[2:]))
        end = journal.sync()
    assert path.read_text(encoding="utf-8") == "".join(LINES)
    with Journal(path, end) as journal:
        assert journal.sync() == end
    with Journal(path):
        assert path.read_bytes() == b""


def test_lines_are_seen_at_once(tmp_path):
    with Journal(tmp_path / "log") as journal:
        journal.writelines(["a\n"])
        assert (tmp_path / "log").read_text() == "a\n"


@pytest.mark.parametrize("damaged", [b"firs\n\nsecond\n", b"first\n", b"", None])
def test_what_stands_before_the_mark_must_be_what_was_written(tmp_path, damaged):
    path = tmp_path / "log"
    with Journal(path) as journal:
        journal.writelines(["first\n", "second\n"])
        mark = journal.sync()
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged)
    with pytest.raises(RunDirectoryError, match="log is not as its run wrote it: of its first 13 bytes some are gone or changed"):
        Journal(path, mark)
    assert path.read_bytes() == (damaged or b"")


def test_a_file_longer_than_a_piece_is_summed(tmp_path, monkeypatch):
    monkeypatch.setattr("minillm.journal.PIECE", 4)
    with Journal(tmp_path / "log") as journal:
        journal.writelines(LINES)
        mark = journal.sync()
    with Journal(tmp_path / "log", mark) as journal:
        assert journal.sync() == mark


def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    with pytest.raises(RunDirectoryError, match=r"cannot write .*none.*: No such file or directory"):
        Journal(tmp_path / "none" / "log")
    with Journal(tmp_path / "log") as journal:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RunDirectoryError, match=r"cannot write .*log: No space left on device$"):
            journal.sync()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line():
    journal = Journal.__new__(Journal)
    journal.path, journal.size, journal.crc = "log", 0, 0
    with open("/dev/full", "wb", buffering=0) as journal._file, pytest.raises(RunDirectoryError, match="cannot write log: No space left"):
        journal.writelines(["a\n"])
    assert (journal.size, journal.crc) == (0, 0)


@pytest.mark.parametrize("value", [None, 3, [1], [1, 2, 3], [-1, 0], [1.0, 0], ["1", 0], {"a": 1}])
def test_what_is_no_mark_is_an_error(value):
    with pytest.raises((ValueError, TypeError)):
        read_mark(value)
    assert read_mark([3, 4]) == (3, 4)
