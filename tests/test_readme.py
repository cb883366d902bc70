"""What the README promises: its Python runs, its commands exist, and its first lines are the ones that CI runs."""

import re
import shlex
from pathlib import Path

import pytest

from minillm import cli

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_it_opens_with_the_two_commands():
    commands = re.findall(r"^    (pip install .*?)(?:  +#.*)?$", README, flags=re.MULTILINE)
    assert commands[:2] == ["pip install '.[plot]' && minillm train", "pip install -e '.[test]' && pytest"]
    assert README.index(commands[1]) < 300


def test_it_is_short():
    assert len(README.splitlines()) < 250


def test_its_python_runs_from_top_to_bottom():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 2
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["gradient"].shape == names["model"].parameters.vector.shape


def test_its_commands_are_commands():
    lines = re.findall(r"^    (minillm [a-z][^#\n]*)", README, flags=re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        words = shlex.split(line)[1:]
        options = cli._parser().parse_args(words)
        assert callable(options.command)


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "episodes.jsonl", "checkpoint.npz", "summary.json", "curve.png"])
def test_its_files_are_those_of_a_run(name):
    from minillm.checkpoint import FILES

    assert name in FILES
    assert f"`{name}`" in README
