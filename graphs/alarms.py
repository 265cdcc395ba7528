"""Alerts of the supervisor itself. One that can't be recorded is logged; a repeated one is said once."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import Final

from agentorch.errors import RuntimeStopped
from agentorch.tools.steps import Steps
from agentorch.tools.text import describe

logger = logging.getLogger(__name__)

#: code -> what a person should know.
ALERT_CODES: Final = MappingProxyType(
    {
        "brain-fallback": "the brain failed several times in a row; the fallback decides until it answers again",
        "brain-back": "the brain answers again and decides from now on",
        "fallback-failed": "the fallback failed too: nothing is proposed",
        "cycle-failed": "a cycle broke off; the next one comes at its time",
        "carry-out-failed": "an allowed or approved action could not be started; an approved one is tried again",
        "thread-failed": "an approval's thread could not be kept; the answer itself is in the ledger",
        "checkpoints-rebuilt": "the checkpoint file could not be used; pending approvals were rebuilt from the ledger",
        "answers-unheard": "the stream of answers broke off; the ledger is asked instead",
        "reconcile-failed": "pending approvals could not be compared with the ledger; it is tried again",
    }
)
REMEMBERED_MAX: Final = 256


class Alarms:
    """Raises alerts through the port; never raises an error of its own, except that the runtime has stopped."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._said: dict[tuple[str, str], None] = {}

    async def raise_alert(self, code: str, text: str) -> None:
        """Record it, unless the very same was said since `calm`: a failure every few seconds is one alert."""
        if code not in ALERT_CODES:
            raise ValueError(f"unknown alert code {code!r}")
        if (code, text) in self._said:
            return
        if len(self._said) >= REMEMBERED_MAX:
            del self._said[next(iter(self._said))]
        self._said[code, text] = None
        try:
            await self._steps.alert(code, text)
        except RuntimeStopped:
            raise
        except Exception as error:  # noqa: BLE001 - an alert that can't be recorded must not end what it reports
            logger.warning("alert %s could not be recorded (%s): %s", code, describe(error), text)
            self._said.pop((code, text), None)

    def calm(self, code: str) -> None:
        """What `code` reports is over: the next time is news again."""
        for key in [key for key in self._said if key[0] == code]:
            del self._said[key]
