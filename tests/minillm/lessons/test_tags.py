r"""Equations and code find each other: each ``\tag{3}`` of a docstring has a code line with ``# (3)``, and the reverse."""

from pathlib import Path

import pytest

import minillm
from minillm.lessons.code import code_tags, equation_tags

HOME = Path(minillm.__file__).parent
MUST = [
    *sorted(path for path in (HOME / "ops").glob("*.py") if path.name not in ("__init__.py", "blocks.py")),
    *(HOME / "estimators" / f"{name}.py" for name in ("reinforce", "clipped", "kl", "importance", "actor_critic", "advantages")),
    *(HOME / f"{name}.py" for name in ("objectives", "returns", "block", "transformer", "llama", "llama_block", "lab/differentiate")),
    HOME / "estimators" / "action_sets.py",
]
SOURCES = sorted(HOME.rglob("*.py"))


def identity(path):
    return path.relative_to(HOME).as_posix()


@pytest.mark.parametrize("path", MUST, ids=identity)
def test_a_lesson_has_tags(path):
    assert equation_tags(path.read_text(encoding="utf-8"))


def test_every_equation_has_its_code_and_every_tag_its_equation():
    for path in SOURCES:
        source = path.read_text(encoding="utf-8")
        equations = equation_tags(source)
        assert equations == [str(n + 1) for n in range(len(equations))], f"{identity(path)}: equations are numbered {equations}"
        assert {tag for tags in code_tags(source).values() for tag in tags} == set(equations), identity(path)
