"""A rule that was broken on purpose is found: each within two hundred seeds, most within the first few."""

from __future__ import annotations

import pytest

from tests.simulated.mutants import MUTANTS, swapped
from tests.simulated.seeds import run_seed
from tests.simulated.world import Breach

SEEDS_MAX = 200


def found_by(mutant: str) -> str:
    """The breach that the first seed to find it shows; "" when none does."""
    with swapped(*MUTANTS[mutant]()):
        for seed in range(SEEDS_MAX):
            try:
                run_seed(seed)
            except Breach as breach:
                return str(breach)
    return ""


@pytest.mark.timeout(600)  # up to some seventy lives
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_is_found(mutant: str) -> None:
    breach = found_by(mutant)
    assert breach.startswith("seed ")
    assert "again: make sim SEED=" in breach
