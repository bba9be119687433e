"""`python -m relay.settings.reference` prints docs/settings.md."""

from pydantic import BaseModel

from relay.settings import models
from relay.settings.key_table import about, key_table

WORDS = {"seconds": models.Seconds, "octets": models.Octets, "address": models.Address}
TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[[listeners]]", models.Listener),
    ("[listeners.tls]", models.TlsFiles),
    ("[store]", models.Store),
    ("[spool]", models.Spool),
    ("[spool.s3]", models.ObjectStore),
    ("[clamd]", models.Clamd),
    ("[inspection]", models.Inspection),
    ("[delivery]", models.Delivery),
    ("[policy]", models.PolicyRollout),
    ("[control]", models.Control),
    ("[http]", models.Http),
    ("[log]", models.Log),
)

INTRODUCTION = """\
# Settings

`sluis.toml` says where and how much: addresses, folders, limits. Who may send what to whom is [policy](policy.md). `sluis init DIR`
writes a commented file to begin with.

The file is read whole and checked whole. A key that Sluis does not know is refused, and so is a value of another type; nothing in the
environment changes a setting. `sluis check` says what is wrong, with the line and the nearest known key:

    /etc/sluis/sluis.toml:12: unknown key 'adresses' (did you mean 'addresses'?)

Sizes are octets, times are seconds. Certificates, listeners and the spool's keys are read again at SIGHUP; the rest takes a restart. If
the new file is wrong, what was in force stays in force.

The tables below are made from the code (`python -m relay.settings.reference`).
"""


def document() -> str:
    """The page."""
    lines = [INTRODUCTION, "## The file", "", about(models.Settings), "", *key_table(models.Settings, WORDS)]
    for heading, model in TABLES:
        lines += ["", f"## `{heading}`", "", about(model), "", *key_table(model, WORDS)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - the output is the document
