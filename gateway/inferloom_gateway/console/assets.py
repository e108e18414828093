"""The page's own files, read once: what a browser gets before it has shown a key."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FOLDER = "page"

INDEX = "index.html"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""What the page may do: run its own scripts, ask its own gateway, and nothing else. No text becomes markup: a
browser that knows trusted types throws where that would happen."""

SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
"""Headers of everything under ``/console``."""

_PAGE = {
    **SAFE,
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, and the headers that it goes out with."""

    body: bytes
    media_type: str
    tag: str
    """Its entity tag, by its content."""

    @property
    def headers(self) -> dict[str, str]:
        """Its response's headers."""
        return {**_PAGE, "etag": self.tag}

    def held(self, if_none_match: str) -> bool:
        """Whether a browser that sent this header has it already."""
        return self.tag in (each.strip().removeprefix("W/") for each in if_none_match.split(","))


@cache
def assets() -> dict[str, Asset]:
    """All files by their names; there are no others, whatever a path says."""
    found = {}
    for file in files(__package__).joinpath(FOLDER).iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            body = file.read_bytes()
            found[file.name] = Asset(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found
