"""Names that a gateway may be called by where nothing else says whose page asks."""

import pytest

from inferloom_gateway.console.own_host import is_own, own_hosts

NAMES = own_hosts("gateway.lan", "Box.example.com")


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "[::1]", "10.0.0.5:80", "localhost", "LocalHost:8000"),
        *(
            "localhost.:8000",
            "chat.localhost",
            "gateway.lan:8000",
            "box",
            "box.local:8000",
            "BOX.example.com.",
        ),
    ],
)
def test_addresses_and_its_own_names_are_its_own(host: str) -> None:
    """In any spelling that browsers send."""
    assert is_own(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            ":8000",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ),
        *("evil-localhost", "example.com", "::1", "[evil.example]", "127.0.0.1:8000:1", "local", ".local"),
        *(
            "127.0.0.1@evil.example",
            "evil.example#localhost",
            "localhost/",
            "gateway.lan.evil.example",
            "a" * 300,
        ),
    ],
)
def test_other_names_are_not(host: str) -> None:
    """Whoever has such a name can let it lead to the gateway."""
    assert not is_own(host, NAMES)


def test_a_machine_without_a_name_has_none() -> None:
    """No name is not every name."""
    assert not is_own("", own_hosts("0.0.0.0", ""))  # compared with, not bound to
