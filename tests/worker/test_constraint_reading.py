"""The contract's constraints: what is refused before a grammar is compiled."""

import json

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.constrain.reading import MOST_CHARACTERS, MOST_CHOICES, read_constraint
from inferloom_worker.constrain.source import source

INVALID = {
    "nothing": (pb.Constraint(), "constraint"),
    "json_object that is false": (pb.Constraint(json_object=False), "constraint.json_object"),
    "no JSON": (pb.Constraint(json_schema='{"type":'), "constraint.json_schema"),
    "JSON of another kind": (pb.Constraint(json_schema="[1]"), "constraint.json_schema"),
    "JSON that is nested too deeply": (pb.Constraint(json_schema="[" * 10**5), "constraint.json_schema"),
    "an empty regex": (pb.Constraint(regex=""), "constraint.regex"),
    "an empty grammar": (pb.Constraint(lark=" \n"), "constraint.lark"),
    "a long regex": (pb.Constraint(regex="a" * (MOST_CHARACTERS + 1)), "constraint.regex"),
    "no choices": (pb.Constraint(choice=pb.Choices()), "constraint.choice"),
    "an empty choice": (pb.Constraint(choice=pb.Choices(texts=["a", ""])), "constraint.choice"),
    "many choices": (
        pb.Constraint(choice=pb.Choices(texts=["a"] * (MOST_CHOICES + 1))),
        "constraint.choice",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_a_malformed_constraint_is_refused_at_its_field(case: str) -> None:
    """Nothing is compiled to find that out."""
    constraint, param = INVALID[case]
    with pytest.raises(InferloomError) as caught:
        source(read_constraint(constraint))

    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, param)


@pytest.mark.parametrize(
    ("regex", "lark"),
    [
        ("a/b", r"start: /a\/b/"),
        (r"a\/b", r"start: /a\/b/"),
        ("a\nb", r"start: /a\nb/"),
        (r"\d\\/", r"start: /\d\\\//"),
    ],
)
def test_a_regex_stays_between_its_slashes(regex: str, lark: str) -> None:
    """Whatever stands in it, it cannot end the terminal that it is put into."""
    (grammar,) = json.loads(source(read_constraint(pb.Constraint(regex=regex))).text)["grammars"]
    assert grammar["lark_grammar"] == lark
