"""Where a setting comes from, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentorch.config import json_schema, load, user_file
from agentorch.errors import ConfigError
from agentorch.model import limits
from agentorch.model.guardrails import BOUNDS
from agentorch.model.proposals import Mode
from tests.cli.shell import agentorch


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "agentorch.toml"
    file.write_text(text)
    return file


def test_later_sources_win_and_each_value_says_where_it_is_from(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    environ = {"XDG_CONFIG_HOME": str(home), "AGENTORCH_SERVER_PORT": "3"}
    written(home / "agentorch", '[server]\nport = 1\nhost = "127.0.0.2"\n[supervisor]\nmode = "observe"\n')
    written(project, '[server]\nport = 2\n[supervisor]\nmode = "approve"\ncycle_s = "2m"\n')
    settings = load(environ=environ, cwd=project, flags={"supervisor.mode": "paused", "server.host": None})
    assert (settings.server.port, settings.server.host) == (3, "127.0.0.2")
    assert settings.supervisor.mode is Mode.paused
    assert settings.supervisor.cycle_s == 120.0
    sources = {one.key: one.source for one in settings.shown}
    assert sources["server.port"] == "environment AGENTORCH_SERVER_PORT"
    assert sources["server.host"] == str(user_file(environ))
    assert sources["supervisor.mode"] == "flag --mode"
    assert sources["supervisor.cycle_s"] == str(project / "agentorch.toml")
    assert sources["supervisor.timeout_s"] == "default"
    assert settings.files == (user_file(environ), project / "agentorch.toml")


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert settings.server.host == "127.0.0.1"
    assert settings.supervisor.approval_ttl_ms == limits.APPROVAL_TTL_MS == settings.guardrails.approval_ttl_ms
    assert settings.server.data_dir == tmp_path / ".local" / "state" / "agentorch"
    assert (settings.pools, settings.tenants, settings.client.key) == ((), (), None)


def test_pools_and_tenants(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        [pools.gpu]
        workers = 2
        max_workers = 4
        cpus = 8
        memory = "64GB"
        gpus = 2
        gpu_model = "H100"
        price_usd_per_hour = 4.5
        labels = {disk = "fast"}
        target_wait = "2m"
        [pools.away]
        executor = "ray"
        node_type = "big"
        workers = 0
        [executors.ray]
        address = "10.0.0.1:6379"
        lease = "20s"
        [pools.plain]
        [tenants.red]
        weight = 200
        hard_cap_usd = "12.50"
        """,
    )
    settings = load(environ={}, config_file=file)
    gpu, away, plain = settings.pools
    assert (gpu.min_workers, gpu.workers, gpu.max_workers) == (1, 2, 4)
    assert (gpu.shape.cpu_milli, gpu.shape.memory_bytes, gpu.shape.gpus) == (8_000, 64 * 10**9, 2)
    assert (gpu.price_usd_micros_per_hour, gpu.labels, gpu.target_wait_ms) == (4_500_000, (("disk", "fast"),), 120_000)
    assert (away.price_usd_micros_per_hour, away.min_workers) == (None, 0), "what nobody said is unknown, never zero"
    assert (plain.name, plain.price_usd_micros_per_hour) == ("plain", 0)
    assert [pool.node_type for pool in settings.pools] == ["", "big", ""]
    assert (settings.ray.address, settings.ray.lease_ms) == ("10.0.0.1:6379", 20_000)
    assert (settings.tenants[0].name, settings.tenants[0].hard_cap_usd_micros) == ("red", 12_500_000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server]\nport = 99999\n", "server.port = 99999: expected a whole number"),
        ("[server]\nport = true\n", "server.port"),
        ("[server]\nprt = 1\n", "server.prt: unknown key; did you mean 'port'?"),
        ("[servr]\nport = 1\n", "servr: unknown section; did you mean 'server'?"),
        ("server = 1\n", "server: expected a table"),
        ("[supervisor]\nmode = 'reckless'\n", "supervisor.mode = 'reckless': expected one of paused"),
        ("[supervisor]\napproval_ttl = '1s'\n", "supervisor.approval_ttl"),
        ("[supervisor]\ncycle_s = 'often'\n", "supervisor.cycle_s = 'often': expected a duration"),
        ("[pools]\nx = 1\n", "pools.x: expected a table"),
        ("[pools.x]\nmemory = 24\n", "pools.x.memory"),
        ("[pools.x]\nworkers = 5\nmax_workers = 2\n", "pools.x: expected min_workers <= workers <= max_workers"),
        ("[tenants.x]\nweight = 0\n", "tenants.x.weight = 0"),
        ("[client]\nkey = 'ao-secret'\n", "client.key: secrets are not written into files"),
        ("[guardrails]\ncooldown_ms = 1\n", "guardrails.cooldown_ms = 1"),
        ("[guardrails]\nscale_up_step = 99\n", "guardrails.scale_up_step = 99"),
        ("[guardrails]\nalways_ask = ['everything']\n", "guardrails.always_ask"),
        ("[server\n", "not TOML"),
        ("[executors.moon]\nx = 1\n", "executors.moon: unknown executor; known: ray, slurm"),
        ("[executors.ray]\nadress = 'x'\n", "executors.ray.adress: unknown key; did you mean 'address'?"),
        ("[executors.ray]\nprovider = 'magic'\n", "executors.ray.provider = 'magic': expected one of none"),
        ("[pools.x]\nnode_type = 'big'\n", "pools.x.node_type: workers of the local executor are shares"),
    ],
)
def test_a_mistake_is_refused_with_file_key_and_expectation(tmp_path: Path, text: str, says: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load(environ={}, config_file=file)
    assert str(refused.value).startswith(str(file))
    assert says in str(refused.value)


def test_no_guardrail_can_be_loosened_by_any_source(tmp_path: Path) -> None:
    loosest = load(environ={}, cwd=tmp_path).guardrails
    for name, (low, high) in BOUNDS.items():
        if name == "approval_ttl_ms":
            continue
        for beyond in (low - 1, high + 1):
            with pytest.raises(ConfigError, match=rf"AGENTORCH_GUARDRAILS_{name.upper()}.*only be tightened"):
                load(environ={f"AGENTORCH_GUARDRAILS_{name.upper()}": str(beyond)}, cwd=tmp_path)
        tight = low if getattr(loosest, name) == high else high
        settings = load(environ={f"AGENTORCH_GUARDRAILS_{name.upper()}": str(tight)}, cwd=tmp_path)
        assert getattr(settings.guardrail_settings(), name) == tight


def test_every_key_has_a_line_of_help_and_a_schema() -> None:
    schema = json_schema()
    tables = {name: table for name, table in schema["properties"].items() if name != "executors"}
    tables.update(schema["properties"]["executors"]["properties"])
    for section, table in tables.items():
        fields = table.get("properties") or table["additionalProperties"]["properties"]
        for name, field in fields.items():
            assert field["description"], (section, name)
    assert schema["properties"]["guardrails"]["properties"]["scale_up_step"]["maximum"] == limits.SCALE_UP_STEP
    assert "key" not in schema["properties"]["client"]["properties"]


def test_every_key_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    schema = json_schema()["properties"]
    tables = {f"[{name}": fields for name, fields in schema.items() if name != "executors"}
    tables.update({f"[executors.{name}": fields for name, fields in schema["executors"]["properties"].items()})
    tables["[supervisor.llm"] = schema["supervisor"]["properties"].pop("llm")
    for title, fields in tables.items():
        section = text.split(f"## `{title}", 1)[1].split("\n## ", 1)[0]
        keys = (fields.get("properties") or fields["additionalProperties"]["properties"]).keys()
        missing = [key for key in keys if f"| `{key}` |" not in section]
        assert missing == [], title


def test_executors_are_chosen_by_flag_and_variable(tmp_path: Path) -> None:
    file = written(tmp_path, "[pools.plain]\n")
    environ = {"AGENTORCH_EXECUTORS_RAY_ADDRESS": "h:1"}
    settings = load(environ=environ, config_file=file, flags={"server.executor": "ray"})
    (pool,) = settings.pools
    assert (pool.executor, pool.node_type, pool.price_usd_micros_per_hour) == ("ray", "*", None)
    assert settings.ray.address == "h:1"
    with pytest.raises(ConfigError, match="AGENTORCH_EXECUTORS_RAY_ADRESS: unknown key"):
        load(environ={"AGENTORCH_EXECUTORS_RAY_ADRESS": "h:1"}, config_file=file)


def test_unknown_variables_of_ours_are_refused_and_others_are_not() -> None:
    with pytest.raises(ConfigError, match="AGENTORCH_SERVER_PROT"):
        load(environ={"AGENTORCH_SERVER_PROT": "1"})
    load(environ={"AGENTORCH_ATTEMPT": "job-000001.1", "SERVER_PORT": "x"})
    with pytest.raises(ConfigError, match="no such file"):
        load(environ={"AGENTORCH_CONFIG": "/nonexistent/agentorch.toml"})


def test_the_key_is_a_reference_and_a_job_speaks_with_its_token(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("ao-from-file\n")
    file = written(tmp_path, f'[client]\nkey_file = "{secret}"\n')
    assert load(environ={}, config_file=file).client.key == "ao-from-file"
    assert load(environ={"AGENTORCH_KEY": "ao-env"}, config_file=file).client.key == "ao-env"
    assert load(environ={"AGENTORCH_TOKEN": "aoj.x.y"}, cwd=tmp_path / "x").client.key == "aoj.x.y"
    shown = load(environ={"AGENTORCH_KEY": "ao-env"}, config_file=file).shown
    assert "ao-env" not in str(shown)
    secret.unlink()
    with pytest.raises(ConfigError, match=r"client\.key_file"):
        load(environ={}, config_file=file)


def test_config_show_validate_and_schema(tmp_path: Path) -> None:
    file = written(tmp_path, "[server]\nport = 8123\n")
    shown = json.loads(agentorch("config", "show", "--config", str(file), "-o", "json").stdout)
    assert {"key": "server.port", "value": 8123, "source": str(file)} in shown
    table = agentorch("config", "--config", str(file)).stdout
    assert any(line.split()[:2] == ["server.port", "8123"] for line in table.splitlines())
    assert agentorch("config", "validate", str(file)).returncode == 0
    file.write_text("[server]\nport = 'x'\n")
    refused = agentorch("config", "validate", str(file))
    assert refused.returncode == 2
    assert f"{file}: server.port = 'x'" in refused.stderr
    assert json.loads(agentorch("config", "schema").stdout)["title"] == "agentorch.toml"
