"""`[[pools.NAME.reservations]]`."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentorch.config import load
from agentorch.errors import ConfigError
from agentorch.model.fleet import PoolSpec, Reservation

HEAD = "[tenants.a]\n[pools.p]\nworkers = 4\ngpus = 2\ncpus = 8\nlends = true\n"


def pool(folder: Path, text: str) -> PoolSpec:
    file = folder / "agentorch.toml"
    file.write_text(HEAD + text)
    (found,) = load(environ={}, config_file=file).pools
    return found


def test_reservations_are_read(tmp_path: Path) -> None:
    found = pool(
        tmp_path,
        '[[pools.p.reservations]]\ntenant = "a"\nworkers = 1\n'
        '[[pools.p.reservations]]\ntier = "realtime"\ngpus = 2\ncpus = "1.5"\n',
    )
    assert found.lends
    assert found.reservations == (
        Reservation(tenant="a", workers=1),
        Reservation(tier="realtime", gpus=2, cpu_milli=1_500),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tenant = "b"\nworkers = 1', r"pools.p.reservations: there is no tenant 'b'; add \[tenants.b\]"),
        ("workers = 1", "name a tenant, a tier"),
        ('tier = "soon"\nworkers = 1', "name a tenant, a tier"),
        ('tenant = "a"', "name either workers, or gpus and cpus"),
        ('tenant = "a"\nworkers = 1\ngpus = 1', "name either workers, or gpus and cpus"),
        ('tenant = "a"\nworkers = 0', "workers is a whole number of at least 1"),
        ('tenant = "a"\nwokers = 1', "unknown key 'wokers'"),
        ('tenant = "a"\nworkers = 5', "5 workers are reserved; there are at most 4"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pool(tmp_path, f"[[pools.p.reservations]]\n{text}\n")


def test_no_table_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a list of tables"):
        pool(tmp_path, "reservations = 3\n")
