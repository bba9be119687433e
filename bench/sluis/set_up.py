"""Writes the folder of the relay that is measured: the policy that ships, every inspector on, both signatures."""

import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path

from relay.phases import change
from relay.settings.load import load_settings
from relay.sign.new_key import new_key
from relay.store import schema
from relay.store.engine import open_engine
from relay.store.journal import Journal
from relay.store.spool.keys import new_keypair

WORKERS = (os.cpu_count() or 1) + 1
"""With clamd on the same machine: while one waits for it, its core has another (docs/running.md, Sizing)."""
SETTINGS = """hostname = "relay.load.test"
policies = "policies"
secrets = "secrets"
dkim_keys = "state/keys/dkim"

[[listeners]]
name = "inside"
side = "inside"
addresses = ["127.0.0.1:{port}"]
require_tls = false
connections_per_minute = 100000

[store]
url = "{store}"

[spool]
folder = "state/spool"
public_key = "state/keys/spool.pub"
private_keys = "state/keys/spool"
full_percent = 99

[clamd]
socket = "{clamd}"

[inspection]
workers = {workers}

[control]
socket = "state/control.sock"
two_people = false

[http]
address = "127.0.0.1:{http}"

[log]
level = "info"
"""
POLICY = {
    "organisation.yaml": """name: The organisation of the bench
domains: [load.test]
authserv_id: relay.load.test
postmaster: postmaster@load.test
phases: [closed, partners, open]
partners:
  - name: court
    domains: [court.test]
  - name: police
    domains: [police.test]
""",
    "clients.yaml": """clients:
  - name: mailserver
    side: inside
    addresses: [127.0.0.1/32]
    require_tls: false
    may_send_as: [load.test]
    may_send_to: ["*"]
    limits:
      messages_per_hour: 10000000
      recipients_per_hour: 10000000
    sender_limits:
      messages_per_hour: 10000000
      recipients_per_hour: 10000000
""",
    "senders.yaml": "senders: []\n",
    "routes.yaml": """routes:
  - name: inside
    to: [load.test]
    smart_host: 127.0.0.1:{sink}
    tls: none
  - name: outside
    to: ["*"]
    smart_host: 127.0.0.1:{sink}
    tls: none
""",
    "signing.yaml": """signing:
  - domain: load.test
    keys:
      - selector: sel
        algorithm: rsa-sha256
      - selector: ed
        algorithm: ed25519-sha256
""",
    "inspection.yaml": """outbound: [clamd, yara, type, archive]
inbound: [clamd, yara, type, archive]
internal: [clamd, yara, type, archive]
""",
}


def set_up(
    folder: Path,
    port: int,
    sink: int,
    clamd: Path,
    rsa_key: Path | None = None,
    store: str = "sqlite:///state/sluis.db",
    http: int = 0,
) -> Path:
    """An empty relay in `folder`, open for everybody. `rsa_key`: a private key that is used for selector `sel`; `http`: the port of its
    metrics. Gives the settings file."""
    shutil.rmtree(folder, ignore_errors=True)
    shipped = Path(__file__).parents[2] / "policies"
    shutil.copytree(shipped, folder / "policies")
    for name, text in POLICY.items():
        (folder / "policies" / name).write_text(text.replace("{sink}", str(sink)))
    config = folder / "sluis.toml"
    config.write_text(SETTINGS.format(port=port, store=store, clamd=clamd, workers=WORKERS, http=http))
    settings = load_settings(config)
    assert settings.spool.private_keys is not None
    new_keypair(settings.spool.public_key, settings.spool.private_keys)
    for selector, algorithm in (("sel", "rsa-sha256"), ("ed", "ed25519-sha256")):
        new_key(settings.dkim_keys, "load.test", selector, algorithm, 2048)
    if rsa_key is not None:
        (settings.dkim_keys / "load.test" / "sel.pem").write_bytes(rsa_key.read_bytes())
    engine = open_engine(settings.store)
    journal = Journal(engine)
    try:
        schema.upgrade(engine)
        journal.start()
        opening = partial(change.set_phase, phase="open", actor="bench", reason="the bench", now_us=time.time_ns() // 1000)
        journal.submit_now(opening)
    finally:
        journal.close()
        engine.dispose()
    return config


if __name__ == "__main__":
    home = Path(os.environ["BENCH_HOME"])
    print(set_up(home / "sluis", int(sys.argv[1]), 2600, home / "clamav" / "clamd.sock", home / "keys" / "dkim.pem"))
