"""The house rules hold, and each of them can tell an offender."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.house import rules

Rule = Callable[[dict[str, str]], list[str]]

OFFENDERS: list[tuple[Rule, dict[str, str]]] = [
    (rules.long_files, {"agentorch/a.py": "x = 1\n" * 401}),
    (rules.long_functions, {"agentorch/a.py": "def f():\n" + "    x = 1\n" * 71}),
    (rules.swallowed_errors, {"agentorch/a.py": "try:\n    x = 1\nexcept Exception:\n    pass\n"}),
    (rules.lawless_packages, {"agentorch/room/__init__.py": '"""A room."""\n'}),
    (rules.sleeping_tests, {"tests/test_a.py": "import time\ntime.sleep(1)\n"}),
    (rules.unfinished_words, {"agentorch/a.py": "# TO" + "DO later\n"}),
]


@pytest.mark.parametrize("rule", [rule for rule, _ in OFFENDERS], ids=lambda rule: rule.__name__)
def test_the_house_is_tidy(rule: Rule) -> None:
    assert rule(rules.sources()) == []


@pytest.mark.parametrize(("rule", "offender"), OFFENDERS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_rule_tells_an_offender(rule: Rule, offender: dict[str, str]) -> None:
    assert len(rule(offender)) == 1


def test_the_package_list_is_the_folders() -> None:
    assert rules.declared_packages() == rules.package_folders(rules.sources())


@pytest.mark.parametrize("name", ["tools", "graphs", "tui"])
def test_the_named_top_level_folders_are_part_of_the_package(name: str) -> None:
    link = rules.ROOT / "agentorch" / name
    assert link.is_symlink()
    assert link.resolve() == rules.ROOT / name
