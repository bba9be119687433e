"""A policy folder is read whole and checked whole: one policy, or every problem with its file and line."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.model.errors import ConfigurationError
from relay.policy.load import build, digest, load_policy, read_files
from tests.stages.cost import in_proportion
from tests.stages.policy.texts import FILES, ORGANISATION, RULES, problems, problems_of

SHIPPED = Path(__file__).parents[3] / "policies"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_the_policy_that_ships_has_no_problem() -> None:
    policy = load_policy(SHIPPED)

    assert policy.organisation.phases == ("closed", "partners", "open")
    assert {client.name for client in policy.clients} == {"mailservers", "forwarder", "submission", "internet"}
    assert not policy.waivers


def test_nothing_of_the_policy_that_ships_goes_to_the_outside_while_the_first_phase_holds() -> None:
    closed = next(rule for rule in load_policy(SHIPPED).rules if rule.name == "closed")

    assert closed.when.phase == ("closed",)
    assert closed.when.direction == ("outbound", "inbound")


def test_a_folder_and_its_texts_give_the_same_policy(tmp_path: Path) -> None:
    assert load_policy(write(tmp_path, FILES)).digest == build(FILES).digest == digest(FILES)


def test_one_changed_character_or_name_changes_the_digest() -> None:
    renamed = {("rules/other.yaml" if name == "rules/rules.yaml" else name): text for name, text in FILES.items()}

    assert len({digest(FILES), digest(FILES | {"rules/rules.yaml": RULES + "#"}), digest(renamed)}) == 3


def test_text_can_not_move_from_one_file_to_the_next_under_one_digest() -> None:
    assert digest({"a": "bc", "d": ""}) != digest({"a": "b", "cd": ""})


def test_an_unknown_key_is_named_with_file_line_and_the_nearest_known_key() -> None:
    rules = """\
# What may be attached.
rules:
  - name: pass
    then: deliver
    because: ordinary mail

  - name: large
    when:
      larger_than: 1000000
    then: hold
    because: large
  - name: to-the-court
    when:
      recipent: [court.example]
    then: hold
    because: waits
"""
    assert problems(rules__attachments=rules)[0] == (
        "policies/rules/attachments.yaml:14: unknown key 'recipent' (did you mean 'recipient'?)"
    )


def test_an_unknown_key_of_a_file_is_named_too() -> None:
    assert problems(recipients="recipents: []\n") == [
        "policies/recipients.yaml:1: the key 'recipients' is missing",
        "policies/recipients.yaml:1: unknown key 'recipents' (did you mean 'recipients'?)",
    ]


def test_an_unknown_key_that_is_near_to_nothing_gets_no_hint() -> None:
    assert problems(organisation=ORGANISATION + "colour: blue\n") == ["policies/organisation.yaml:9: unknown key 'colour'"]


def test_a_key_inside_a_nested_condition_gets_its_own_line_and_hint() -> None:
    rules = "rules:\n  - name: x\n    then: hold\n    because: x\n    when:\n      any:\n        - not:\n            finding_nam: [x]\n"

    assert problems(rules__x=rules) == ["policies/rules/x.yaml:8: unknown key 'finding_nam' (did you mean 'finding_name'?)"]


def test_every_problem_of_every_file_is_said_at_once() -> None:
    found = problems(routes="routes:\n  - name: Out\n    to: []\n", rules__x="rules: [", signing="signing:\n  - domain: Example.nl\n")

    assert [problem.partition(": ")[0] for problem in found] == [
        "policies/routes.yaml:2",
        "policies/rules/x.yaml:2",
        "policies/signing.yaml:2",
        "policies/signing.yaml:2",
    ]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("require_tls", '"yes"', "input should be a valid boolean"),
        ("require_tls", "1", "input should be a valid boolean"),
        ("require_tls", "no", "input should be a valid boolean"),
        ("side", "insid", "(did you mean 'inside'?)"),
        ("addresses", "[192.0.2.1/28]", "'192.0.2.1/28' has host bits set: the whole range is written '192.0.2.0/28'"),
        ("addresses", "[mail.example.nl]", "'mail.example.nl' is no address range such as '192.0.2.0/28' or '2001:db8::/64'"),
        ("addresses", "[192]", "an address range is text such as '192.0.2.0/28'"),
        ("may_send_as", '["@example.nl"]', "a whole domain is written 'example.nl'"),
        ("may_send_as", '["*.example.nl"]', "everything below a domain is written '.example.nl'"),
        ("may_send_as", "[example..nl]", "is no address, no domain"),
        ("certificates", '["sha256:00:11"]', "64 hex digits without colons"),
        ("limits", "{messages_per_hour: 0}", "greater than or equal to 1"),
        ("limits", "{messages_per_hour: 99999999999999999999999}", "valid integer"),
        ("line_ends", "normalize", "(did you mean 'normalise'?)"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(key: str, value: str, expected: str) -> None:
    clients = f"clients:\n  - name: exchange\n    {'side' if key != 'side' else 'name_'}: inside\n    {key}: {value}\n"
    found = [problem for problem in problems(clients=clients) if problem.startswith("policies/clients.yaml:4: ")]

    assert any(expected in problem for problem in found), found


def test_a_name_is_taken_across_files() -> None:
    rules = "rules:\n  - name: macro\n    then: hold\n    because: x\n"

    assert problems(rules__second=rules) == ["policies/rules/second.yaml:2: the name 'macro' is taken, at policies/rules/rules.yaml:5"]


def test_a_file_that_nothing_reads_is_a_mistake() -> None:
    assert problems(rule="rules: []\n")[0].startswith("policies/rule.yaml:1: nothing reads this file; policy files are organisation.yaml")


def test_of_very_many_problems_the_first_are_told() -> None:
    found = problems(rules__x="rules: [" + "a," * 2000 + "]", rules__y="rules: nothing")

    assert found[:1] + found[-2:] == [
        "policies/rules/x.yaml:1: rules.0: input should be an object",
        "policies/rules/x.yaml:1: rules.999: input should be an object",
        "and more",
    ]


def test_thousands_of_names_that_are_not_there_cost_no_time() -> None:
    """Compared with each of the names that there are, 1,000 took 25 s."""
    line = "  - {name: r%d, then: hold, because: x, when: {recipient: ['list:partner-of-%d']}}\n"

    def told(names: int) -> list[str]:
        lists = {f"lists/partners-of-{number}.txt": "" for number in range(names)}
        rules = "rules:\n" + "".join(line % (number, number) for number in range(names))
        return problems_of(FILES | lists | {"rules/x.yaml": rules})

    assert in_proportion(told, 1000, at_most=5)
    assert told(8)[7].startswith("policies/rules/x.yaml:9: no list is named 'partner-of-7' (did you mean 'partners-of-")


@pytest.mark.parametrize("name", ["rules/more.yml", "rules/More.YAML", "more.yml"])
def test_a_file_that_looks_like_policy_and_is_not_read_is_a_mistake(tmp_path: Path, name: str) -> None:
    write(tmp_path, FILES | {name: "rules: []\n", "tests/x.yml": "", ".kept/y.yml": "", "notes.md": ""})

    with pytest.raises(ConfigurationError) as refused:
        read_files(tmp_path)
    assert refused.value.problems == [f"{tmp_path / name}: nothing reads this file: the name of a policy file ends in .yaml"]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root reads every folder; whoever runs the tests as somebody else need not change."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_rules_in_a_folder_that_may_not_be_read_are_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, FILES | {"rules/strict/x.yaml": "rules: []\n"})
    (tmp_path / "rules" / "strict").chmod(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # so that nobody needs the folders above

    with as_nobody(), pytest.raises(ConfigurationError) as refused:
        read_files(Path())
    assert refused.value.problems == ["rules/strict: Permission denied"]
    (tmp_path / "rules" / "strict").chmod(0o755)
    with as_nobody():
        assert "rules/strict/x.yaml" in read_files(Path())


def test_a_link_to_a_folder_of_rules_is_a_mistake_and_not_left_out(tmp_path: Path) -> None:
    strict = write(tmp_path / "shared", {"strict.yaml": "rules: []\n"})
    folder = write(tmp_path / "policies", FILES)
    (folder / "rules" / "strict").symlink_to(strict, target_is_directory=True)

    with pytest.raises(ConfigurationError) as refused:
        read_files(folder)
    assert refused.value.problems == [f"{folder / 'rules/strict'}: a link to a folder is not followed: put the files themselves here"]


def test_a_policy_says_who_we_are() -> None:
    assert problems_of({}) == ["policies/organisation.yaml:1: the file is missing; it says who we are"]


def test_an_empty_policy_knows_no_client_and_no_rule() -> None:
    policy = build({"organisation.yaml": ORGANISATION})

    assert [*policy.clients, *policy.rules, *policy.routes] == []


def test_an_empty_file_misses_its_list() -> None:
    assert problems(rules__rules="# nothing yet\n") == ["policies/rules/rules.yaml:1: the key 'rules' is missing"]


def test_control_characters_of_a_file_never_reach_a_terminal() -> None:
    found = problems(rules__x='rules:\n  - "\\e]0;owned\\a": 1\n')

    assert all(problem.isprintable() for problem in found)
    assert any("\\u001b]0;owned\\u0007" in problem for problem in found)


def test_a_folder_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigurationError, match="the policy folder does not exist"):
        load_policy(Path("/nonexistent/policies"))


def test_tests_notes_and_hidden_files_are_no_policy(tmp_path: Path) -> None:
    write(tmp_path, FILES | {"tests/x.yaml": "[", ".git/x.yaml": "[", "README.md": "x", "rules/.x.yaml": "[", "notes.txt": "x"})

    assert set(read_files(tmp_path)) == set(FILES)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("password: x\n")
    folder = write(tmp_path / "policies", FILES)
    (folder / "rules" / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (folder / "rules" / "dangling.yaml").symlink_to(folder / "nothing")

    with pytest.raises(ConfigurationError) as caught:
        load_policy(folder)
    assert caught.value.problems == [
        f"{folder}/rules/dangling.yaml: not a file inside the policy folder",
        f"{folder}/rules/link.yaml: not a file inside the policy folder",
    ]


def test_bytes_that_are_no_utf_8_are_said_with_their_line(tmp_path: Path) -> None:
    folder = write(tmp_path, FILES)
    (folder / "rules" / "x.yaml").write_bytes(b"rules: []\n# caf\xe9\n")

    with pytest.raises(ConfigurationError) as caught:
        load_policy(folder)
    assert caught.value.problems == [f"{folder}/rules/x.yaml:2: not UTF-8"]


def test_a_later_correction_of_one_file_is_all_that_is_needed(tmp_path: Path) -> None:
    folder = write(tmp_path, FILES | {"rules/x.yaml": "rules: ["})
    with pytest.raises(ConfigurationError):
        load_policy(folder)

    (folder / "rules" / "x.yaml").write_text("rules: []\n")
    assert load_policy(folder).rules
