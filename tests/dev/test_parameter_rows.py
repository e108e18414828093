"""The parameter table is made of the contract and rest.textproto, and what is missing in them is named."""

import pytest
from parameter_rows import REST, Source, TableError, endpoints

from inferloom.parameters import ENDPOINTS, FIELDS


@pytest.fixture(scope="module")
def source() -> Source:
    """The contract."""
    return Source.compiled()


def tabulate(source: Source, rest: str) -> list[object]:
    """The endpoints by that text."""
    table = source.table(rest)
    requests = dict.fromkeys(each.request for each in table.endpoints)
    return list(endpoints(table, [field for request in requests for field in source.fields(request)]))


def test_the_table_is_that_of_its_sources(source: Source) -> None:
    """What services import was made of what stands beside it."""
    assert tabulate(source, REST.read_text()) == list(ENDPOINTS)
    assert source.fields("EmbedRequest") == [field for field in FIELDS if field.request == "EmbedRequest"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('field: "sampling.min_p"', 'own: "nothing"', "GenerateRequest.sampling.min_p has no row"),
        ('field: "GenerateRequest.resume"', 'field: "GenerateRequest.text"', "GenerateRequest.resume"),
        ('field: "sampling.min_p"', 'field: "sampling.minp"', "min_p, for sampling.minp, which is no field"),
        ('on: ["detokenize"]', 'on: ["untokenize"]', "no such endpoint: untokenize"),
        ('name: "min_tokens"', 'name: "n"', "two rows for n"),
    ],
)
def test_what_is_missing_is_named(source: Source, old: str, new: str, said: str) -> None:
    """A field without a row, a row without a field, an endpoint that there is not, a name twice."""
    with pytest.raises(TableError, match=said.replace(".", r"\.")):
        tabulate(source, REST.read_text().replace(old, new))
