"""What a text must hold for a pattern to match it at all. To look for that takes a tenth of what `matches` takes, which reads its pattern
anew for each message.
"""

import re

LEAST = 2  # characters: one is in nearly every text
# Alternatives, groups with flags or names, classes in each other, and escapes with more than one character behind them.
_TOO_MUCH = re.compile(r"\||\(\?|\[\^?\]|\[[^\]]*\[|&&|--|~~|\\[pPxuUQEC0-9]")
_PLAIN = re.compile(r"[\w @.,:;/=+#%&~-]", re.ASCII)
_ESCAPE, _CLASS, _COUNT = re.compile(r"\\.", re.DOTALL), re.compile(r"\[(?:\\.|[^\]\\])*\]", re.DOTALL), re.compile(r"\{[0-9,]*\}")


def required(pattern: str) -> str:
    """The longest run of plain characters that is in every text that matches, or nothing where that is not plain to see. What stands in
    a group is left out: it may be asked for no times."""
    if _TOO_MUCH.search(pattern):
        return ""
    runs, run, depth, at = [""], "", 0, 0
    while at < len(pattern):
        found = _ESCAPE.match(pattern, at) or _CLASS.match(pattern, at) or _COUNT.match(pattern, at)
        piece = found.group() if found else pattern[at]
        at += len(piece)
        depth += (piece == "(") - (piece == ")")
        plain = piece[1] if len(piece) == 2 and piece[0] == "\\" and not piece[1].isalnum() else piece
        if depth == 0 and len(plain) == 1 and _PLAIN.match(plain) and (plain != piece or piece not in ".+"):
            run += plain
            continue
        if piece in ("*", "?") or piece[0] == "{":
            run = run[:-1]  # what stands before it need not be there
        runs.append(run)
        run = ""
    longest = max((*runs, run), key=len)
    return longest if len(longest) >= LEAST else ""


_TOKEN = re.compile(
    r"""(?P<text>[bB]?[rR](?:"[^"\n]*"|'[^'\n]*')|[bB]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))"""
    r"""|(?P<named>(?<![\w.)\]])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\.matches\(\s*(?P<raw>[rR]?)(?P<pattern>"[^"\n]*"|'[^'\n]*')\s*\)"""
)


def looked_for_first(expression: str) -> str:
    """The same expression, in which `a.matches(b)` is `(a.contains(c) && a.matches(b))` wherever `b` can't match without `c`. It is true,
    false or unknown where it was: what is not known is no more known to the one than to the other."""
    return _TOKEN.sub(_with_literal, expression)


def _with_literal(found: re.Match[str]) -> str:
    named, pattern = found.group("named"), found.group("pattern")
    if named is None or ("\\" in pattern and not found.group("raw")):  # CEL takes a backslash away before the pattern is read
        return found.group()
    literal = required(pattern[1:-1])
    return f"({named}.contains('{literal}') && {found.group()})" if literal else found.group()
