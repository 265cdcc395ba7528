"""What is kept of a talk is all of it, in less."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agentorch.graphs.llm.tape import HIDDEN, KEY_MIN_CHARS, Tape, requests_of, response_of
from agentorch.model.limits import BRAIN_EXCHANGES_MAX

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["abc", "b", "ü", "\N{BLACK STAR}", "", "ab"]), max_size=8), max_size=6), TEXT)
def test_every_request_comes_out_whole(talk: list[list[str]], tail: str) -> None:
    tape, sent = Tape("m"), ["".join(parts) + tail for parts in talk]
    for request in sent:
        tape.add(request.encode(), b"", took_ms=0)
    assert requests_of(tape.exchanges) == sent


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_every_response_comes_out_whole(content: bytes) -> None:
    tape = Tape("m")
    tape.add(b"", content, took_ms=0)
    assert response_of(tape.exchanges[0]) == content


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=KEY_MIN_CHARS, max_size=20), TEXT)
def test_a_key_is_in_nothing(key: str, around: str) -> None:
    tape = Tape("m", key=key)
    said = f"{around}{key}{around}".encode()
    tape.add(said, said + b"\xff", took_ms=0, content_type=key)
    one = tape.exchanges[0]
    assert HIDDEN in response_of(one)
    assert key not in one.request
    assert key not in one.content_type
    assert key not in tape.hidden(key)


def test_a_word_that_is_no_secret_is_not_taken_out() -> None:
    assert Tape("m", key="none").hidden("nonesuch") == "nonesuch"


def test_a_tape_is_bounded() -> None:
    tape = Tape("m")
    for _ in range(BRAIN_EXCHANGES_MAX + 5):
        tape.add(b"x", b"y", took_ms=0)
    assert len(tape.exchanges) == BRAIN_EXCHANGES_MAX
