"""What a name looks like to whoever reads it, whatever alphabet its letters are of."""

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")
_LOOK_ALIKE = str.maketrans(
    {
        **dict(zip("аеорсухіјѕԁһӏԛԝвкмнтгпз", "aeopcyxijsdhlqwbkmhtrn3", strict=True)),  # Cyrillic
        **dict(zip("αεορυνικτχ", "aeopuviktx", strict=True)),  # Greek
        **dict(zip("0134578$@", "oleastbsa", strict=True)),
        "ı": "i",
        "ł": "l",
        "ø": "o",
        "ß": "ss",
    }
)


def skeleton(text: str) -> str:
    """What a name looks like: words of plain letters (the idea of UTS #39 §4, for the few alphabets that matter here)."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(character for character in folded if not unicodedata.combining(character)).translate(_LOOK_ALIKE)
    return " ".join(_WORD.findall(plain))
