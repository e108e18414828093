"""Keys: what they look like, what they open, and what is said to who has none."""

import base64
import re

import pytest

from inferloom_gateway.access.api_key import (
    ApiKey,
    Limits,
    Policy,
    UnfitError,
    check_tenant,
    key_from,
    policy_from,
    to_plain,
)
from inferloom_gateway.access.endpoints import NAMED_ONLY, NAMES, OPEN, of_method, of_path, opened
from inferloom_gateway.access.identity import Identity
from inferloom_gateway.access.key_text import digest_of, fits, id_of, new_key
from inferloom_gateway.access.keyring import Keyring, bearer
from inferloom_mesh.errors import InferloomError, Reason

NAME, TEXT = new_key()


def key(**more: object) -> ApiKey:
    """A key of the tenant acme."""
    return ApiKey(NAME, digest_of(TEXT), "acme", **more)  # type: ignore[arg-type]


def refused(ring: Keyring, text: str, now: float = 100.0) -> str:
    """What is said to who shows ``text``."""
    with pytest.raises(InferloomError) as caught:
        ring.key(text, now)
    assert caught.value.reason is Reason.INVALID_API_KEY
    assert text not in caught.value.message or not text
    return caught.value.message


def test_a_key_has_a_prefix_an_id_and_256_random_bits() -> None:
    """The id can be read from it, and no two are alike."""
    found = re.fullmatch(r"sk-il-([0-9a-f]{12})-(.{43})", TEXT)
    assert found is not None
    assert found[1] == NAME == id_of(TEXT)
    assert len(base64.urlsafe_b64decode(found[2] + "=")) == 32
    assert len({new_key()[1] for _ in range(100)}) == 100


def test_only_the_whole_key_fits() -> None:
    """Not its beginning, nor another with the same id; and nothing of it is kept."""
    digest = digest_of(TEXT)
    assert fits(TEXT, digest)
    assert not fits(TEXT[:-1], digest)
    assert not fits(TEXT, None)
    assert TEXT[-20:] not in str(to_plain(key()))


def test_a_key_is_found_and_the_others_are_refused() -> None:
    """What was shown is not repeated, but for the id of a key of ours."""
    ring = Keyring({NAME: key()})
    assert ring.key(TEXT, 100.0).tenant == "acme"
    assert "didn't provide" in refused(ring, "")
    assert refused(ring, "sk-proj-somebody-elses-secret") == "Incorrect API key provided."
    forged = f"sk-il-{NAME}-{'A' * 43}"
    assert refused(ring, forged) == f"Incorrect API key provided: sk-il-{NAME}-…."
    assert refused(Keyring(), TEXT) == refused(ring, forged)  # nobody learns which ids there are


def test_a_revoked_key_and_an_expired_one_open_nothing() -> None:
    """Who has the whole key is told why."""
    assert "revoked" in refused(Keyring({NAME: key(revoked=50.0)}), TEXT)
    ring = Keyring({NAME: key(expires=100.0)})
    assert "expired" in refused(ring, TEXT, 100.0)
    assert ring.key(TEXT, 99.9).id == NAME


def test_one_bearer_is_expected() -> None:
    """The scheme's case does not matter; several headers, or another scheme, are refused."""
    assert bearer([]) == ""
    assert bearer(["bearer  abc "]) == "abc"
    for wrong in (["Basic abc"], ["Bearer a", "Bearer b"], [""]):
        with pytest.raises(InferloomError):
            bearer(wrong)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/chat/completions/chatcmpl-1", "chat"),
        ("/v1/completions", "completions"),
        ("/v1/engines/m/embeddings", "embeddings"),
        ("/v1/models/a/b", "models"),
        ("/v1/modelsx", ""),
        ("/inferloom.v1.InferenceService/Embed", "embeddings"),
        ("/docs", ""),
    ],
)
def test_paths_belong_to_endpoints(path: str, name: str) -> None:
    """By their beginnings, whole steps at a time."""
    assert of_path(path) == name


def test_scopes() -> None:
    """Without any, a key opens all but what must be named; with some, those and the pages that are no
    endpoint's."""
    assert all(opened(name, ()) == (name not in NAMED_ONLY) for name in NAMES)
    assert opened("chat", ("chat", "models"))
    assert not opened("files", ("chat", "models"))
    assert opened("", ("chat",))
    assert not opened("metrics", ("*",))
    assert opened("metrics", ("metrics",))
    assert of_method("/inferloom.v1.InferenceService/Tokenize") == "tokenize"
    assert (
        of_method("/inferloom.v1.RegistryService/ListWorkers") == of_path("/inferloom.v1.X/Y") == "operating"
    )
    assert "/metrics" not in OPEN


def test_models_are_named_as_in_a_shell() -> None:
    """A key without patterns opens all; the error names model and key, not the patterns."""
    assert key().opens_model("any/thing")
    identity = Identity("acme", NAME, key(models=("smol*", "org/embedder")))
    identity.check_model("smollm2-135m-instruct")
    with pytest.raises(InferloomError) as caught:
        identity.check_model("gpt-4")
    assert caught.value.reason is Reason.PERMISSION_DENIED
    assert caught.value.message == f"The API key {NAME} has no access to the model 'gpt-4'."


def test_what_is_kept_is_read_back_and_more_is_left_out() -> None:
    """A store that a newer version wrote can be read."""
    one = key(models=("a",), endpoints=("chat",), limits=Limits(60, None, 2), expires=5.0, name="n")
    assert key_from({**to_plain(one), "newer": 1}) == one
    policy = Policy(Limits(tokens_per_minute=9), 2.5)
    assert policy_from(to_plain(policy)) == policy


def test_the_best_policy_is_the_name_itself_then_the_longest_pattern() -> None:
    """And none where nothing fits."""
    one, two, three = Policy(share=1), Policy(share=2), Policy(share=3)
    ring = Keyring(tenants={"*": one, "ac*": two, "acme": three})
    assert [ring.tenant(name) for name in ("acme", "acorn", "other")] == [three, two, one]
    assert ring.model("m") is None


def test_what_cannot_be_is_refused() -> None:
    """Negative limits, shares of nothing, and names that would not fit in a log line."""
    for make in (
        lambda: Limits(-1),
        lambda: Policy(share=0),
        lambda: check_tenant("a b"),
        lambda: check_tenant(""),
        lambda: check_tenant("x" * 65),
    ):
        with pytest.raises(UnfitError):
            make()


def test_a_share_of_a_limit_is_rounded_down_and_not_to_nothing() -> None:
    """Two gateways of a half each never let more in than the whole."""
    assert Limits(5, 101, 1).times(0.5) == Limits(2, 50, 1)
    assert Limits(0, None, None).times(0.5) == Limits(0, None, None)
