"""Docstrings as terminal text."""

from minillm.lessons.prose import first_line, readable

TEXT = r"""Return $\bar x$, see :func:`a.b.other` and ``code``, *not* **bold**.

    With $y = xW$ in a sentence that is long enough to be filled anew at a width of forty,

    $$\bar x = \bar y\,W^\top, \qquad \bar b = \sum_n\bar y_n , \tag{1}$$

    so it is:

    * one item that is longer than a line of forty
    * two

    Parameters
    ----------
    x : ndarray
        $x$, as it
        stands.
    """


def test_a_docstring_is_readable():
    assert readable(TEXT, 40).split("\n\n") == [
        "Return x̄, see other and code, not bold.",
        "With y = xW in a sentence that is long\nenough to be filled anew at a width of\nforty,",
        "    x̄ = ȳ Wᵀ,   b̄ = Σₙȳₙ,   (1)",
        "so it is:",
        "* one item that is longer than a line of\n  forty\n* two",
        "Parameters\n----------\nx : ndarray\n    x, as it\n    stands.",
    ]


def test_equations_that_do_not_fit_have_a_line_each():
    assert "    x̄ = ȳ Wᵀ,\n    b̄ = Σₙȳₙ,   (1)\n" in readable(TEXT, 25)


def test_no_line_breaks_inside_a_short_formula():
    assert readable(r"aaaa $b = c + d$ eeee", 8) == "aaaa\nb = c + d\neeee"


def test_first_line():
    assert first_line("Softmax (Bridle et al. 1990, eq. 1), over rows. More.\n\nText.") == "Softmax, over rows"
    assert first_line(r"Return $\sum_i r_i$" + "\n    of it.\n") == "Return Σᵢ rᵢ of it"
