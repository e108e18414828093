"""Where requests about responses come in: what the store knows is looked up for them."""

import logging
import secrets
from functools import partial

from inferloom_gateway.calls.admission import Admission
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.responses.background import Background, Job
from inferloom_gateway.http.responses.follow import Follower
from inferloom_gateway.http.responses.kept import UNDER_WAY, Kept
from inferloom_gateway.http.responses.making import Known, Making, Sealing, make
from inferloom_gateway.http.responses.secret import SecretKeeper
from inferloom_gateway.http.responses.under_way import UnderWay
from inferloom_gateway.http.responses.watch import Watches
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.items import Item, references
from inferloom_gateway.http.translate.responses.listing import sealed, sealed_document
from inferloom_gateway.http.translate.responses.names import PREFIX
from inferloom_gateway.http.translate.responses.request import ENCRYPTED
from inferloom_gateway.storage.ids import NOWHERE, new_id
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, unsupported

log = logging.getLogger(__name__)

_MANY = 256
"""Items from which on a conversation is put together on the intake's thread."""


class Desk:
    """What all requests about responses share."""

    def __init__(self, gateway: Gateway, intake: Intake) -> None:
        self.kept = Kept(gateway.storage, gateway.settings.store_age_s)
        self._intake = intake
        self._gateway = gateway
        settings = gateway.settings
        self.under_way = UnderWay(self.kept, secrets.token_hex(8), settings.background_responses)
        self.watches = Watches(self.under_way)
        self._background = Background(gateway, self.under_way)
        self._secret = SecretKeeper(gateway.storage, gateway.settings.reasoning_key)

    async def make(self, body: ResponseRequest, tenant: str, request_id: str, created: int) -> Making:
        """What a request comes to.

        Raises:
            InferloomError: It cannot be expressed, or goes on from what is not there.
        """
        known = await self._known(body, tenant)
        response_id, store = await self._named(body)
        sealing = Sealing(await self._secret.seal() if _encrypted(body) else None, tenant)
        made = partial(make, body, known, response_id, request_id, created, sealing, store=store)
        if len(known.past) + len(body.input or ()) < _MANY:
            return made()
        return await self._intake.run(made)

    async def begin(self, making: Making, context: CallContext, admission: Admission | None) -> Document:
        """Begin a response in background, which ``admission`` lets in here and now, however often workers are
        then asked for it; return it as it stands.

        Raises:
            InferloomError: Its caller has had as much as he may have, or too many are under way.
        """
        calls = self._gateway.dispatcher.group(context, "generate", making.body.model, admission)
        try:
            await calls.reserve(making.asked.request)
            await self._background.start(Job(making, calls))
        except BaseException as failure:
            calls.close(failure)
            raise
        return making.begun

    async def cancel(self, tenant: str, name: str) -> Document:
        """Give up a response in background; return it. Raises InferloomError if it is not there."""
        found = await self.under_way.cancel(tenant, name)
        self._background.stop(name)
        return found

    def follow(self, tenant: str, name: str, after: int) -> Follower:
        """The events of a response in background after one number."""
        return Follower(self.watches, tenant, name, after)

    async def drain(self, patience: float) -> None:
        """Let the responses in background finish for so many seconds, and end the others."""
        await self._background.drain(patience)

    async def document(self, tenant: str, name: str, include: frozenset[str]) -> Document:
        """A response that is kept. Raises InferloomError if it is not there."""
        found = (await self.kept.get(tenant, name)).document
        if found["status"] in UNDER_WAY:
            await self.under_way.settle(tenant, name)
            found = (await self.kept.get(tenant, name)).document
        if ENCRYPTED not in include:
            return found
        return sealed_document(found, Sealing(await self._secret.seal(), tenant).close)

    async def read_by(self, tenant: str, name: str, include: frozenset[str]) -> list[Item]:
        """The items that a response's model read. Raises InferloomError if it is not there."""
        found = await self.kept.read_by(tenant, name)
        if ENCRYPTED not in include:
            return found
        return sealed(found, Sealing(await self._secret.seal(), tenant).close)

    async def _named(self, body: ResponseRequest) -> tuple[str, bool]:
        """A name, and whether the response will be kept.

        A store that cannot be used keeps nothing, and only those who need it are told with an error.
        """
        if body.background and not self.kept.storage.on:
            message = "background is not supported here: this gateway keeps nothing (--no-store)."
            raise unsupported("background", message)
        if self.kept.storage.on and body.store is not False:
            try:
                return await self.kept.new_name(), True
            except InferloomError as failure:
                if body.background:
                    raise
                log.warning("responses are not kept: %s", failure.message)
        return new_id(PREFIX, NOWHERE), False

    async def _known(self, body: ResponseRequest, tenant: str) -> Known:
        referred = list(references(body.input or ()))
        past = []
        if body.previous_response_id is not None:
            past = await self._before(tenant, body.previous_response_id)
        return Known(past, await self.kept.referred(tenant, referred) if referred else {})

    async def _before(self, tenant: str, name: str) -> list[Item]:
        """The conversation up to a response."""
        try:
            await self.under_way.settle(tenant, name)
            return await self.kept.before(tenant, name)
        except InferloomError as failure:
            param, later = "previous_response_id", failure.retry_after
            raise InferloomError(failure.reason, failure.message, param=param, retry_after=later) from failure


def _encrypted(body: ResponseRequest) -> bool:
    """Whether reasoning is encrypted or opened."""
    return ENCRYPTED in (body.include or ()) or any(item.encrypted_content for item in body.input or ())
