"""The charsets that every reader knows, by the labels that every reader knows."""

import codecs

# Registered with IANA and in use for mail. Not UTF-7, and no label that only Python takes, such as `utf` or `utf--8`.
_LABELS = """
    us-ascii ascii utf-8 utf8 utf-16 utf-16le utf-16be koi8-r koi8-u macintosh tis-620 big5 big5-hkscs gb2312 gbk gb18030 hz-gb-2312
    iso-2022-jp iso-2022-kr euc-jp euc-kr ks_c_5601-1987 shift_jis latin1
    iso-8859-1 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 iso-8859-6 iso-8859-7 iso-8859-8 iso-8859-9 iso-8859-10 iso-8859-11
    iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16
    windows-1250 windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 windows-1257 windows-1258
    cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp437 cp850 cp852 cp866 ibm437 ibm850 ibm852 ibm866
"""
# Looked up when the module is loaded, so that a worker that may open no file any more has them all.
_KNOWN = {label: codecs.lookup(label) for label in _LABELS.split()}


def known(label: str) -> bool:
    """Whether every reader knows a charset by this label."""
    return label.lower() in _KNOWN
