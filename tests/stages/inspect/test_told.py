"""What a worker is told, and what the process that it is forked from has loaded: no more than it needs."""

import subprocess
import sys
from dataclasses import asdict

from relay.inspect.template import told
from relay.settings.models import Settings

MODULE = "relay.app.inspect_worker"


def test_a_worker_is_told_nothing_of_the_store_the_keys_or_where_clamd_is() -> None:
    given = Settings.model_validate(
        {
            "hostname": "relay.example.nl",
            "store": {"url": "postgresql+psycopg://secret-user@secret-host/secret-database"},
            "clamd": {"socket": "/run/secret.sock", "deadline": 7},
            "inspection": {"parts": 11},
        }
    )

    found = told(given)

    assert "secret" not in str(asdict(found))
    assert (found.clamd, found.scan_deadline, found.parts) == (True, 7, 11)


def test_a_worker_has_loaded_nothing_that_reaches_a_database_or_a_network_and_nothing_that_checks_settings() -> None:
    """Each costs the process that workers are forked from megabytes, and each of its starts a part of a second."""
    asked = [sys.executable, "-c", f"import sys, {MODULE}; print(*sys.modules)"]

    loaded = set(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())

    assert MODULE in loaded
    assert loaded.isdisjoint({"sqlalchemy", "psycopg", "pydantic", "asyncio", "ssl", "aiosmtplib", "obstore", "http.client"})
