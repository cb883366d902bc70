r"""LaTeX formulas as a line of Unicode: $\bar x_k = r\,g_k$ becomes x̄ₖ = r gₖ. Covers what the docstrings of this project use.

A command that is not known stays as it is, backslash and all, so nothing is lost; a test sees to it that no docstring has one.
"""

from __future__ import annotations

import re
import unicodedata

SYMBOLS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "eta": "η", "theta": "θ",
    "vartheta": "ϑ", "kappa": "κ", "lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
    "varphi": "φ", "omega": "ω", "Delta": "Δ",
    "Phi": "Φ", "Sigma": "Σ", "Omega": "Ω", "sum": "Σ", "prod": "Π", "int": "∫", "partial": "∂", "nabla": "∇", "infty": "∞", "ell": "ℓ",
    "top": "ᵀ", "cdot": "·", "times": "×", "circ": "∘", "odot": "⊙", "oplus": "⊕", "pm": "±", "le": "≤", "leq": "≤", "ge": "≥",
    "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "equiv": "≡", "propto": "∝", "sim": "∼", "in": "∈", "notin": "∉", "to": "→",
    "leftarrow": "←", "mapsto": "↦", "Rightarrow": "⇒", "mid": "|", "langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋",
    "lceil": "⌈", "rceil": "⌉", "dots": "…", "ldots": "…", "cdots": "⋯", "star": "*", "forall": "∀", "perp": "⊥", "|": "‖", "{": "{",
    "}": "}", "%": "%", "_": "_", "&": "&", ",": " ", ";": " ", ":": " ", " ": " ", "!": "", "left": "", "right": "",
    "zeta": "ζ", "xi": "ξ", "nu": "ν", "chi": "χ", "psi": "ψ", "Gamma": "Γ", "Theta": "Θ", "Lambda": "Λ", "Pi": "Π", "Psi": "Ψ",
    "ll": "≪", "gg": "≫", "cup": "∪", "cap": "∩", "subset": "⊂", "setminus": "∖", "exists": "∃", "otimes": "⊗", "lvert": "|",
    "rvert": "|", "lVert": "‖", "rVert": "‖", "prime": "′", "colon": ":", "bullet": "•",
    "quad": "\u2003", "qquad": "\u2003", "\\": "\u2003", "big": "", "Big": "", "bigg": "", "bigl": "", "bigr": "", "displaystyle": "",
}  # fmt: skip
RELATIONS = frozenset("≤≥≠≈≡∝∼∈∉→←↦⇒∘≪≫⊂")  # set apart from what stands beside them
FUNCTIONS = frozenset(("log", "exp", "min", "max", "sin", "cos", "tanh", "det", "ln", "sup", "arg"))
ACCENTS = {"bar": "\u0304", "hat": "\u0302", "tilde": "\u0303", "dot": "\u0307"}
PLAIN = frozenset(("mathrm", "text", "mathbf", "mathbb", "mathcal"))
SUBSCRIPTS = dict(zip("0123456789+−=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))
SUPERSCRIPTS = dict(zip(
    "0123456789+−=()abcdefghijklmnoprstuvwxyzLTᵀ*′",
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴸᵀᵀ*′", strict=True,
))  # fmt: skip
HALVES = {("1", "2"): "½", ("1", "3"): "⅓", ("1", "4"): "¼"}
SCRIPTS = "".join(SUBSCRIPTS.values()) + "".join(SUPERSCRIPTS.values())
WORD_EDGE, GAP = "\u2009", "\u2003"  # a space if letters are on both sides; a wide space between two equations
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)


def unicode_formula(latex: str) -> str:
    r"""Return a formula as Unicode text.

    Parameters
    ----------
    latex : str
        What stands between the dollar signs. ``\qquad`` and ``\\`` become one wide space (U+2003); ``\tag{3}`` becomes (3) after
        one.
    """
    text = _Reader(latex).until(None)
    text = re.sub(rf"(?<=[\w)\]‖]){WORD_EDGE}+(?=[^\W_{SCRIPTS}]|[√∇‖])", " ", text).replace(WORD_EDGE, "")
    text = re.sub(rf" *{GAP} *", GAP, re.sub(r"[ \n]+", " ", text))
    return unicodedata.normalize("NFC", re.sub(r"([(\[⟨]) +| +([)\]⟩,.·])", r"\1\2", text).strip())


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, latex: str) -> None:
        self.tokens = TOKEN.findall(latex)
        self.at = 0

    def until(self, end: str | None) -> str:
        """Return everything up to the token ``end``, which is passed over."""
        text = ""
        while self.at < len(self.tokens) and self.tokens[self.at] != end:
            script = self.tokens[self.at] in "_^"
            more = self.atom()
            apart = not script and more[:1].isalnum() and re.search(r"[_^]\w+$", text)
            text += (" " if apart else "") + more
        self.at += 1
        return text

    def atom(self) -> str:
        """Return one character, command with its arguments, group or script."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else ""
        self.at += 1
        if token == "{":
            return self.until("}")
        if token in ("_", "^"):
            return _script(self.argument(), token)
        if token.startswith("\\"):
            return self._command(token[1:])
        return {"-": "−", "'": "′", "~": " "}.get(token, " " if token.isspace() else token)

    def argument(self) -> str:
        """Return what a command or a script is applied to: the next thing that is no space."""
        self._pass_space()
        return self.atom()

    def _pass_space(self, unless_before: str = "") -> None:
        following = self.tokens[self.at + 1 : self.at + 2]
        if "".join(self.tokens[self.at : self.at + 1]).isspace() and "".join(following) not in tuple(unless_before):
            self.at += 1

    def _command(self, name: str) -> str:
        if name[0].isalpha():
            self._pass_space(unless_before="=+-<>/")
        if name in FUNCTIONS:
            return WORD_EDGE + name + WORD_EDGE
        if name in ACCENTS:
            argument = self.argument()
            return argument[:1] + ACCENTS[name] + argument[1:]
        known = {
            **dict.fromkeys(PLAIN, self.argument), **dict.fromkeys(("frac", "tfrac", "dfrac"), self._fraction),
            "operatorname": lambda: WORD_EDGE + self.argument() + WORD_EDGE, "sqrt": lambda: "√" + _bracketed(self.argument()),
            "tag": lambda: f"{GAP}({self.argument()})", "begin": self._matrix,
        }  # fmt: skip
        if name in known:
            return known[name]()
        symbol = SYMBOLS.get(name, "\\" + name)
        return f" {symbol} " if symbol in RELATIONS else symbol

    def _matrix(self) -> str:
        """A matrix as (a b; c d)."""
        self.argument()
        rows = self.until("\\end").replace("&", " ").split(GAP)
        self.argument()
        return f"({'; '.join(row.strip() for row in rows)})"

    def _fraction(self) -> str:
        over, under = self.argument(), self.argument()
        return HALVES.get((over, under)) or f"{_bracketed(over, ' +−')}/{_bracketed(under)} "


def _script(text: str, mark: str) -> str:
    table = SUBSCRIPTS if mark == "_" else SUPERSCRIPTS
    if text and all(c in table for c in text):
        return "".join(map(table.__getitem__, text))
    return mark + (text if len(text) == 1 or (mark == "_" and text.isascii() and text.isalnum()) else "{" + text.strip() + "}")


def _bracketed(text: str, signs: str | None = None) -> str:
    """Put brackets around text that is more than one factor, or only where it has one of the signs."""
    bare = re.sub("[\u0300-\u036f′*" + SCRIPTS + "]", "", text)
    bare = re.sub(r"_\w|^d(?=[a-z]$)|^√?\([^()]*\)$", "", bare)
    compound = any(c in signs for c in re.sub(r"\([^()]*\)", "", bare)) if signs else len(bare.lstrip("∂∇√")) > 1 and not bare.isdigit()
    return f"({text})" if compound else text
