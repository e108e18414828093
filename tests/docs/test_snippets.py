"""Every block that README and the documents show could be typed, as it stands there."""

import ast
import json
import tomllib

import pytest
import yaml

from inferloom_cli.known_settings import known_names
from inferloom_mesh.suggestion import nearest
from tests.docs.commands import check
from tests.docs.snippets import OUTPUT, Snippet, lines, snippets

HELD = [each for each in snippets() if not each.illustrative and each.language not in OUTPUT]


def test_there_are_some() -> None:
    """And the few that are held to nothing say why."""
    assert len(HELD) > 25
    assert all(len(each.illustrative) > 10 for each in snippets() if each.illustrative)


@pytest.mark.parametrize("snippet", HELD, ids=str)
def test_what_is_shown_could_be_typed(snippet: Snippet) -> None:
    """Commands have the flags that they are given, bodies are what paths take, settings are known."""
    match snippet.language:
        case "sh":
            for line in lines(snippet):
                check(line.words)
        case "python":
            ast.parse(snippet.text)
        case "toml":
            for name in tomllib.loads(snippet.text):
                assert name in known_names(), f"{name}; {nearest(name, known_names())}?"
        case "json":
            json.loads(snippet.text)
        case "yaml":
            list(yaml.safe_load_all(snippet.text))
        case _:
            pytest.fail(f"nothing reads {snippet.language}")
