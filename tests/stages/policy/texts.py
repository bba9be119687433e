"""A small policy as texts, and what is wrong with one."""

import pytest

from relay.model.errors import ConfigurationError
from relay.policy.load import build

ORGANISATION = """\
name: Example
domains: [example.nl, .example.nl]
authserv_id: relay.example.nl
postmaster: postmaster@example.nl
phases: [closed, open]
partners:
  - name: court
    domains: [court.example]
"""
CLIENTS = """\
clients:
  - name: exchange
    side: inside
    addresses: [192.0.2.0/28]
    logins: [desk]
    may_send_as: [example.nl]
    may_send_to: ["*"]
"""
ROUTES = """\
routes:
  - name: out
    to: ["*"]
"""
RULES = """\
rules:
  - name: pass
    then: deliver
    because: ordinary mail
  - name: macro
    when:
      attachment:
        extensions: [docm]
    then: quarantine
    because: macros
  - name: dangerous
    when:
      finding: [malware]
    then: reject
    because: malware
    final: true
"""
FILES = {"organisation.yaml": ORGANISATION, "clients.yaml": CLIENTS, "routes.yaml": ROUTES, "rules/rules.yaml": RULES}


def problems(**changes: str | None) -> list[str]:
    """What is wrong with the small policy when files are changed, added or (None) left out; `__` stands for `/`, and `.yaml` is added."""
    files: dict[str, str] = dict(FILES)
    for key, text in changes.items():
        name = f"{key.replace('__', '/')}.yaml"
        if text is None:
            del files[name]
        else:
            files[name] = text
    return problems_of(files)


def problems_of(files: dict[str, str]) -> list[str]:
    """What is wrong with a policy."""
    with pytest.raises(ConfigurationError) as caught:
        build(files)
    return caught.value.problems
