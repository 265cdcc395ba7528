"""What every executor keeps, kept by Slurm: the scenarios are those of `tests.executors.test_contract`."""

from __future__ import annotations

from tests.executors import test_contract

# They run here with the `rig` of this folder.
globals().update({name: each for name, each in vars(test_contract).items() if name.startswith("test_")})
