"""The charsets that every reader knows, by the name that Python gives them."""

import codecs

# Registered with IANA and in use for mail. Not UTF-7 and what only Python knows: some readers decode them and others do not.
_UNICODE = ("us-ascii", "utf-8", "utf-16", "utf-16le", "utf-16be")
_EASTERN = ("big5", "big5-hkscs", "gb2312", "gbk", "gb18030", "hz-gb-2312", "iso-2022-jp", "iso-2022-kr", "euc-jp", "euc-kr", "shift_jis")
_OTHER = (
    "cp437",
    "cp850",
    "cp852",
    "cp855",
    "cp857",
    "cp858",
    "cp862",
    "cp866",
    "cp874",
    "cp932",
    "cp949",
    "koi8-r",
    "koi8-u",
    "macintosh",
)
_ISO_8859 = tuple(f"iso-8859-{part}" for part in range(1, 17) if part != 12)  # there is no part 12
_WINDOWS = tuple(f"cp{page}" for page in range(1250, 1259))

CHARSETS = frozenset(codecs.lookup(name).name for name in (*_UNICODE, *_EASTERN, *_OTHER, *_ISO_8859, *_WINDOWS, "tis-620"))
"""Made when the module is loaded, so that a worker that may open no file any more has them all."""
