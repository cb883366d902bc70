"""Code without docstrings; numbers of equations in docstrings and comments."""

from minillm.lessons.code import code_of, code_tags, equation_tags, place_of, tagged_code
from minillm.ops import linear

SOURCE = r'''r"""Title.

$$y = x \tag{1}$$
$$z = y \tag{12}$$
"""
def f(x):
    r"""One $$w = z \tag{3}$$"""
    y = x  # (1) and (12), not .sum(0)
    return y, "# (4)"  # shape (T, 2)
'''


def documented(x):
    """Return it.

    Twice.
    """
    return x, x  # both


def bare(x):
    return x


def test_tags():
    assert equation_tags(SOURCE) == ["1", "12", "3"]
    assert code_tags(SOURCE) == {8: ["1", "12"]}


def test_code_has_no_docstring():
    assert code_of(documented) == "def documented(x):\n    return x, x  # both"
    assert code_of(bare) == "def bare(x):\n    return x"


def test_place():
    assert place_of(linear).startswith("minillm/ops/linear.py:")
    with open(place_of(linear).split(":")[0]) as file:
        assert file.readlines()[int(place_of(linear).split(":")[1]) - 1].startswith("def linear")


def test_the_code_that_equations_name():
    source = SOURCE + "\n\nclass A:\n    def g(self):\n        '''Doc.'''\n\n        return 1  # (3)\n\n    def h(self):\n        return 2\n"
    assert tagged_code(source) == [
        [(6, "def f(x):"), (8, "    y = x  # (1) and (12), not .sum(0)"), (9, '    return y, "# (4)"  # shape (T, 2)')],
        [(13, "    def g(self):"), (16, "        return 1  # (3)")],
    ]
