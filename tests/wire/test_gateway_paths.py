"""Which paths and methods there are, and what is said of the others."""

import pytest

from tests.wire.gateway_mesh import GatewayMesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions/", "//v1/chat/completions", "/v1//chat/completions", "///v1/chat//completions//"],
)
async def test_slashes_too_many_do_not_matter(mesh: GatewayMesh, path: str) -> None:
    """The request is answered where it was sent, and redirected nowhere."""
    answer = await mesh.http.post(f"http://{mesh.rest}{path}", json=CHAT)
    assert answer.status_code == 200
    assert answer.json()["object"] == "chat.completion"


async def test_a_list_may_end_in_a_slash(mesh: GatewayMesh) -> None:
    """/v1/models/ lists, and a model may be followed by a slash."""
    assert len((await mesh.http.get("/v1/models/")).json()["data"]) == 2
    assert (await mesh.http.get("/v1/models/org/embedder/")).json()["id"] == "org/embedder"


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/org/embedder", "/health/ready", "/health/live", "/version", "/docs"]
)
async def test_head_is_answered_as_get_without_a_body(mesh: GatewayMesh, path: str) -> None:
    """With GET's status and headers."""
    get, head = await mesh.http.get(path), await mesh.http.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    for name in ("content-type", "content-length"):
        if path != "/health/live":  # its numbers change
            assert head.headers[name] == get.headers[name]
    # The connection is in order.
    assert (await mesh.http.get(path)).content


async def test_head_of_what_is_not_there_is_404(mesh: GatewayMesh) -> None:
    """And of what can only be posted, 405."""
    assert (await mesh.http.head("/v1/models/none")).status_code == 404
    assert (await mesh.http.head("/v1/completions")).status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("GET", "/models", "The API is under /v1: /v1/models."),
        ("POST", "/chat/completions", "The API is under /v1: /v1/chat/completions."),
        ("GET", "/v1", "It is the base URL of the API: /docs lists what is under it."),
        ("POST", "/v1/v1/chat/completions", "The base URL of the API ends in a single /v1."),
        ("POST", "/api/chat", "is of Ollama's own API. Here is OpenAI's: /v1/chat/completions."),
        ("GET", "/api/tags", "is of Ollama's own API. Here is OpenAI's: /v1/models."),
        ("GET", "/api/other", "Not found: GET /api/other."),
        ("GET", "/nothing", "Not found: GET /nothing."),
    ],
)
async def test_a_path_that_is_not_there_may_be_hinted_at(
    mesh: GatewayMesh, method: str, path: str, hint: str
) -> None:
    """A wrong base URL is the usual cause."""
    answer = await mesh.http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert hint in answer.json()["error"]["message"]


async def test_errors_repeat_little_of_a_request(mesh: GatewayMesh) -> None:
    """Of a path or a media type at most 200 characters."""
    long = "x" * 5000
    answer = await mesh.http.get(f"/{long}")
    assert (answer.status_code, len(answer.json()["error"]["message"]) < 300) == (404, True)
    answer = await mesh.http.post("/tokenize", content=b"{}", headers={"content-type": long})
    assert (answer.status_code, len(answer.json()["error"]["message"]) < 300) == (415, True)


async def test_a_method_that_is_not_there_names_those_that_are(mesh: GatewayMesh) -> None:
    """In the header as in the message."""
    answer = await mesh.http.get("/v1/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    expected = "Method not allowed: GET /v1/completions; this path takes POST."
    assert answer.json()["error"]["message"] == expected


async def test_a_path_of_openais_that_is_not_served_is_no_response_by_that_name(mesh: GatewayMesh) -> None:
    """It would be one that only cannot be posted."""
    answer = await mesh.http.post("/v1/responses/compact", json={})
    assert (answer.status_code, "allow" in answer.headers) == (404, False)
    assert "POST /v1/responses/compact is not served here" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/v1/completions", "POST, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_are_told(mesh: GatewayMesh, path: str, allowed: str) -> None:
    """HAProxy's check, unless it is told another, is OPTIONS of the root; 405 is a server in trouble."""
    answer = await mesh.http.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
    assert (await mesh.http.options("/v1/nothing")).status_code == 404
