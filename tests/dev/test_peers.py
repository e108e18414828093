"""What the comparison with peers makes of figures: ratios, bars, a table and JSON."""

import io
import json
from xml.etree import ElementTree

from peers.bars import Bar, judge
from peers.compare import Rounds, Spread, ratio
from peers.picture import picture
from peers.show import numbers, table
from rich.console import Console

ROUNDS: Rounds = {
    "inferloom": [
        {"tok/s": 100.0, "TTFT, ms": 5.0, "(prompt tokens)": 7.0},
        {"tok/s": 90.0, "TTFT, ms": 6.0, "(prompt tokens)": 7.0},
        {"tok/s": 20.0, "TTFT, ms": 4.0, "(prompt tokens)": 7.0},
    ],
    "slow": [{"tok/s": 10.0}, {"tok/s": 10.0}, {"tok/s": 10.0}],
    "fast": [
        {"tok/s": 80.0, "TTFT, ms": 10.0},
        {"tok/s": 60.0, "TTFT, ms": 10.0},
        {"tok/s": 10.0, "TTFT, ms": 10.0},
    ],
}


def test_a_ratio_is_of_medians_with_the_range_of_the_rounds() -> None:
    """One bad moment of the machine in both sides of a round changes neither."""
    assert Spread(1.5, 1.25, 2.0) == ratio(ROUNDS["inferloom"], ROUNDS["fast"], "tok/s")


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    """A peer that has no such column gives none."""
    assert ratio(ROUNDS["inferloom"], ROUNDS["slow"], "TTFT, ms") is None


def test_a_bar_is_judged_against_the_best_of_its_peers_that_was_measured() -> None:
    """Twice the slowest peer is no merit, and a peer that did not run does not count."""
    [verdict] = judge([Bar("tok/s", 1.6, ("slow", "fast", "absent"))], ROUNDS)
    assert (verdict.against, verdict.value, verdict.met) == ("fast", 1.5, False)


def test_a_bar_on_a_time_is_met_from_below() -> None:
    """Less is better of times, and a bar without peers is on the figure itself."""
    ahead, itself = judge([Bar("TTFT, ms", 0.7, ("fast",)), Bar("TTFT, ms", 4.9)], ROUNDS)
    assert (ahead.value, ahead.met) == (0.5, True)
    assert (itself.value, itself.met) == (5.0, False)


def test_a_bar_whose_peers_did_not_run_has_no_verdict() -> None:
    """Nothing is claimed of what was not compared."""
    assert list(judge([Bar("tok/s", 1.0, ("absent",))], ROUNDS)) == []


def test_the_table_rates_figures_and_not_facts() -> None:
    """A fact in parentheses gets no ratio."""
    output = io.StringIO()
    Console(file=output, width=200).print(table(ROUNDS))
    rows = {line.split("  ")[0].strip(): line for line in output.getvalue().splitlines()}
    assert "1.50 × (1.25–2.00)" in rows["tok/s ↑"]
    assert "×" not in rows["(prompt tokens)"]


def test_the_numbers_are_json() -> None:
    """They hold the weights of every side, each round's figures, the ratios and the bars."""
    verdicts = list(judge([Bar("tok/s", 1.0, ("fast",))], ROUNDS))
    made = json.loads(json.dumps(numbers("chat", {"inferloom": "Q4_1"}, ROUNDS, verdicts)))
    assert made["weights"] == {"inferloom": "Q4_1"}
    assert made["ratios"]["fast"]["tok/s"] == {"middle": 1.5, "least": 1.25, "most": 2.0}
    assert made["ratios"]["slow"].keys() == {"tok/s"}
    assert made["bars"][0]["against"] == "fast"
    assert made["bars"][0]["met"] is True


def test_a_picture_has_a_dot_at_each_median() -> None:
    """On a logarithmic axis: ten times as much is as far apart anywhere."""
    drawn = ElementTree.fromstring(
        picture("a & b", {"tok/s": {"a": [1, 10, 100], "<b>": [100], "c": [1000]}})
    )
    one, two, three = (float(dot.attrib["cx"]) for dot in drawn.iter("{http://www.w3.org/2000/svg}circle"))
    assert one < two < three
    assert abs((two - one) - (three - two)) < 0.2
    words = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a & b", "tok/s", "<b>", "10.0", "100", "1,000"} <= set(words)
