"""The shipped roles.sql, run on a cluster."""

import subprocess
from pathlib import Path

from tests.servers.postgres import BINARIES, LISTEN, OWNER, RELAY, Cluster

SHIPPED = Path(__file__).parents[2] / "deploy" / "postgresql"


def make_roles(cluster: Cluster, **passwords: str) -> None:
    """As docs/deploying.md says, in place of the roles that the cluster of the tests has."""
    cluster.execute(*(f"DROP ROLE {role}" for role in (OWNER, RELAY, LISTEN)))
    command = [str(BINARIES / "psql"), "--no-psqlrc", "-h", str(cluster.sockets), "-p", str(cluster.port), "-U", cluster.superuser]
    command += ["-d", "postgres", "-f", str(SHIPPED / "roles.sql"), *(f"--set={name}={text}" for name, text in passwords.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
