"""Names that an entry uses and nothing defines, with the nearest that there is."""

from collections.abc import Iterable, Iterator

from relay.settings.problems import nearest


def unknown(where: str, what: str, used: Iterable[str] | None, defined: Iterable[str]) -> Iterator[str]:
    """A problem for each."""
    known = list(defined)
    for name in used or ():
        if name not in known:
            yield f"{where}: no {what} is named '{name}'{nearest(name, known)}"
