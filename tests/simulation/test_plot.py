"""The picture of a run is well-formed, and shows what was there."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from agentorch.simulation import reference
from agentorch.simulation.plot import POINTS, means, plot
from agentorch.simulation.run import Moment, Run
from tests.simulation.test_references import random_trace


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]


def test_a_picture_is_an_svg_with_its_title_and_axes() -> None:
    picture = plot(reference.simulate(random_trace(1), "easy", 2, 8), 'a <trace> & "policy"')
    assert texts(picture)[0] == 'a <trace> & "policy"'
    assert "GPUs in use, of 16" in texts(picture)
    assert picture.count("<polyline") == 2


@pytest.mark.parametrize(
    ("span_s", "last"), [(50, "50 s"), (3_000, "50 min"), (36_000, "10 h"), (40 * 86_400, "40 d"), (1, "1 s")]
)
def test_time_is_counted_in_what_people_count_it(span_s: int, last: str) -> None:
    run = Run(gpus=8, ends_s=[span_s], moments=[Moment(0, 0, 4), Moment(span_s, 0, 0)])
    assert last in texts(plot(run, "t"))


def test_a_run_of_one_moment_has_a_picture() -> None:
    assert texts(plot(Run(gpus=8, ends_s=[5], moments=[Moment(5, 0, 0)]), "t"))


def test_points_are_means_over_their_time() -> None:
    half = means([(0, 4.0), (50, 0.0), (100, 0.0)], 0, 100)
    assert half[0] == pytest.approx(4)
    assert half[-1] == 0
    assert sum(half) / POINTS == pytest.approx(2)
    assert sum(means([(0, 0.0), (33, 6.0), (34, 0.0), (100, 0.0)], 0, 100)) / POINTS == pytest.approx(0.06)
