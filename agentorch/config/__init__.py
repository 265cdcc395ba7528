"""Settings: one frozen object, read once and passed down. Nothing else reads the environment.

Owns where values come from and what they may be. Must never loosen a guardrail, hold a secret, or be read twice.

Later wins: built-in defaults, the user's file (`$XDG_CONFIG_HOME/agentorch/agentorch.toml`), the project's file
(`agentorch.toml` in the working directory, or the file named by `--config` or AGENTORCH_CONFIG), variables
`AGENTORCH_<SECTION>_<KEY>`, flags. Every value remembers where it came from. A mistake is refused with the file, key
and what was expected; guardrails may be tightened here and never loosened. Secrets are references: the key of a client
comes from AGENTORCH_KEY or from a file that `client.key_file` names, never from a configuration file itself.
"""

from agentorch.config.fields import DEFAULT_PORT, json_schema
from agentorch.config.settings import (
    ClientSettings,
    ServerSettings,
    Settings,
    Shown,
    SupervisorSettings,
    load,
    user_file,
)

__all__ = [
    "DEFAULT_PORT",
    "ClientSettings",
    "ServerSettings",
    "Settings",
    "Shown",
    "SupervisorSettings",
    "json_schema",
    "load",
    "user_file",
]
