"""docs/replies.md, made from the code: every constant of the dialogue and of policy, and what is said after DATA."""

import ast
import inspect
import itertools
from types import ModuleType
from typing import NamedTuple

from relay import road
from relay.listen import replies
from relay.model.reply import Reply
from relay.receive import replies as policy_replies

_AFTER_DATA = {
    "Ok: queued as ID COMMITMENT": "A receipt: message, decision and event are durable. The audit must be able to show the commitment.",
    "Can't be decided now, try again later; ID": "Something that the decision needs did not answer, a scanner for instance.",
    "Policy has changed meanwhile, try again; ID": "Sender and recipients were let in by a policy that is in force no more.",
    "Too many hops; ID": "A mail loop: more Received fields than `max_received` of the settings.",
    "Refused by policy; ID": "Policy refuses the message; the record names the rule.",
}
"""What `relay.road` says: its texts carry the id of the message, so they are no constants."""

_INTRODUCTION = """# Replies

What a client can hear, made from the code by `python -m relay.listen.replies`. The texts are constants: they never quote the message, a
rule or an internal error. ID is the id of the message, COMMITMENT that of its accepted event. Greeting, EHLO, 334 and 354 carry no enhanced
status code (RFC 2034 §4); everywhere else its class is the first digit of the reply.
"""


class Line(NamedTuple):
    """One line of a table."""

    code: int
    status: str | None
    text: str
    meaning: str


def page() -> str:
    """The whole document. Raises LookupError where a reply has no meaning, or a meaning no reply."""
    sections = {
        "The dialogue": _constants(replies),
        "Policy, while the client is still talking": _constants(policy_replies),
        "After the final dot": _said_on_the_road(),
    }
    return _INTRODUCTION + "".join(f"\n## {title}\n\n{_table(lines)}" for title, lines in sections.items())


def _table(lines: list[Line]) -> str:
    rows = [f"| `{line.code}{f' {line.status}' if line.status else ''}` | {_cell(line.text)} | {line.meaning} |" for line in sorted(lines)]
    return "\n".join(["| reply | text | meaning |", "|---|---|---|", *rows]) + "\n"


def _cell(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|") or "(empty)"


def _constants(module: ModuleType) -> list[Line]:
    """`NAME = Reply(…)` with the string that stands below it."""
    body = ast.parse(inspect.getsource(module)).body
    meanings = {
        above.targets[0].id: below.value.value
        for above, below in itertools.pairwise(body)
        if isinstance(above, ast.Assign) and isinstance(above.targets[0], ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }
    named = {name: value for name, value in vars(module).items() if isinstance(value, Reply)}
    if missing := named.keys() - meanings.keys():
        raise LookupError(f"{module.__name__}: no meaning below {', '.join(sorted(missing))}")
    return [Line(reply.code, reply.status, reply.text, str(meanings[name])) for name, reply in named.items()]


def _said_on_the_road() -> list[Line]:
    """The `Reply(…)` calls of relay/road.py whose code and enhanced code are written out."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(road))) if isinstance(node, ast.Call)]
    found = []
    for call in calls:
        if not (isinstance(call.func, ast.Name) and call.func.id == "Reply"):
            continue
        code, subject, detail = (int(ast.unparse(part)) for part in call.args[:3])
        text = _text(call.args[3])
        found.append(Line(code, f"{code // 100}.{subject}.{detail}", text, _AFTER_DATA[text]))
    if unsaid := _AFTER_DATA.keys() - {line.text for line in found}:
        raise LookupError(f"relay.road never says {', '.join(sorted(unsaid))}")
    return found


def _text(node: ast.expr) -> str:
    """An f-string with ID and COMMITMENT for its values."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "COMMITMENT" if "commitment" in ast.unparse(node.value) else "ID"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise LookupError(f"no text: {ast.unparse(node)}")
