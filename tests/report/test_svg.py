"""Drawing by value: where things stand, what has no room, and what text may hold."""

import math
import re
from xml.etree import ElementTree

import pytest

from batchproc.report.svg import Label, LegendKey, Plot, even_ticks, legend_px, letters_px


def plot(**more: object) -> Plot:
    return Plot((380, 100), (20, 10, 10, 20), (0, 10), (0, 1), **more)


def drawn(plot: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(plot.svg("one", "A title", "A sentence."))


def test_values_stand_between_the_ends_of_their_axes() -> None:
    made = plot()

    assert [20, 195, 370] == [made.x(value) for value in (0, 5, 10)]
    assert [80, 45, 10] == [made.y(value) for value in (0, 0.5, 1)]


def test_an_axis_may_place_its_values_itself() -> None:
    made = Plot((380, 100), (20, 10, 10, 20), (1, 100), (0, 1), place=(math.log, float))

    assert [20, 195, 370] == [round(made.x(value)) for value in (1, 10, 100)]


def test_a_second_plot_draws_on_the_same_drawing() -> None:
    first = plot()
    second = plot(on=first)
    first.write("above", 0, 10)
    second.write("below", 0, 50)

    assert ["above", "below"] == [text.text for text in drawn(second).iter("text")]


def test_a_drawing_has_short_numbers_and_the_same_text_each_time() -> None:
    def svg() -> str:
        made = plot()
        made.bar((0, 10 / 3), 0.5, 0.2, "cpu")
        made.line([(0, 0), (1 / 3, 2 / 3), (10, 1)], LegendKey(name="a", role="ink", steps=True))
        made.marks([(1 / 7, 1 / 3)], "o", 5, "cpu")
        return str(made.svg("one", "A title", "A sentence."))

    assert svg() == svg()
    assert [] == re.findall(r"\d\.\d\d|-0\b", svg())


def test_steps_hold_each_value_until_the_next() -> None:
    made = plot()
    made.line([(0, 0), (5, 1), (10, 0.5)], LegendKey(name="a", role="ink", steps=True))

    assert ["M20 80L195 80L195 10L370 10L370 45"] == [path.get("d") for path in drawn(made).iter("path")]


def test_text_from_outside_is_escaped_on_one_line_and_without_its_secrets() -> None:
    made = plot()
    made.write("</svg><b>\n\u202e https://x.test/?token=tr0ub4dor µ", 0, 0)
    text = made.svg("one", "<title>", "a & b")

    assert "<b>" not in text
    assert "tr0ub4dor" not in text
    assert "a &amp; b" in text
    assert "\u202e" not in text
    assert [True] == [(one.text or "").endswith("µ") for one in drawn(made).iter("text")]


def test_a_tick_without_room_is_left_out_and_none_sticks_out() -> None:
    made = plot()
    made.ticks_x([(10, "a long name"), (0, "a longer name"), (9.5, "too near"), (5, "middle")], grid=True)
    texts = list(drawn(made).iter("text"))

    assert ["a long name", "a longer name", "middle"] == [one.text for one in texts]
    assert ["end", None, "middle"] == [one.get("text-anchor") for one in texts]
    assert float(texts[0].get("x", 0)) <= made.width
    assert float(texts[1].get("x", 0)) >= 0
    assert 3 == sum(path.get("d", "").count("V") for path in drawn(made).iter("path"))


@pytest.mark.parametrize(
    ("high", "most", "expected"),
    [(1, 4, [0, 0.25, 0.5, 0.75, 1]), (110, 4, [0, 30, 60, 90]), (0.05, 2, [0, 0.025, 0.05]), (9, 8, [0, 2, 4, 6, 8])],
)
def test_ticks_are_round_numbers_at_even_steps(high: float, most: int, expected: list[float]) -> None:
    assert pytest.approx(expected) == even_ticks(high, most)


def test_a_legend_begins_a_row_where_a_name_has_no_room_and_loses_none() -> None:
    keys = [LegendKey(name=name * 20, role="cpu", shape="s") for name in "abcd"]
    made = plot()
    made.legend(keys)
    texts = list(drawn(made).iter("text"))

    assert [key.name for key in keys] == [one.text for one in texts]
    assert 2 == len({one.get("y") for one in texts}) == legend_px(keys, made.width) / legend_px(keys[:1], made.width)
    assert all(float(one.get("x", 0)) + letters_px(one.text or "") <= made.width for one in texts)


def test_a_chart_is_labelled_for_those_who_do_not_see_it() -> None:
    chart = Label(name="one", title="Speed", sentence="It took 3 s.", note="beside").charts(lambda width: plot())
    root = ElementTree.fromstring(str(chart.narrow))

    assert "one-narrow-title one-narrow-desc" == root.get("aria-labelledby")
    assert [("one-narrow-title", "Speed"), ("one-narrow-desc", "It took 3 s.")] == [
        (one.get("id"), one.text) for one in root if one.tag in ("title", "desc")
    ]
    assert {"img"} == {root.get("role")}
