"""The steps of a batch besides its lines: validating, finishing, and clearing up."""

import asyncio
import logging
import time

import orjson

from inferloom_gateway.batching.finishing import file_age, finish
from inferloom_gateway.batching.input_file import MOST_ERRORS, Checked, Error, Missing, check
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage import batch_lifecycle, batch_results
from inferloom_gateway.storage.batch_work import Step, Work
from inferloom_gateway.storage.failures import on_disk
from inferloom_gateway.storage.rows import Row
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError

log = logging.getLogger(__name__)

_CLEANED_AT_ONCE = 500
_ASKED_AT_ONCE = 100
"""Models that are asked for in one turn of the event loop."""


async def do_step(store: Store, runner: str, work: Work, settings: GatewaySettings, missing: Missing) -> bool:
    """Do a step that ``runner`` has claimed; False: it cannot be done now, and is to be given back."""
    try:
        row = await store.batch(work.batch)
        if row is None or work.step is Step.CLEAN:
            await _clean(store, work)
        elif work.step is Step.VALIDATE:
            await _validate(store, runner, work, row, settings, missing)
        else:
            await finish(store, runner, work, file_age(row.extra, settings.store_age_s))
    except Exception as failure:  # the claim must not outlive it
        if isinstance(failure, InferloomError):
            log.warning("batch %s waits: %s", work.batch, failure.message)
        else:
            log.exception("batch %s waits", work.batch)
        return False
    return True


async def _validate(
    store: Store, runner: str, work: Work, row: Row, settings: GatewaySettings, missing: Missing
) -> None:
    endpoint = orjson.loads(row.document)["endpoint"]

    def read() -> Checked:
        with store.contents.open(work.batch) as file:
            return check(file, work.batch, endpoint, settings.max_body_bytes)

    found = await on_disk(read)
    now = int(time.time())
    if errors := found.errors or await _unknown(found, missing):
        await store.database.write(lambda at: batch_lifecycle.fail(at, runner, work, errors, now))
    else:
        await store.database.write(
            lambda at: batch_lifecycle.start(at, runner, work, found.chunks, now, found.model)
        )


async def _unknown(found: Checked, missing: Missing) -> list[Error]:
    """The first models that there are not. Raises InferloomError where that cannot be said now."""
    errors: list[Error] = []
    for number, error in enumerate(found.unknown(missing), 1):
        if error is not None:
            errors.append(error)
        if len(errors) == MOST_ERRORS:
            break
        if error is not None or not number % _ASKED_AT_ONCE:  # to say what is meant takes a while
            await asyncio.sleep(0)
    return errors


async def _clean(store: Store, work: Work) -> None:
    while not await store.free(lambda at: batch_results.remove(at, work.batch, _CLEANED_AT_ONCE)):
        pass
    await on_disk(lambda: store.contents.delete(work.batch))
    await store.free(lambda at: batch_lifecycle.forget(at, work.tenant, work.batch))
