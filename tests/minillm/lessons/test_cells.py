"""Scripts in cells."""

import pytest

from minillm.lessons.cells import Cell, as_text, cells, run, title

SCRIPT = '''"""Not shown."""
# %% [markdown]
# # A title
#
# Text with $x^2$ and `code`.

# %%
x = 2
print("x is", x)

# %%
y = x * x

# %%

raise ValueError(y)
'''


def test_cells():
    assert cells(SCRIPT)[:2] == [Cell(True, "# # A title\n#\n# Text with $x^2$ and `code`.", 2), Cell(False, 'x = 2\nprint("x is", x)', 7)]
    assert len(cells(SCRIPT)) == 4
    assert title(SCRIPT) == "A title"


def test_what_is_shown():
    shown = run(SCRIPT, "script.py")
    assert next(shown) == ("text", "# A title\n\nText with $x^2$ and `code`.")
    assert next(shown) == ("code", 'x = 2\nprint("x is", x)')
    assert next(shown) == ("output", "x is 2")
    assert next(shown) == ("code", "y = x * x")
    assert next(shown) == ("code", "raise ValueError(y)")
    with pytest.raises(ValueError, match="4") as raised:
        next(shown)
    assert raised.traceback[-1].lineno + 1 == 16
    assert str(raised.traceback[-1].path).endswith("script.py")


def test_parts_in_a_terminal():
    assert as_text("text", "# A title\n\nText with $x^2$ and `code`.") == "A title\n=======\n\nText with x² and code."
    assert as_text("code", "x = 2\n\ny = 3") == "  │ x = 2\n  │\n  │ y = 3"
    assert as_text("output", "a\n\nb") == "  a\n\n  b"
