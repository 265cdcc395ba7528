"""Who asks, and what they may: keys hashed at rest, four roles, tenants that see their own work only, job tokens."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

import msgspec
from starlette.exceptions import HTTPException

from agentorch.errors import Refused
from agentorch.model.fleet import ApiKey, Role
from agentorch.runtime.source import Source


class Permission(Enum):
    jobs_read = auto()  # own tenant's jobs, their logs and events
    jobs_write = auto()  # submit, cancel, change, report progress
    fleet_read = auto()  # pools, workers, devices: what a submitter decides by
    money_read = auto()  # own tenant's budget and counts
    supervisor_read = auto()  # approvals, decisions, ledger, metrics: they speak of every tenant
    supervisor_answer = auto()
    mode_lower = auto()
    admin = auto()  # keys, tenants, budgets, pools, workers, raising the mode


_READ: Final = frozenset({Permission.jobs_read, Permission.fleet_read, Permission.money_read})
_WATCH: Final = _READ | {Permission.supervisor_read}

GRANTS: Final[dict[Role, frozenset[Permission]]] = {
    Role.submit: _READ | {Permission.jobs_write},
    Role.view: _WATCH,
    Role.approve: _WATCH | {Permission.supervisor_answer, Permission.mode_lower},
    Role.admin: frozenset(Permission),
}

#: What concerns every tenant is refused to a key that is bound to one, whatever its roles.
OF_ALL_TENANTS: Final = frozenset(
    {Permission.supervisor_read, Permission.supervisor_answer, Permission.mode_lower, Permission.admin}
)


class Caller(msgspec.Struct, frozen=True):
    """Who asks. `tenant` "" = every tenant. `job`: a running job that speaks for itself alone."""

    by: str
    roles: tuple[Role, ...]
    tenant: str = ""
    job: str = ""

    def may(self, permission: Permission) -> bool:
        if self.tenant and permission in OF_ALL_TENANTS:
            return False
        return any(permission in GRANTS[role] for role in self.roles)

    def need(self, permission: Permission) -> None:
        """Raises Refused("forbidden") with what would help."""
        if self.may(permission):
            return
        roles = [str(role) for role, granted in GRANTS.items() if permission in granted]
        bound = " not bound to a tenant" if permission in OF_ALL_TENANTS else ""
        raise Refused(
            "forbidden", f"key {self.by} may not do this; it takes a key{bound} with role {' or '.join(roles)}"
        )

    def sees(self, tenant: str) -> bool:
        return not self.tenant or self.tenant == tenant


#: Nobody has made a key yet and the server listens on loopback only: whoever reaches it owns it.
LOCAL: Final = Caller(by="local", roles=tuple(Role))
READER: Final = Caller(by="reader", roles=(Role.view,))


def new_secret() -> str:
    """A new key as its holder will send it: 256 random bits, so that a plain digest at rest is enough."""
    return f"ao-{secrets.token_urlsafe(32)}"


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def job_token(secret: bytes, job: str) -> str:
    """What a running job is handed: it may speak of that job and of nothing else."""
    return f"aoj.{job}.{hmac.new(secret, job.encode(), hashlib.sha256).hexdigest()}"


def _unauthorized(why: str) -> HTTPException:
    return HTTPException(401, why, headers={"www-authenticate": "Bearer"})


class KeyRing:
    """The keys as of the newest durable event. The hot path asks here, not the state, which would await a commit."""

    def __init__(self, source: Source, secret: bytes, *, loopback: bool) -> None:
        self._source = source
        self._secret = secret
        self._loopback = loopback
        self._keys: dict[str, ApiKey] | None = None  # by digest

    async def refresh(self) -> None:
        """Read the keys again. Whoever changes one calls this before answering, so that a revocation is prompt."""
        state = await self._source.view()
        self._keys = {key.sha256: key for key in state.facts.keys.values()}

    @property
    def loaded(self) -> bool:
        return self._keys is not None

    def caller(self, authorization: str | None) -> Caller:
        """Raises HTTPException 401."""
        keys = self._keys
        assert keys is not None, "refresh() comes first"
        scheme, _, secret = (authorization or "").partition(" ")
        secret = secret.strip()
        if authorization and (scheme.lower() != "bearer" or not secret):
            raise _unauthorized("expected the header Authorization: Bearer KEY")
        if secret.startswith("aoj."):
            return self._job_caller(secret)
        if self._source.read_only and self._loopback:
            return READER
        if not keys and self._loopback:
            return LOCAL
        if not secret:
            raise _unauthorized(
                "this server wants a key: Authorization: Bearer KEY (AGENTORCH_KEY on the command line)"
            )
        digest = hash_secret(secret)
        key = keys.get(digest)
        if key is None or not hmac.compare_digest(key.sha256, digest):
            raise _unauthorized("this key is unknown or revoked")
        return Caller(by=key.id, roles=key.roles, tenant=key.tenant)

    def _job_caller(self, secret: str) -> Caller:
        job = secret.split(".")[1]
        if not hmac.compare_digest(secret.encode(), job_token(self._secret, job).encode()):
            raise _unauthorized("this job token is not valid")
        return Caller(by=job, roles=(), job=job)


def check_new_key(roles: Iterable[Role], tenant: str, present: dict[str, ApiKey]) -> None:
    """Raises Refused: a key that could do nothing, or a first key after which nobody could manage the server."""
    wanted = set(roles)
    if tenant and wanted & {Role.approve, Role.admin}:
        raise Refused("invalid", "roles approve and admin concern every tenant: they can't be bound to one")
    if not present and Role.admin not in wanted:
        raise Refused("conflict", "the first key must have role admin, or nobody could manage the server any more")


def check_revocation(key: str, present: dict[str, ApiKey], *, loopback: bool) -> None:
    """Raises Refused where it would lock everybody out."""
    left = [other for other in present.values() if other.id != key]
    if key not in present or any(Role.admin in other.roles for other in left):
        return
    if left:
        raise Refused("conflict", f"{key} is the last admin key; revoke the others first")
    if not loopback:
        raise Refused("conflict", f"{key} is the last key, and this server is not on loopback only")
