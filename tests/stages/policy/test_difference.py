"""What differs is told file by file as a unified diff, and rule by rule by name."""

from relay.policy.difference import MAX_LINES, file_differences, rule_names, waiver_names
from tests.stages.decide.cases import PASS, policy, rule, waiver


def test_a_file_that_changed_came_or_went_is_a_unified_diff() -> None:
    old = {"a.yaml": "one\ntwo\n", "gone.yaml": "x\n", "same.yaml": "s\n"}
    new = {"a.yaml": "one\nthree\n", "new.yaml": "y\n", "same.yaml": "s\n"}

    assert dict(file_differences(old, new)) == {
        "a.yaml": ["--- a/a.yaml", "+++ b/a.yaml", "@@ -1,2 +1,2 @@", " one", "-two", "+three"],
        "gone.yaml": ["--- a/gone.yaml", "+++ /dev/null", "@@ -1 +0,0 @@", "-x"],
        "new.yaml": ["--- /dev/null", "+++ b/new.yaml", "@@ -0,0 +1 @@", "+y"],
    }


def test_a_long_list_is_compared_as_a_set() -> None:
    lines = [f"{number}.example" for number in range(MAX_LINES + 1)]
    ((name, diff),) = file_differences({"lists/l.txt": "\n".join(lines)}, {"lists/l.txt": "\n".join([*reversed(lines[1:]), "new.example"])})

    assert (name, diff) == ("lists/l.txt", ["--- a/lists/l.txt", "+++ b/lists/l.txt", "-0.example", "+new.example"])


def test_rules_and_waivers_that_came_went_and_changed_are_named() -> None:
    old = policy(PASS, rule("a"), rule("b"), waivers=[waiver("w", "a")])
    new = policy(PASS, rule("b", tls=False), rule("c"), waivers=[waiver("v", "b")])

    assert rule_names(old, new).as_json() == {"added": ["c"], "removed": ["a"], "changed": ["b"]}
    assert waiver_names(old, new).as_json() == {"added": ["v"], "removed": ["w"], "changed": []}
