"""Making text from outside safe to store, to hash and to show on a terminal."""

from __future__ import annotations

from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
ERROR_MAX_CHARS: Final = 500
_SPACES: Final = frozenset("\t\r\v\f\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}")


def clean_text(text: str, limit: int) -> str:
    """`text` without what could fool a reader, a terminal or an encoder, at most `limit` characters long.

    Line feeds stay, other white space becomes a space. Control, formatting (text direction, zero width), unassigned
    and lone surrogate characters become U+FFFD: they are replaced and not dropped, so that no cleaned name can turn
    into somebody else's name.
    """
    if len(text) > limit:
        text = text[: max(limit - 1, 0)] + "…"
    if text.isprintable():
        return text
    return "".join(map(_clean_character, text))


def _clean_character(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if character in _SPACES else REPLACEMENT


def encodable_text(text: str) -> str:
    """`text` with lone surrogates replaced and nothing else changed: a recorded exchange stays as it was."""
    return text.encode("utf-8", "replace").decode("utf-8") if _has_surrogates(text) else text


def _has_surrogates(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def describe(error: BaseException) -> str:
    """`Name: message` of an exception, cleaned and short; never raises, whatever the exception's own `__str__` does."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - the message of a foreign exception is foreign code
        said = "(its message can't be read)"
    name = type(error).__name__
    return clean_text(f"{name}: {said}" if said else name, ERROR_MAX_CHARS)
