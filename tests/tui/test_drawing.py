"""Lines, words, bars, plots, looks: the pure parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.color import Color

from agentorch.schemas.documents import JobDocument
from agentorch.schemas.supervision import SnapshotDocument
from agentorch.schemas.twin import ImpactDocument, RangeDocument, judged
from agentorch.tui import glyphs, words
from agentorch.tui.actions import GLOBAL, Entry
from agentorch.tui.dialogs.edit import allowed_range, read_value
from agentorch.tui.dialogs.palette import ranked
from agentorch.tui.screens.costs import read_cap
from agentorch.tui.screens.impact import between, impact_line, impact_table, written
from agentorch.tui.screens.job_lines import details
from agentorch.tui.spans import Span, beside, cells, clip, fit, line, plain, spread, text_of, width_of, wrap
from agentorch.tui.theme import COLOURS, SURFACES, THEMES, TOKENS, Palette
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import gauge, spark, stacked
from agentorch.tui.widgets.plot import Axes, Series, plot
from agentorch.tui.widgets.table import Column, laid_out, text_cell


@given(st.text(), st.integers(0, 40))
def test_fit_is_exact_and_clip_never_longer(text: str, width: int) -> None:
    text = plain(text)
    assert cells(fit(text, width)) == width
    assert cells(clip(text, width)) <= width


@given(st.text(), st.integers(4, 60))
def test_wrap_loses_nothing_and_stays_inside(text: str, width: int) -> None:
    rows = wrap(text, width)
    assert all(cells(row) <= width for row in rows)
    assert "".join("".join(rows).split()) == "".join(plain(text).split())


def test_plain_takes_what_could_move_the_cursor() -> None:
    assert plain("a\x1b[2Jb\r\nc") == "a [2Jb  c"


def test_the_right_side_wins_where_both_do_not_fit() -> None:
    assert text_of([spread(line("a long left side"), line("0:47"), 10)]) == "a lon…0:47"
    assert text_of([spread(line("left"), line("a right side that is long"), 10)]) == "a right s…"


def test_columns_stand_beside_each_other() -> None:
    assert text_of(beside([line("a")], [line("1"), line("2")], 3, 1)) == "a   1\n    2"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1.25, "1.2s"),
        (59.6, "1m00s"),
        (252, "4m12s"),
        (7_500, "2h05m"),
        (190_000, "2d04h"),
        (None, "–"),
        (-5, "-5s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.53, "$0.53"),
        (0.0004, "$0.0004"),
        (509.7, "$510"),
        (12_400, "$12.4k"),
        (None, "–"),
        (-3, "-$3.00"),
    ],
)
def test_money(amount: float | None, text: str) -> None:
    assert words.usd(amount) == text


def test_countdown_never_goes_below_zero() -> None:
    assert [words.countdown(seconds) for seconds in (47.9, 0, -3, 3_900)] == ["0:47", "0:00", "0:00", "1h05m"]


def test_what_is_cut_is_announced() -> None:
    assert words.cut(100, 4_812_334, "job") == "100 of 4 812 334 jobs"
    assert words.cut(1, 1, "job") == "1 job"


@given(st.floats(0, 1), st.integers(1, 60))
def test_a_gauge_is_as_wide_as_asked_and_shows_anything_above_zero(share: float, width: int) -> None:
    drawn = gauge(share, width, "success")
    assert width_of(drawn) == width
    assert (drawn[0].look == "success") == (share > 0)


def test_an_unknown_gauge_is_not_an_empty_one() -> None:
    assert gauge(None, 4, "") != gauge(0, 4, "")


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=50), st.integers(1, 30))
def test_a_spark_is_as_wide_as_asked(values: list[float | None], width: int) -> None:
    assert width_of(spark(values, width, "primary")) == width


def test_a_spark_has_its_newest_value_bright() -> None:
    assert spark([0, 1, 2], 4, "primary") == [Span(" "), Span("▁▄", "primary muted"), Span("▇", "primary")]


def test_a_stacked_bar_never_overflows() -> None:
    assert width_of(stacked([(0.9, "error"), (0.9, "primary")], 10)) == 10


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=80), st.integers(12, 80), st.integers(2, 20))
def test_a_plot_fills_its_rectangle(values: list[float | None], width: int, height: int) -> None:
    drawn = plot([Series(values, "error")], Axes(words.number, goal=5.0), width, height)
    assert len(drawn) == height
    assert all(width_of(spans) <= width for spans in drawn)


def test_a_rising_line_rises() -> None:
    rows = text_of(plot([Series([0, 100], "error")], Axes(lambda value: f"{value:.0f}"), 12, 5)).splitlines()
    assert rows[0].startswith("100 ┤")
    assert "⡇" not in rows[0][5:8]
    assert rows[0].rstrip() != rows[0][:5], "the top row has dots at its right end"


@given(st.text())
def test_ascii_keeps_the_width(text: str) -> None:
    text = plain(text)
    mapped = glyphs.to_ascii(text)
    assert mapped.isascii()
    assert len(mapped) == cells(text)


def test_every_glyph_is_one_cell_and_has_its_own_ascii() -> None:
    signs = {
        value for name, value in vars(glyphs).items() if name.isupper() and isinstance(value, str) and len(value) == 1
    }
    assert len(signs) > 20
    for sign in signs:
        assert cells(sign) == 1
        assert glyphs.to_ascii(sign) != "?", sign


def test_states_that_matter_differ_without_colour() -> None:
    live = [
        glyphs.STATES[name][0] for name in ("queued", "held", "running", "stopping", "failed", "succeeded", "cancelled")
    ]
    assert len(set(live)) == len(live)
    assert len({glyphs.to_ascii(sign) for sign in live}) == len(live)


def _luminance(colour: Color) -> float:
    parts = [part / 255 for part in colour.rgb]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", [name for name in THEMES if name != "ansi"])
def test_contrast(name: str) -> None:
    colours = {key: Color.parse(value) for key, value in COLOURS[name].items()}
    for token in TOKENS:
        for surface in SURFACES:
            low, high = sorted((_luminance(colours[token]), _luminance(colours[surface])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (token, surface)


@pytest.mark.parametrize("name", THEMES)
def test_looks(name: str) -> None:
    palette = Palette(name)
    ground = Color.parse("#000000")
    assert palette.style("error bold", ground).bold
    assert palette.style("error", ground) is palette.style("error", ground)
    assert palette.style("error", ground) != palette.style("error", ground, selected=True)
    assert palette.style("error chip", ground) != palette.style("error", ground)


def test_columns_fall_in_their_declared_order() -> None:
    columns = [Column(name, 10, text_cell(str), drop=drop) for name, drop in (("keep", 0), ("first", 2), ("later", 1))]
    assert [column.title for column, _ in laid_out(columns, 40)] == ["keep", "first", "later"]
    assert [column.title for column, _ in laid_out(columns, 25)] == ["keep", "later"]
    assert [column.title for column, _ in laid_out(columns, 12)] == ["keep"]
    assert [column.title for column, _ in laid_out(columns, 3)] == ["keep"]


@pytest.mark.parametrize(
    ("idle", "acted", "less", "more"),
    [
        ((9, 9, 9), (1, 1, 1), "better", "worse"),
        ((9, 9, 9), (9, 9, 9), "same", "same"),
        ((180, 252, 360), (62, 96, 160), "better", "worse"),
        ((180, 252, 360), (170, 240, 350), "unclear", "unclear"),
        ((25.9, 26.7, 27.4), (30.8, 31.9, 32.7), "worse", "better"),
        ((200, 252, 300), (0, 190, 400), "better", "worse"),
    ],
)
def test_better_and_worse_come_from_the_numbers(
    idle: tuple[float, float, float], acted: tuple[float, float, float], less: str, more: str
) -> None:
    before, after = (RangeDocument(low=low, mid=mid, high=high) for low, mid, high in (idle, acted))
    assert judged(before, after, less_is_better=True) == less
    assert judged(before, after, less_is_better=False) == more


@pytest.mark.parametrize(
    ("changed", "less"),
    [
        ((0, 0, 0), "same"),
        ((0, 0, 3), "unclear"),
        ((-40, -3, 12), "unclear"),
        ((-40, -3, -1), "better"),
        ((-40, -3, 0), "better"),
        ((2, 3, 4), "worse"),
    ],
)
def test_draw_by_draw_a_small_change_is_told_from_noise(changed: tuple[float, float, float], less: str) -> None:
    wide = RangeDocument(low=10, mid=100, high=400)
    by = RangeDocument(low=changed[0], mid=changed[1], high=changed[2])
    assert judged(wide, wide, by, less_is_better=True) == less
    turned = {"better": "worse", "worse": "better"}
    assert judged(wide, wide, by, less_is_better=False) == turned.get(less, less)


def test_a_measure_is_written_with_its_unit() -> None:
    values = {
        "wait_p95_s": 252.0,
        "cost_usd_micros": 26.7e6,
        "utilization_percent": 91.0,
        "ended": 1_234.0,
        "misses": 0.5,
    }
    assert [written(*one) for one in values.items()] == ["4m12s", "$26.70", "91%", "1 234", "0.5"]
    assert between("misses", RangeDocument(low=7.0, mid=9.0, high=12.0)) == "7 to 12"
    assert between("misses", RangeDocument(low=7.0, mid=7.0, high=7.0)) == ""


def test_an_impact_without_numbers_says_why() -> None:
    silent = ImpactDocument(text="job-9 has ended: there is nothing to preempt")
    assert text_of([impact_line(silent, 80)]) == "impact: job-9 has ended: there is nothing to preempt"
    assert "there is nothing to preempt" in text_of(impact_table(silent, 80))
    assert text_of([impact_line(None, 80)]) == "impact: not computed yet"


@pytest.mark.parametrize(
    ("field", "text", "value", "wrong"),
    [
        ({"type": "int", "from": 1, "to": 4}, "3", 3, False),
        ({"type": "int", "from": 4, "to": 1}, "2", 2, False),
        ({"type": "int", "from": 1, "to": 4}, "5", None, True),
        ({"type": "int", "from": 1, "to": 4}, "3.5", None, True),
        ({"type": "int", "from": 1}, "0", None, True),
        ({"choices": ["a", "b"]}, "b", "b", False),
        ({"choices": ["a", "b"]}, "c", None, True),
        ({"type": "str"}, " x ", "x", False),
        ({"type": "str"}, " ", None, True),
    ],
)
def test_an_edit_reads_only_what_narrows(field: dict[str, object], text: str, value: object, wrong: bool) -> None:
    got, trouble = read_value("workers", field, text)
    assert (got, bool(trouble)) == (value, wrong)
    assert allowed_range(field)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("250", (True, 250.0)),
        ("$9", (True, 9.0)),
        ("none", (True, None)),
        ("-1", (False, None)),
        ("nan", (False, None)),
        ("", (False, None)),
    ],
)
def test_caps(text: str, read: tuple[bool, float | None]) -> None:
    assert read_cap(text) == read


def test_the_palette_ranks_starts_of_words_first() -> None:
    entries = [Entry("a", "uncordon"), Entry("b", "cordon"), Entry("c", "theme")]
    assert [entry.id for entry in ranked("cor", entries)] == ["b", "a"]
    assert ranked("zzz", entries) == []


def test_action_ids_and_their_keys_are_unique() -> None:
    assert len({act.id for act in GLOBAL}) == len(GLOBAL)
    keys = [key for act in GLOBAL for key in act.keys.split(",")]
    assert len(set(keys)) == len(keys)


def test_what_is_to_be_expected_of_a_job_is_shown_with_what_it_rests_on() -> None:
    job = JobDocument(
        id="job-1",
        name="train",
        tenant="t",
        tier="standard",
        state="queued",
        priority=50,
        command=["true"],
        submitted_at=0.0,
        predicted_start_p50_s=90.0,
        predicted_text="start: with what runs and waits now; run time: no run like it known, and it takes 9",
    )

    def shown(one: JobDocument) -> str:
        return text_of(details(View(SnapshotDocument.model_construct(), now=10.0), one, None, [], 60))

    waiting = shown(job)
    assert "starts in  about 1m30s" in waiting
    assert f"ends in    {words.UNKNOWN}" in waiting
    assert "run time: no run like it" in " ".join(waiting.split())
    running = shown(
        job.model_copy(update={"state": "running", "predicted_end_p50_s": 5.0, "predicted_end_p90_s": 65.0})
    )
    assert "starts in" not in running
    assert "ends in    about 5s, 90 %: 1m05s" in running
    assert "ends in" not in shown(job.model_copy(update={"state": "succeeded", "predicted_text": ""}))
