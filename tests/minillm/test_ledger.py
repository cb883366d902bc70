"""A journal is read back whole, whatever tore or damaged it."""

import errno
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.errors import RunDirectoryError
from minillm.ledger import Ledger, parse

ENTRIES = [{"key": f"seed={k}", "result": {"J": k / 7, "name": 'é "\n\\', "none": None, "nan": [1e-300]}} for k in range(5)]


def write(path, entries=ENTRIES):
    with Ledger(path) as book:
        for entry in entries:
            book.add([entry])


def read(path):
    with Ledger(path) as book:
        return book.entries


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    max_leaves=8,
)


@settings(max_examples=20)
@given(entries=st.lists(st.dictionaries(st.text(), json_values), max_size=5))
def test_what_was_written_is_read(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("ledger") / "journal.jsonl"
    with Ledger(path) as book:
        assert book.entries == []
        book.add(entries)
    assert read(path) == entries


def test_lines_are_json_and_open_to_read(tmp_path):
    write(tmp_path / "j")
    lines = (tmp_path / "j").read_text().splitlines()
    assert [{k: v for k, v in json.loads(line).items() if k != "crc"} for line in lines] == ENTRIES


def test_a_torn_end_is_cut_off_at_every_byte(tmp_path):
    path = tmp_path / "j"
    write(path, ENTRIES[:3])
    whole = path.read_bytes()
    ends = [k + 1 for k, byte in enumerate(whole) if byte == 10]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        kept = sum(end <= size for end in ends)
        with Ledger(path) as book:
            assert book.entries == ENTRIES[:kept]
            book.add(ENTRIES[kept:3])
        assert path.read_bytes() == whole


def test_ten_thousand_mutations_are_a_one_line_error_or_what_was_written(tmp_path):
    path = tmp_path / "j"
    write(path)
    whole, rng, errors = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(10_000):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at, kind = int(rng.integers(len(data))), rng.integers(4)
            if kind == 0:
                data[at] = rng.integers(256)
            elif kind == 1:
                data[at] ^= 1 << int(rng.integers(8))
            elif kind == 2:
                del data[at : at + int(rng.integers(1, 9))]
            else:
                data[at:at] = data[int(rng.integers(len(data))) :][: int(rng.integers(1, 200))]
        told, found = outcome(path, bytes(data))
        assert "\n" not in told
        assert told == "" or "is damaged" in told
        assert all(entry in ENTRIES for entry in found)
        errors += bool(told)
    assert 1000 < errors < 10_000


def outcome(path, data):
    """The message of the error, if there is one, and what was read, if there is none."""
    try:
        return "", parse(path, data)[0]
    except RunDirectoryError as error:
        return str(error), []


@pytest.mark.parametrize("line", [b"[" * 100_000, b"1", b'{"key": 1}', b"\x00" * 50, b'{"a": 1, "crc": "00000000"}', b"\xff\xfe", b""])
def test_a_foreign_line_is_named(tmp_path, line):
    path = tmp_path / "j"
    write(path)
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(RunDirectoryError, match=r"j, line 1, is damaged; delete that line"):
        read(path)


def test_what_cannot_be_opened_or_written_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(RunDirectoryError, match=r"cannot write .*nowhere"):
        Ledger(tmp_path / "nowhere" / "j")
    with Ledger(tmp_path / "j") as book:
        book.add(ENTRIES[:2])
        monkeypatch.setattr("minillm.ledger.os.fsync", lambda _: _fail(errno.ENOSPC))
        with pytest.raises(RunDirectoryError, match=r"cannot write .*j: No space left on device"):
            book.add(ENTRIES[2:])


def _fail(number):
    raise OSError(number, "No space left on device")


def test_half_a_line_on_a_full_disk_loses_nothing(tmp_path):
    class Full:
        def write(self, data):
            return real.write(data[: len(data) // 2])

        close = fileno = None

    with Ledger(tmp_path / "j") as book:
        book.add(ENTRIES[:2])
        real, book._file = book._file, Full()
        with pytest.raises(RunDirectoryError, match="disk full"):
            book.add(ENTRIES[2:3])
        book._file = real
    assert read(tmp_path / "j") == ENTRIES[:2]
