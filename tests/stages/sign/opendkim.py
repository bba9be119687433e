"""OpenDKIM's own library as a verifier (Debian: libopendkim11, which opendkim-tools brings along)."""

import ctypes
from pathlib import Path

# Numbers from libopendkim's dkim.h.
OK, SET, FLAGS_PASSED, BODY_HASH_MATCHES, QUERY_FILE = 0, 1, 0x04, 0, 1
OPTION_TEMPORARY_FOLDER, OPTION_QUERY_METHOD, OPTION_QUERY_INFO = 1, 6, 7

LIBRARY = ctypes.CDLL("libopendkim.so.11")
for name, result in {
    "dkim_init": ctypes.c_void_p,
    "dkim_verify": ctypes.c_void_p,
    "dkim_sig_getselector": ctypes.c_char_p,
    "dkim_sig_getdomain": ctypes.c_char_p,
}.items():
    getattr(LIBRARY, name).restype = result


def verify(message: bytes, records: dict[str, bytes], folder: Path) -> dict[str, bool]:
    """For each signature, as `selector._domainkey.domain`, whether OpenDKIM accepts it."""
    keys = folder / "opendkim-keys"
    keys.write_bytes(b"".join(name.encode() + b" " + record + b"\n" for name, record in records.items()))
    library = LIBRARY.dkim_init(None, None)
    try:
        method, path = ctypes.c_int(QUERY_FILE), ctypes.create_string_buffer(str(keys).encode())
        _set(library, OPTION_QUERY_METHOD, method, ctypes.sizeof(method))
        _set(library, OPTION_QUERY_INFO, path, len(path.value))
        return _verify(library, message)
    finally:
        LIBRARY.dkim_close(ctypes.c_void_p(library))


def _set(library: int, option: int, value: "ctypes.c_int | ctypes.Array[ctypes.c_char]", size: int) -> None:
    assert LIBRARY.dkim_options(ctypes.c_void_p(library), SET, option, ctypes.byref(value), ctypes.c_size_t(size)) == OK


def _verify(library: int, message: bytes) -> dict[str, bool]:
    status = ctypes.c_int()
    handle = ctypes.c_void_p(LIBRARY.dkim_verify(ctypes.c_void_p(library), b"test", None, ctypes.byref(status)))
    assert status.value == OK
    try:
        assert LIBRARY.dkim_chunk(handle, message, ctypes.c_size_t(len(message))) == OK
        assert LIBRARY.dkim_chunk(handle, None, ctypes.c_size_t(0)) == OK
        LIBRARY.dkim_eom(handle, None)
        signatures, count = ctypes.POINTER(ctypes.c_void_p)(), ctypes.c_int()
        assert LIBRARY.dkim_getsiglist(handle, ctypes.byref(signatures), ctypes.byref(count)) == OK
        return dict(_result(handle, ctypes.c_void_p(signatures[index])) for index in range(count.value))
    finally:
        LIBRARY.dkim_free(handle)


def _result(handle: ctypes.c_void_p, signature: ctypes.c_void_p) -> tuple[str, bool]:
    name = f"{LIBRARY.dkim_sig_getselector(signature).decode()}._domainkey.{LIBRARY.dkim_sig_getdomain(signature).decode()}"
    LIBRARY.dkim_sig_process(handle, signature)
    passed = LIBRARY.dkim_sig_getflags(signature) & FLAGS_PASSED and LIBRARY.dkim_sig_getbh(signature) == BODY_HASH_MATCHES
    return name, bool(passed)
