"""Logs: one JSON object a line on standard error; for each delivery a plain line beside it that greps like Postfix's."""

import asyncio
import json
import logging
import math
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

from relay.model.text import printable

_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False)  # `_clean` copies what is nested
_SECRET = ("password", "secret", "key")
DELIVERY = "delivery"
HIDDEN = "(not logged)"


class JsonFormatter(logging.Formatter):
    """`extra={"fields": {...}}` becomes fields. Whatever a value holds, the line stays one line of printable text. `process` names the
    process where there are several."""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = {"process": process} if process else {}

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        value: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._process,
            "logger": record.name,
            "event": printable(record.getMessage(), 500),
        }
        for name, item in fields.items():
            value[name] = item if _is_clean(name, item) else _clean_field(name, item)
        if record.exc_info and record.exc_info[0] is not None:
            value["traceback"] = [printable(line, 500) for line in traceback.format_exception(*record.exc_info)]
        if record.msg == DELIVERY and fields:
            value["line"] = delivery_line(fields, record.created)
        return _ENCODER.encode(value)


def _is_clean(name: str, item: Any) -> bool:
    """What most values are: short printable text, or a number, under a name that hides nothing."""
    return ((type(item) is str and len(item) <= 1000 and item.isprintable()) or type(item) is int) and not _is_secret(name)


def _clean_field(name: str, item: Any) -> Any:
    return HIDDEN if _is_secret(name) else _clean(item)


@lru_cache(maxsize=1000)
def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET)


def _clean(item: Any) -> Any:
    if isinstance(item, str):
        return printable(item, 1000)
    if isinstance(item, (bool, int)) or item is None or (isinstance(item, float) and math.isfinite(item)):
        return item
    if isinstance(item, (list, tuple)):
        return [_clean(part) for part in item]
    if isinstance(item, Mapping):
        return {printable(str(key), 100): _clean_field(str(key), part) for key, part in item.items()}
    return printable(str(item), 1000)


def delivery_line(fields: dict[str, Any], now: float) -> str:
    """`ID: to=<…>, from=<…>, relay=…, delay=…, dsn=…, status=sent (…)`, as people have grepped for thirty years. `now` is in seconds since
    1970; the delay, in seconds too, is the time since the message was received."""
    status = {"delivered": "sent", "ready": "deferred", "bounced": "bounced"}.get(str(fields.get("state")), str(fields.get("state")))
    return printable(
        f"{fields.get('message')}: to=<{fields.get('to')}>, from=<{fields.get('from')}>, relay={fields.get('relay')}, "
        f"delay={_delay(fields.get('received_us'), now)}, dsn={fields.get('dsn')}, status={status} ({fields.get('reply')})",
        1500,
    )


def _delay(received_us: Any, now: float) -> str:
    """To the hundredth; never negative, as a clock may have been set back."""
    return f"{max(0.0, now - received_us / 1e6):.2f}" if isinstance(received_us, int) else "unknown"


class TurnHandler(logging.StreamHandler[TextIO]):
    """What the event loop says in one of its turns is written together: a line by itself is a system call. From `warning` on, in other
    threads and at the end nothing waits, nor what waited before it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._turn: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record) + self.terminator)
            loop = _running_loop() if record.levelno < logging.WARNING else None
            if loop is None:
                self.flush()
            elif self._turn is not loop:
                self._turn = loop
                loop.call_soon(self.flush)
        except Exception:  # noqa: BLE001 - as every handler of the standard library: what can't be logged stops nobody
            self.handleError(record)

    def flush(self) -> None:
        """Writes what waits."""
        assert self.lock is not None
        with self.lock:
            lines, self._lines, self._turn = self._lines, [], None
            self.stream.write("".join(lines))
            self.stream.flush()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def configure(level: str, process: str = "") -> None:
    """For the whole process, named `process` where there are several. Libraries speak from `warning` on; aiosmtpd would log every line of
    a dialogue at debug."""
    handler = TurnHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    # The lines don't name these, and to find them out costs more than the rest of a record (logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("sluis").setLevel(level.upper())
    logging.getLogger("mail.log").setLevel(logging.ERROR)
