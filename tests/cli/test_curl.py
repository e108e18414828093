"""The line to paste."""

import json
import shlex

from inferloom_cli.curl import curl_line
from inferloom_cli.mesh_report import ModelReport
from inferloom_mesh.net import Address

REST = Address("127.0.0.1", 8000)


def test_a_chat_model_is_asked_to_chat() -> None:
    """The line is valid shell whose body is valid JSON."""
    line = curl_line(REST, [ModelReport("e", ("embedding",)), ModelReport("c", ("chat", "completion"))])
    assert line is not None
    words = shlex.split(line)
    assert words[1] == "http://127.0.0.1:8000/v1/chat/completions"
    assert json.loads(words[-1])["model"] == "c"


def test_an_embedding_model_alone_is_asked_for_a_vector() -> None:
    """Without a chat model the line still shows something that works."""
    line = curl_line(REST, [ModelReport("e", ("embedding",))])
    assert line is not None
    assert "/v1/embeddings" in line


def test_models_that_can_do_nothing_known_get_no_line() -> None:
    """No line is better than one that fails."""
    assert curl_line(REST, [ModelReport("r", ("rerank",))]) is None
