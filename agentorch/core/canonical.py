"""One form of a struct, however it was made, so that its bytes can be hashed and compared.

msgspec leaves out a field whose value is its default by identity, not by equality: `"ok"` as it was computed may be
written where `"ok"` as it was declared is left out. https://jcristharif.com/msgspec/structs.html#omitting-default-values
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def canonical(value: _Struct) -> _Struct:
    """As it comes back from the ledger, and what equals a default is that very default.

    Raises msgspec.ValidationError for what JSON can't say in its type, such as a float that is no number.
    """
    settled: _Struct = _settled(msgspec.json.decode(msgspec.json.encode(value), type=type(value)))
    return settled


def _settled(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        defaults = _defaults(type(value))
        changes = {}
        for name in value.__struct_fields__:
            before = getattr(value, name)
            after = _settled(before)
            default = defaults.get(name, msgspec.NODEFAULT)
            if type(after) is type(default) and after == default:
                after = default
            if after is not before:
                changes[name] = after
        return msgspec.structs.replace(value, **changes) if changes else value
    if isinstance(value, tuple | list):
        return type(value)(map(_settled, value))
    if isinstance(value, dict):
        return {key: _settled(one) for key, one in value.items()}
    return value


@cache
def _defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {one.name: one.default for one in msgspec.structs.fields(kind) if one.default is not msgspec.NODEFAULT}
