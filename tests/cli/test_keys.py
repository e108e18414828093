"""`inferloom keys`, in this process."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from inferloom_cli.credentials import of_caller
from inferloom_cli.main import app
from inferloom_cli.moments import moment_of, shown_moment
from inferloom_cli.refusal import RefusedError
from inferloom_gateway.access.key_text import digest_of
from inferloom_gateway.access.stores.protocol import Flush, Usage
from inferloom_gateway.access.stores.sqlite import SqliteStore
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.settings import ServiceSettings

Keys = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys.db"


@pytest.fixture
def keys(file: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Run `inferloom keys …` with that file."""
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("INFERLOOM_KEYS", str(file))
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(app, ["keys", *args])

    return invoke


def made(keys: Keys, *args: str) -> dict[str, Any]:
    """Make a key; what is told of it."""
    told: dict[str, Any] = json.loads(keys("create", *args, "--json").stdout)
    return told


def test_a_key_is_shown_once_and_kept_as_its_hash(keys: Keys, file: Path) -> None:
    """Only it is on standard output, and the file has it nowhere."""
    done = keys("create", "--tenant", "acme")
    key = done.stdout.strip()
    assert key.startswith("sk-il-")
    assert key[6:18] in done.stderr
    (kept,) = SqliteStore(file).read()[1].keys.values()
    assert (kept.id, kept.digest, kept.tenant) == (key[6:18], digest_of(key), "acme")
    assert key[20:].encode() not in file.read_bytes()
    for listing in (keys("list"), keys("list", "--json")):
        assert kept.id in listing.stdout
        assert kept.digest not in listing.stdout
        assert key not in listing.stdout


def test_scopes_limits_and_an_end_are_kept_and_shown(keys: Keys) -> None:
    """In the list and in JSON."""
    scopes = ("-m", "smol*", "-m", "embed", "-e", "chat", "--expires", "30d", "--name", "ci")
    told = made(keys, *scopes, "--rpm", "60", "--tpm", "20000", "--concurrent", "4")
    assert (told["models"], told["endpoints"]) == (["smol*", "embed"], ["chat"])
    assert told["limits"] == {"requests_per_minute": 60, "tokens_per_minute": 20000, "concurrent": 4}
    assert 29 * 86_400 < told["expires"] - told["created"] <= 30 * 86_400
    shown = keys("list").stdout
    for word in ("ci", "smol*, embed", "chat", "60 requests/min", "20.0k tokens/min", "4 at once", "active"):
        assert word in shown
    assert "default endpoints" not in shown
    made(keys)
    assert "default endpoints: all but metrics, console, keys, operating" in keys("list").stdout


@pytest.mark.parametrize("name", ["[team] bot", "[/x]", ":dog: [red]"])
def test_a_name_is_shown_as_it_is(keys: Keys, name: str) -> None:
    """Its brackets are no style, and no error."""
    made(keys, "--name", name)
    assert name in keys("list").stdout


def test_revoked_keys_are_listed_with_all(keys: Keys) -> None:
    """By id or by the whole key; one that is not there is told and nothing is changed."""
    one, two = made(keys), made(keys, "--tenant", "other")
    assert keys("revoke", one["id"], "nobody").exit_code != 0
    assert one["id"] in keys("list").stdout
    assert keys("revoke", one["id"], two["key"]).exit_code == 0
    assert one["id"] not in keys("list").stdout
    assert keys("list", "--all").stdout.count("revoked") == 2
    assert two["id"] not in keys("list", "--all", "--tenant", "default").stdout


def test_usage_is_shown_by_day_with_its_sum(keys: Keys, file: Path) -> None:
    """Of all keys, or some."""
    one = made(keys)
    today = datetime.now(UTC).date().isoformat()
    used = [Usage(today, one["id"], 2, 3000, 40), Usage(today, "gone", 1, 1, 1)]
    SqliteStore(file).add_usage(Flush("a gateway", 1, used))
    shown = keys("usage").stdout
    for word in (one["id"], "3,000", "gone", "3,001"):
        assert word in shown
    (row,) = json.loads(keys("usage", one["id"], "--json").stdout)
    assert (row["tenant"], row["requests"], row["prompt_tokens"]) == ("default", 2, 3000)


def test_tenants_and_models_have_limits(keys: Keys) -> None:
    """Laid down, shown, and taken away."""
    made(keys)
    assert "share 2" in keys("limit", "tenant", "acme", "--tpm", "1000", "--share", "2").stdout
    keys("limit", "model", "smol*", "--concurrent", "8")
    shown = keys("limits").stdout
    assert "acme" in shown
    assert "8 at once" in shown
    keys("limit", "model", "smol*", "--remove")
    (left,) = json.loads(keys("limits", "--json").stdout)
    assert (left["kind"], left["name"], left["share"]) == ("tenant", "acme", 2.0)


def test_a_key_gets_other_limits(keys: Keys) -> None:
    """By its id or whole; what is not said is not limited any more, and the rest of the key stays."""
    one = made(keys, "--tenant", "acme", "--rpm", "60", "--concurrent", "4")
    assert "120 requests/min" in keys("limit", "key", one["id"], "--rpm", "120").stdout
    (left,) = json.loads(keys("list", "--json").stdout)
    assert left["limits"] == {"requests_per_minute": 120, "tokens_per_minute": None, "concurrent": None}
    assert left["tenant"] == "acme"
    assert "none" in keys("limit", "key", one["key"], "--remove").stdout
    keys("revoke", one["id"])
    assert "revoked" in str(keys("limit", "key", one["id"], "--rpm", "1").exception)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("create", "--endpoint", "chta"), "chat, completions"),
        (("create", "--tenant", "a b"), "no tenant's name"),
        (("create", "--expires", "soon"), "90d"),
        (("create", "--expires", "2001-01-01"), "past"),
        (("limit", "model", "m", "--share", "2"), "only tenants"),
        (("limit", "key", "k", "--share", "2"), "only tenants"),
        (("limit", "key", "nobody", "--rpm", "2"), "no key nobody"),
        (("list", "--keys", "nowhere.db"), "no key store at"),
        (("list", "--keys", "redis://127.0.0.1:1"), "cannot be used"),
    ],
)
def test_what_cannot_be_is_told(keys: Keys, args: tuple[str, ...], words: str) -> None:
    """In one line that says what to do."""
    made(keys)
    failure = keys(*args).exception
    assert isinstance(failure, RefusedError)
    assert words in str(failure)
    assert "\n" not in str(failure)


def test_moments() -> None:
    """After a while, or on a date; in UTC where nobody says otherwise."""
    assert moment_of("90d", 1000.0) == 1000.0 + 90 * 86_400
    assert moment_of("2030-01-01", 0.0) == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    assert moment_of("2030-01-01T02:00+02:00", 0.0) == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    with pytest.raises(RefusedError, match="after the year 9999"):
        moment_of("9000y", 0.0)
    assert shown_moment(9000 * 365 * 86_400.0) == "9999-12-31 00:00"  # of one that was made before
    assert shown_moment(0.0) == "1970-01-01 00:00"
    assert shown_moment(None) == "–"


def test_what_a_command_shows_a_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, else the mesh's secret; the key of somebody else's service is not given away."""
    for name in ("INFERLOOM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    secret = ServiceSettings(mesh_secret="a secret of this mesh")
    peer = MeshSecret("a secret of this mesh").metadata
    assert of_caller(ServiceSettings(), None).metadata == ()
    assert of_caller(secret, None).metadata == peer
    assert of_caller(secret, "sk-il-x").metadata == (("authorization", "Bearer sk-il-x"),)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-real")
    assert of_caller(secret, "sk-proj-real").metadata == peer
    monkeypatch.setenv("OPENAI_API_KEY", "sk-il-ours")
    assert of_caller(secret, "sk-il-ours").metadata == (("authorization", "Bearer sk-il-ours"),)


@pytest.mark.parametrize("space", ["\n", " \r\n", "\t"])
def test_white_space_around_a_key_is_none_of_it(monkeypatch: pytest.MonkeyPatch, space: str) -> None:
    """A file that holds one ends with a line end; the key of another service is known with it too."""
    monkeypatch.delenv("INFERLOOM_API_KEY", raising=False)
    shown = of_caller(ServiceSettings(), f"sk-il-x{space}").metadata
    assert shown == (("authorization", "Bearer sk-il-x"),)
    monkeypatch.setenv("OPENAI_API_KEY", f"sk-proj-real{space}")
    assert of_caller(ServiceSettings(), f"sk-proj-real{space}").metadata == ()


@pytest.mark.parametrize("key", ["“sk-il-x”", "sk-il-x y", "sk-il-x\ny", "sk-il-\udcff"])
def test_what_no_header_takes_is_no_key(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """gRPC would say only that a batch failed."""
    with pytest.raises(RefusedError, match="the API key has white space, or"):
        of_caller(ServiceSettings(), key)
    monkeypatch.delenv("INFERLOOM_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "“not ours”")
    assert of_caller(ServiceSettings(), "“not ours”").metadata == ()


def test_the_audit_log_has_exact_limits_and_somebody_without_a_name(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container a user may be a number only; a key that was made is shown nevertheless."""

    def nameless() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("inferloom_cli.keys.getuser", nameless)
    monkeypatch.setenv("INFERLOOM_AUDIT_LOG", str(tmp_path / "audit.jsonl"))
    key = made(keys)
    keys("limit", "tenant", "acme", "--tpm", "1234567")
    keys("limit", "key", key["id"], "--rpm", "1234")
    written, tenant, own = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    assert (written["event"], written["who"]) == ("key.create", f"user:{os.getuid()}")
    assert tenant["limits"]["tokens_per_minute"] == 1234567
    assert own["limits"]["requests_per_minute"] == 1234
