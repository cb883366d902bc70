import pytest

from minillm import progress
from minillm.progress import Progress


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setattr(progress, "_tqdm", lambda *_: None)


def run(total, **options):
    with Progress("fit", total, **options) as bar:
        for step in range(total):
            bar.update(loss=0.123456 + step, episodes=step)


@pytest.mark.usefixtures("plain")
def test_plain_lines_without_tqdm(capsys):
    run(100)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == Progress.LINES
    assert lines[0].startswith("fit: 10/100 steps, ")
    assert "loss 9.123, episodes 9" in lines[0]
    assert lines[-1].startswith("fit: 100/100 steps, ")
    assert "0 s left" in lines[-1]


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("total", [1, 3, 7, 15, 19, 25])
def test_the_last_step_is_always_told_and_the_lines_are_few(capsys, total):
    run(total, unit="round")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"fit: {total}/{total} rounds")
    assert len(lines) <= Progress.LINES + 10


@pytest.mark.usefixtures("plain")
def test_without_facts_the_line_ends_with_the_time(capsys):
    with Progress("act", 1) as bar:
        bar.update()
    assert capsys.readouterr().err.strip().endswith("s left")


def test_a_bar_with_tqdm(capsys):
    pytest.importorskip("tqdm")
    run(5)
    out, err = capsys.readouterr()
    assert out == ""
    assert "fit" in err
    assert "5/5" in err


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_quiet_is_quiet(capsys, monkeypatch, with_tqdm):
    if not with_tqdm:
        monkeypatch.setattr(progress, "_tqdm", lambda *_: None)
    run(20, quiet=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("plain")
def test_what_is_said_goes_to_stderr_unless_quiet(capsys):
    with Progress("fit", 1) as bar:
        bar.say("half way")
    with Progress("fit", 1, quiet=True) as bar:
        bar.say("nothing")
    assert capsys.readouterr() == ("", "half way\n")
