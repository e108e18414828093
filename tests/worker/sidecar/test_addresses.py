"""What people type for a server, and its key."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferloom_worker.engines.registry import names
from inferloom_worker.engines.sidecar.address import ServerAddress
from inferloom_worker.engines.sidecar.key import Key
from inferloom_worker.sourcing.flags import parse_model_flag
from inferloom_worker.sourcing.sources import SourceError
from inferloom_worker.sourcing.spec import Spec


def test_a_servers_address_says_what_people_type() -> None:
    """With or without ``/v1``, and a name where none is given is the model's."""
    address = ServerAddress.parse(
        "http://127.0.0.1:8080/v1/?model=a%2Fb&key_env=KEY&slots=4&tasks=chat+embed"
    )
    assert (address.root, address.api) == ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1")
    assert (address.model, address.key_env, address.slots) == ("a/b", "KEY", 4)
    assert address.tasks == ("chat", "embed")
    assert ServerAddress.parse("https://[::1]").api == "https://[::1]/v1"
    assert ServerAddress.parse("http://h/p/v1").root == "http://h/p"
    assert parse_model_flag("chat=sidecar:http://h/v1?model=m") == ("chat", "sidecar:http://h/v1?model=m")
    assert parse_model_flag("http://h/v1?model=m") == ("m", "http://h/v1?model=m")
    with pytest.raises(SourceError, match="name what a server serves"):
        parse_model_flag("sidecar:http://h/v1")
    assert Spec.parse("http://h/v1?model=m") == Spec("sidecar", "http://h/v1?model=m")
    assert Spec.parse("sidecar:http://h/v1") == Spec("sidecar", "http://h/v1")
    assert Spec.parse("torch:" + "x" * 5000) == Spec("torch", "x" * 5000)
    assert "sidecar" in names()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ftp://h", "given as http"),
        ("http://", "given as http"),
        ("http://h:x", "no URL"),
        ("http://user:hunter2@h/v1", "does not belong in a URL"),
        ("http://h/v1?api_key=hunter2", "is no option"),
        ("http://h/v1?model=a&model=b", "twice"),
        ("http://h/v1?slots=0", "between 1 and"),
        ("http://h/v1?kind=tgi", "kind is one of"),
        ("http://h/v1?tasks=sing", "tasks are"),
        ("http://h/v1?key_env=A&key_file=B", "exclude each other"),
        ("http://h/v1?model=x&ke\ty_env=A", "no control characters"),
        ("http:/\t/h/v1?key_file=A", "no control characters"),
        ("http://h/v1?model=a b", "no spaces"),
    ],
)
def test_what_is_no_servers_address_is_refused_without_repeating_secrets(spec: str, words: str) -> None:
    """Whatever could be one."""
    with pytest.raises(ValueError, match=words) as caught:
        ServerAddress.parse(spec)
    assert "hunter2" not in str(caught.value)


def test_keys_come_from_files_and_variables_and_are_shown_nowhere(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a repr either."""
    file = tmp_path / "key"
    file.write_text("  secret-1\n")
    monkeypatch.setenv("A_KEY", "secret-2")
    assert ServerAddress.parse(f"http://h?key_file={file}").key_source()().value == "secret-1"
    assert ServerAddress.parse("http://h?key_env=A_KEY").key_source()().value == "secret-2"
    assert ServerAddress.parse("http://h").key_source()().value == ""
    assert "secret" not in repr(Key("secret-1"))
    assert Key("secret-1").hidden_in("no secret-1 here") == "no [key] here"
    monkeypatch.setenv("A_KEY", "two words")
    with pytest.raises(ValueError, match="one word") as caught:
        ServerAddress.parse("http://h?key_env=A_KEY").key_source()
    assert "two words" not in str(caught.value)
    with pytest.raises(ValueError, match="cannot be read"):
        ServerAddress.parse(f"http://h?key_file={tmp_path}").key_source()
    file.write_text("two words")
    with pytest.raises(ValueError, match="one word"):
        ServerAddress.parse(f"http://h?key_file={file}").key_source()


KEYED = ("http://h?key_file=/x", "http://h/v1?model=a&key_env=B", "http://h?%6bey_file=/x")


@given(st.sampled_from(KEYED), st.lists(st.tuples(st.integers(0, 40), st.sampled_from("\t\r\n \0;#/"))))
def test_a_call_names_no_key_however_it_is_written(spec: str, more: list[tuple[int, str]]) -> None:
    """Whatever is read with a key is refused without one allowed."""
    for at, what in more:
        spec = spec[:at] + what + spec[at:]
    with suppress(ValueError):
        address = ServerAddress.parse(spec, keys_allowed=False)
        assert address.key_env is None
        assert address.key_file is None
    if not more:
        with pytest.raises(ValueError, match="not by a call"):
            ServerAddress.parse(spec, keys_allowed=False)
        assert ServerAddress.parse(spec)


def test_hosts_are_compared_whole() -> None:
    """With a port where one is given."""
    hosts = ("h", "[::1]:80", "g:8080")
    for spec in ("http://h", "https://H:9/v1", "http://[::1]/v1", "http://g:8080"):
        assert ServerAddress.parse(spec).is_at(hosts), spec
    for spec in ("http://h.evil", "http://[::1]:81", "http://g", "http://x/h", "http://x?model=h"):
        assert not ServerAddress.parse(spec).is_at(hosts), spec
