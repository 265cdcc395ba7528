"""Text from outside can neither fool a terminal nor break an encoder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentorch.tools.text import ERROR_MAX_CHARS, clean_text, describe, encodable_text

ANYTHING = st.text(alphabet=st.characters())  # surrogates included


@given(ANYTHING, st.integers(1, 50))
def test_cleaned_text_is_short_printable_encodable_and_stays_as_it_is(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    assert len(cleaned) <= limit
    assert cleaned.replace("\n", "").isprintable()
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert clean_text(cleaned, limit) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("gpu-0", "gpu-0"),
        ("two\nlines\tand a tab", "two\nlines and a tab"),
        ("\x1b[2Jcleared", "\ufffd[2Jcleared"),
        ("right\u202eleft", "right\ufffdleft"),
        ("zero\u200bwidth", "zero\ufffdwidth"),
        ("nul\x00", "nul\ufffd"),
        ("\ud83d alone", "\ufffd alone"),
        ("日本 ✓ 🙂", "日本 ✓ 🙂"),
    ],
)
def test_what_becomes_of_each_kind_of_character(raw: str, cleaned: str) -> None:
    assert clean_text(raw, 100) == cleaned


@given(ANYTHING)
def test_cleaning_never_turns_one_text_into_another_plain_one(text: str) -> None:
    cleaned = clean_text(text, 1_000_000)
    assert len(cleaned) == len(text)
    assert all(after in (before, " ", "\ufffd") for before, after in zip(text, cleaned, strict=True))


def test_long_text_says_that_it_was_cut() -> None:
    assert clean_text("abcdef", 4) == "abc…"
    assert clean_text("abcd", 4) == "abcd"


@given(ANYTHING)
def test_recorded_text_changes_only_where_it_cannot_be_written(text: str) -> None:
    kept = encodable_text(text)
    assert kept.encode().decode() == kept
    surrogates = sum("\ud800" <= character <= "\udfff" for character in text)
    assert sum(before != after for before, after in zip(text, kept, strict=True)) == surrogates


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_every_exception_can_be_described() -> None:
    assert describe(KeyError()) == "KeyError"
    assert describe(ValueError("x\x1b")) == "ValueError: x\ufffd"
    assert describe(Mute()) == "Mute: (its message can't be read)"
    assert len(describe(ValueError("x" * 10_000))) == ERROR_MAX_CHARS
