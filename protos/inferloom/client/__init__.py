"""A client for the contract: discovery, retries, streams that are gone on with, and answers put together.

    from inferloom.client import Client

    with Client("127.0.0.1:9000") as client:
        print(client.chat("smollm2-135m-instruct", "What is the capital of France?", temperature=0).text)

It needs no more than the bare distribution. What it has no method for is asked with the stubs in
``inferloom.v1``, or with a request of the contract given to ``generate``.
"""

from inferloom.client.aio import AsyncClient, AsyncStream
from inferloom.client.answer import Answer, Call, Choice
from inferloom.client.errors import InferloomError
from inferloom.client.requests import Message, Options
from inferloom.client.sync import Client, Stream

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "Call",
    "Choice",
    "Client",
    "InferloomError",
    "Message",
    "Options",
    "Stream",
]
