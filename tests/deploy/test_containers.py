"""Container file and compose: what can be known of them without a container runtime."""

import fnmatch
import ipaddress
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from relay.cli import main
from relay.settings.load import load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BROUGHT = ("./compose/tls/", "./compose/secrets/")
"""Where keys, certificates and passwords of one's own come; the repository has none."""


def instructions() -> list[tuple[str, str]]:
    """The Containerfile as (instruction, rest), continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (DEPLOY / "Containerfile").read_text()).replace("\\\n", " ")
    pairs = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, rest in pairs]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions by the name of their stage."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for word, rest in instructions():
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            current = found.setdefault(name, [])
            assert image == "${DEBIAN}"
        current.append((word, rest))
    return found


STAGES = stages()


def test_every_source_that_is_copied_exists_and_reaches_the_builder() -> None:
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    for word, rest in instructions():
        if word != "COPY" or rest.startswith("--from="):
            continue
        for source in shlex.split(rest)[:-1]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch.fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in let_in), source
    for pattern in let_in:
        assert (ROOT / pattern).exists(), pattern


def test_what_is_copied_is_what_the_set_up_needs() -> None:
    copied = {source for word, rest in STAGES["build"] if word == "COPY" for source in shlex.split(rest)[:-1]}
    script = (DEPLOY / "setup.sh").read_text()
    assert {"requirements-build.lock", "requirements.lock", "deploy/setup.sh", "pyproject.toml"} <= copied
    assert set(re.findall(r"[\w-]+\.lock", script)) <= copied
    pyproject = (ROOT / "pyproject.toml").read_text()
    for kind, name in re.findall(r'(?m)^(readme|license-files) = \[?"([^"]+)"', pyproject):
        assert name in copied, kind
    [packages] = re.findall(r"(?m)^packages = \[(.*)\]", pyproject)
    [more] = re.findall(r"force-include\]\n\"(\w+)\"", pyproject)
    assert set(re.findall(r'"(\w+)"', packages)) | {more} <= copied


def test_images_are_pinned_and_come_from_one_debian() -> None:
    assert instructions()[0] == ("ARG", "DEBIAN=debian:12.11-slim")
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w/-]+:\d+\.\d+[\w.-]*", service["image"]), name


def test_packages_come_without_recommendations_and_leave_no_lists() -> None:
    for word, rest in instructions():
        assert word != "ADD"
        if "apt-get" in rest:
            assert "--no-install-recommends" in rest
            assert "rm -rf /var/lib/apt/lists/*" in rest
        assert not re.search(r"curl|wget|chmod 777", rest)


def test_only_the_edge_starts_as_root_and_every_command_is_in_exec_form() -> None:
    for name in ("relay", "clamd", "edge"):
        words = dict(STAGES[name])
        assert ("USER" in words) == (name != "edge"), name
        assert words["CMD"].startswith("["), name
        assert words["STOPSIGNAL"] == "SIGTERM"
    assert dict(STAGES["relay"])["USER"] == "2525:2525"


def test_the_image_names_its_groups_of_key_exchange() -> None:
    instructions_of_it = STAGES["relay"]
    assert ("COPY", "deploy/openssl.cnf /opt/sluis/openssl.cnf") in instructions_of_it
    assert "OPENSSL_CONF=/opt/sluis/openssl.cnf" in dict(instructions_of_it)["ENV"].split()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined_and_refers_only_to_what_is_there(name: str) -> None:
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service.get("cap_drop") == ["ALL"] or name == "postgresql"
    assert service.get("read_only") or name == "postgresql"
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    assert set(service.get("networks", {})) <= set(COMPOSE["networks"])
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    if "build" in service:
        assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["build"]["target"] in STAGES
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert source.startswith(BROUGHT) or (DEPLOY / source).exists(), volume
            assert volume.endswith(":ro"), volume
        else:
            assert source in COMPOSE["volumes"], volume


def test_secrets_are_files_of_ones_own() -> None:
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./compose/secrets/{name}"}
    assert not re.search(r"(?i)password: *\w", (DEPLOY / "compose.yaml").read_text())


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service["image"].startswith("sluis/relay")])
def test_the_command_of_a_relay_container_is_one_that_sluis_has(name: str) -> None:
    words = list(SERVICES[name]["command"])
    command: click.Command = main
    with click.Context(command) as context:
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None
            command = found
    options = {option for parameter in command.params for option in parameter.opts}
    variables = {parameter.envvar for parameter in command.params if isinstance(parameter, click.Option)}
    assert {variable for variable in SERVICES[name]["environment"] if variable.startswith("SLUIS_")} <= variables
    assert {word for word in words if word.startswith("--")} <= options


def test_the_settings_load_and_fit_what_stands_around_them() -> None:
    settings = load_settings(DEPLOY / "compose" / "sluis" / "sluis.toml")
    networks = SERVICES["relay"]["networks"]
    address = networks["edge"]["ipv4_address"]
    outside, inside = settings.listeners[1], settings.listeners[0]
    main_cf = dict(re.findall(r"(?m)^(\w+) = (.*)", (DEPLOY / "postfix" / "main.cf").read_text()))
    assert main_cf["sluis_inbound"] == f"{address}:{outside.addresses[0].rpartition(':')[2]}"
    assert main_cf["sluis_outbound"] == f"{address}/32"
    [allowed] = outside.xforward_from
    edge = SERVICES["edge"]["networks"]["edge"]
    assert ipaddress.ip_address(edge["ipv4_address"]) in ipaddress.ip_network(allowed)
    assert main_cf["myhostname"] in edge["aliases"]
    assert SERVICES["relay"]["ports"] == [f"{port}:{port}" for port in [inside.addresses[0].rpartition(":")[2]]]
    targets = {volume.split(":")[1] for volume in SERVICES["relay"]["volumes"]}
    assert str(settings.policies) in targets
    assert settings.listeners[0].tls is not None
    assert str(settings.listeners[0].tls.certificate) in targets
    assert f"/run/secrets/{settings.listeners[0].tls.key.name}" == str(settings.listeners[0].tls.key)
    assert settings.listeners[0].tls.key.name in SERVICES["relay"]["secrets"]
    assert {str(settings.clamd.socket)} == {line.split()[1] for line in _clamd_conf() if line.startswith("LocalSocket ")}


def _clamd_conf() -> list[str]:
    return (DEPLOY / "clamav" / "clamd.conf").read_text().splitlines()


def test_only_freshclam_and_what_carries_mail_can_reach_the_outside() -> None:
    closed = {name for name, network in COMPOSE["networks"].items() if network and network.get("internal")}
    reach = {name for name, service in SERVICES.items() if set(service.get("networks", {})) - closed}
    assert reach == {"freshclam", "relay", "edge"}
    assert SERVICES["clamd"]["network_mode"] == "none"
