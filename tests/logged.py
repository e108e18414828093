"""What the project's own loggers have said.

asyncio and grpc log too, of loops that other tests have closed, whenever a collection comes by.
"""

import logging

import pytest


def own_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Records of our loggers."""
    return [record for record in caplog.records if record.name.partition(".")[0].startswith("inferloom")]
