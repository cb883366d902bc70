"""LaTeX as Unicode: every kind of thing that the docstrings use, and no docstring with a command that is not known."""

import ast
import re
from pathlib import Path

import pytest

import envs
import minillm
from minillm.lessons.formulas import GAP, unicode_formula

PACKAGES = [Path(package.__file__).parent for package in (minillm, envs)]


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\bar x_k = r\,g_k \;-\; r\,\tfrac1C\sum_j g_j", "x̄ₖ = r gₖ − r 1/C Σⱼ gⱼ"),
        (r"\bar{W}_{ij} = \sum_n x_{ni}\bar y_{nj}", "W̄ᵢⱼ = Σₙ xₙᵢȳₙⱼ"),
        (r"\tfrac12(1+\tanh u) = 1/(1+e^{-2u})", "½(1+tanh u) = 1/(1+e⁻²ᵘ)"),
        (r"\frac{\operatorname{Im} f(x+ihv)}{h}", "(Im f(x+ihv))/h"),
        (r"\frac{\partial r}{\partial x_k}", "∂r/∂xₖ"),
        (r"\frac{d}{dx}\,x\,\Phi", "d/dx x Φ"),
        (r"\frac{f(x+hv)-f(x-hv)}{2h}", "(f(x+hv)−f(x−hv))/(2h)"),
        (r"P^\top\bar O", "PᵀŌ"),
        (r"(r_i - b_i)\log p(b_i)", "(rᵢ − bᵢ) log p(bᵢ)"),
        (r"\log\operatorname{softmax}(z)", "log softmax(z)"),
        (r"-\log_2 p", "−log₂ p"),
        (r"\max|g|", "max|g|"),
        (r"p(b_{it}\mid b_{i,<t})", "p(bᵢₜ|b_{i,<t})"),
        (r"W_{te}[x]", "Wₜₑ[x]"),
        (r"W_{head}^\top", "W_headᵀ"),
        (r"\bar O_{td}O_{td}", "Ō_td O_td"),
        (r"y_n = W_{i_n}", "yₙ = W_{iₙ}"),
        (r"\sqrt{2/\pi}\,x^3", "√(2/π) x³"),
        (r"1/\sqrt D", "1/√D"),
        (r"\|\nabla\log p(b_j)\|^2", "‖∇log p(bⱼ)‖²"),
        (r"M_j \in \{0, 1\}", "Mⱼ ∈ {0, 1}"),
        (r"\mu = 0", "μ = 0"),
        (r"\hat g", "ĝ"),
        (r"a \\ b", f"a{GAP}b"),
        (r"O = PV , \tag{12}", f"O = PV,{GAP}(12)"),
        (r"a, \qquad b", f"a,{GAP}b"),
        (r"\begin{pmatrix} \cos t & -b \\ c & d_1 \end{pmatrix} x", "(cos t −b; c d₁) x"),
        (r"\unheard x", r"\unheardx"),
        ("", ""),
    ],
)  # fmt: skip
def test_formula(latex, text):
    assert unicode_formula(latex) == text


def formulas():
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for path in sorted(path for package in PACKAGES for path in package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, documented):
                for found in re.finditer(r"\$\$(.+?)\$\$|\$([^$]+)\$", ast.get_docstring(node) or "", re.DOTALL):
                    yield path.name, found[1] or found[2]


def test_no_docstring_has_a_command_that_is_not_known():
    known = list(formulas())
    assert len(known) > 400
    assert [(name, latex) for name, latex in known if "\\" in unicode_formula(latex)] == []
