"""A gateway's settings on their way from the process that read them to those that it starts."""

import json
from pathlib import Path
from secrets import token_hex

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from inferloom_gateway.seat import Seat
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import Address


class SeatSettings(GatewaySettings):
    """Those of one of several processes: what it was handed, whatever its environment and files say."""

    taken_seat: Seat

    @property
    def seat(self) -> Seat:
        """Which of a gateway's processes this is."""
        return self.taken_seat

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing else."""
        return (init_settings,)


def handed(
    settings: GatewaySettings, rest: Address, grpc: Address, metrics: Path, counts: Path | None
) -> bytes:
    """What each process reads from its standard input.

    Args:
        settings: The gateway's.
        rest: Where REST listens, with its port.
        grpc: Where gRPC does.
        metrics: The socket where they report their metrics.
        counts: The file in which they count the limits of keys together, if there are keys.
    """
    plain = settings.plain()
    plain |= {"gateway_listen": str(rest), "gateway_grpc_listen": str(grpc)}
    if settings.no_store and settings.reasoning_key is None:  # a store has one for all
        plain["reasoning_key"] = token_hex(32)
    shared = {"metrics": str(metrics), "counts": None if counts is None else str(counts)}
    return json.dumps({"settings": plain, "shared": shared}).encode()


def taken(number: int, data: bytes) -> SeatSettings:
    """The settings of process ``number``, from 0 on, of what it was handed."""
    told = json.loads(data)
    return SeatSettings(taken_seat={"number": number, **told["shared"]}, **told["settings"])
