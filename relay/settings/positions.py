"""On which line each key of a TOML document stands: tomllib gives values without positions."""

import re

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_VALUE = re.compile(r"[^,\]}#\r\n]*")
_BASIC_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def positions(text: str) -> dict[Path, int]:
    """Path of keys and indices to line, from 1. `text` must be TOML that tomllib has read: nothing is checked again here."""
    scan = _Scan(text)
    scan.document()
    return scan.lines


class _Scan:
    """One pass over the text (TOML 1.0.0)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {(): 1}
        self._counts: dict[Path, int] = {}
        self._line = 1
        self._line_at = 0

    def document(self) -> None:
        table: Path = ()
        self._skip_blank()
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self._header(2)
            elif self.text[self.at] == "[":
                table = self._header(1)
            else:
                self._pair(table)
            self._skip_blank()

    def _line_here(self) -> int:
        """Counts on from the last question, so that the whole stays linear."""
        self._line += self.text.count("\n", self._line_at, self.at)
        self._line_at = self.at
        return self._line

    def _skip_blank(self) -> None:
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _skip_spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1

    def _header(self, brackets: int) -> Path:
        """`[a.b]` or `[[a.b]]`; an array of tables on the way means its last element."""
        line = self._line_here()
        self.at += brackets
        keys = self._keys()
        self.at += brackets
        path: Path = ()
        for index, key in enumerate(keys):
            path = (*path, key)
            if brackets == 2 and index == len(keys) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            self.lines.setdefault(path, line)
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self.lines.setdefault(path, line)
        return path

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip_spaces()
            keys.append(self._key())
            self._skip_spaces()
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _key(self) -> str:
        quote = self.text[self.at]
        if quote in "\"'":
            start = self.at + 1
            self._skip_string()
            raw = self.text[start : self.at - 1]
            return raw if quote == "'" else _BASIC_ESCAPE.sub(_unescape, raw)
        found = _BARE.match(self.text, self.at)
        assert found is not None, "tomllib has read this key"
        self.at = found.end()
        return found.group()

    def _pair(self, table: Path) -> None:
        line = self._line_here()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.at += 1  # the equals sign
        self._skip_spaces()
        self._value(path)

    def _value(self, path: Path) -> None:
        self.lines.setdefault(path, self._line_here())
        match self.text[self.at]:
            case '"' | "'":
                self._skip_string()
            case "[":
                self._items(path, "]")
            case "{":
                self._items(path, "}")
            case _:
                found = _PLAIN_VALUE.match(self.text, self.at)
                self.at = found.end() if found else self.at

    def _items(self, path: Path, end: str) -> None:
        """An array or an inline table."""
        self.at += 1
        index = 0
        self._skip_blank()
        while self.text[self.at] != end:
            if end == "]":
                self._value((*path, index))
            else:
                self._pair(path)
            index += 1
            self._skip_blank()
            if self.text[self.at] == ",":
                self.at += 1
                self._skip_blank()
        self.at += 1

    def _skip_string(self) -> None:
        quote = self.text[self.at]
        mark = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(mark)
        while not self.text.startswith(mark, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(mark)
        while len(mark) == 3 and self.text.startswith(quote, self.at):  # up to two quotes may stand before the closing three
            self.at += 1


def _unescape(found: re.Match[str]) -> str:
    code = found.group(1)
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, code)
