"""What one request for a response comes to, before a worker is asked."""

from dataclasses import dataclass, field

from inferloom_gateway.http.responses.saved import Saved
from inferloom_gateway.http.responses.seal import Seal
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.translate.responses import document, items, request, turns
from inferloom_gateway.http.translate.responses.assembly import Assembly
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.items import Item
from inferloom_gateway.http.translate.responses.names import Names
from inferloom_gateway.http.translate.responses.request import ENCRYPTED, Asked


@dataclass(frozen=True, slots=True)
class Sealing:
    """Encrypts and opens the reasoning of one tenant."""

    seal: Seal | None
    """None: nothing is to be encrypted or opened."""
    tenant: str

    def close(self, text: str) -> str:
        """Reasoning as ``encrypted_content``."""
        assert self.seal is not None
        return self.seal.seal(text, self.tenant)

    def open(self, sealed: str) -> str | None:
        """The reasoning in an ``encrypted_content``."""
        return None if self.seal is None else self.seal.unseal(sealed, self.tenant)


@dataclass(frozen=True, slots=True)
class Making:
    """A response that is to be made. Each assembly of it begins anew."""

    body: ResponseRequest
    asked: Asked
    begun: Document
    items: list[Item]
    """What was sent, as it is kept."""
    sealing: Sealing = field(repr=False)

    def assembly(self) -> Assembly:
        """What its events are put together in."""
        wanted = ENCRYPTED in (self.body.include or ())
        return Assembly({**self.begun}, self.sealing.close if wanted else None)

    def saved(self, made: Document) -> Saved:
        """What is kept of it: reasoning in the clear, since it is only encrypted for who asks."""
        output = [
            {key: value for key, value in item.items() if key != "encrypted_content"}
            for item in made["output"]
        ]
        return Saved({**made, "output": output}, self.items, self.body.previous_response_id)


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of what a request goes on from."""

    past: list[Item] = field(default_factory=list)
    referred: dict[str, Item] = field(default_factory=dict)


def make(
    body: ResponseRequest,
    known: Known,
    response_id: str,
    request_id: str,
    created: int,
    sealing: Sealing,
    *,
    store: bool,
) -> Making:
    """What a request comes to. Pure.

    Raises:
        InferloomError: It cannot be expressed.
    """
    sent = items.kept(
        body.input or [],
        Names(response_id),
        sealing.open,
        known.referred,
        (item["id"] for item in known.past),
    )
    conversation = turns.turns(body.instructions, known.past, sent)
    asked = request.generation(body, request_id, conversation)
    return Making(body, asked, document.begun(body, response_id, created, store=store), sent, sealing)
