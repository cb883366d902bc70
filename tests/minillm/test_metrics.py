import csv
import json
import sys

import pytest

from minillm.errors import MissingExtra, UserError
from minillm.metrics import Board, read_metrics, write_csv

RECORDS = [{"step": 0, "loss": 1.5}, {"phase": "fit", "step": 1, "loss": 0.1}, {"step": 1, "sample": 'a "b",\nc é'}, {"skipped": 1}]


def written(tmp_path, text=None):
    (tmp_path / "metrics.jsonl").write_text(text or "".join(json.dumps(record) + "\n" for record in RECORDS))
    return tmp_path


def test_the_table_has_one_header_all_columns_and_every_record(tmp_path):
    write_csv(written(tmp_path))
    with (tmp_path / "metrics.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["step", "loss", "phase", "sample", "skipped"]
    assert rows == [
        ["0", "1.5", "", "", ""], ["1", "0.1", "fit", "", ""], ["1", "", "", 'a "b",\nc é', ""], ["", "", "", "", "1"]
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["{", "3", "null", '"text"', "[" * 10**5, '{"a": 1}}'])
def test_a_damaged_line_is_named(tmp_path, line):
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2: not a record of metrics") as caught:
        read_metrics(written(tmp_path, f'{{"a": 1}}\n{line}\n'))
    assert "\n" not in str(caught.value)


def test_no_metrics_are_said(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*metrics\.jsonl: No such file"):
        read_metrics(tmp_path)


def test_tensorboard_without_its_package_names_the_extra(tmp_path, monkeypatch, fails):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtra, match=r"--tensorboard needs tensorboardX: pip install 'minillm-numpy\[tensorboard\]'"):
        Board()
    for command in ("train", "fit"):
        assert "minillm-numpy[tensorboard]" in fails(command, "--tensorboard", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_numbers_by_phase_and_texts(tmp_path, monkeypatch):
    calls = []

    class Writer:
        def __init__(self, folder, purge_step):
            calls.append((folder, purge_step))

        def add_scalar(self, *call):
            calls.append(call)

        def add_text(self, *call):
            calls.append(call)

    monkeypatch.setitem(sys.modules, "tensorboardX", type(sys)("tensorboardX"))
    sys.modules["tensorboardX"].SummaryWriter = Writer
    board = Board()
    board.open(tmp_path, 4)
    board.add(5, {"phase": "fit", "step": 1, "loss": 0.5})
    board.add(6, {"step": 6, "sample": "text", "loss": 2.0})
    assert calls == [(str(tmp_path), 5), ("fit/loss", 0.5, 5), ("sample", "text", 6), ("loss", 2.0, 6)]


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs the extra 'tensorboard'")
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import RecordWriter

    assert RecordWriter
    board = Board()
    with board.open(tmp_path, 0):
        board.add(1, {"step": 1, "loss": 0.25})
    (path,) = tmp_path.glob("events.out.tfevents.*")
    data, found = path.read_bytes(), []
    while data:  # TFRecord: length, its sum, the message, its sum
        size = int.from_bytes(data[:8], "little")
        found.append(event_pb2.Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    scalars = [(event.step, value.tag, value.simple_value) for event in found for value in event.summary.value]
    assert scalars == [(1, "loss", 0.25)]
