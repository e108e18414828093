"""Whether the service of this container answers: gRPC's health says SERVING there.

Usage: serving registry|gateway|worker [HOST:PORT]     exit status 0 if it does

With INFERLOOM_TLS the connection is encrypted, and shows the service's own certificate.
"""

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inferloom_mesh.roles import Role
from inferloom_mesh.tls_files import TlsFiles

PORTS = {"registry": 7000, "gateway": 9000, "worker": 7100}
PATIENCE_S = 3.0


def main() -> None:
    role = Role(sys.argv[1])
    address = sys.argv[2] if len(sys.argv) > 2 else f"127.0.0.1:{PORTS[role]}"
    with _channel(address, role) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        except grpc.RpcError as failure:
            sys.exit(f"{address}: {failure.code().name}")
    if answer.status != answer.SERVING:
        sys.exit(f"{address}: {answer.ServingStatus.Name(answer.status)}")


def _channel(address: str, role: Role) -> grpc.Channel:
    folder = os.environ.get("INFERLOOM_TLS")
    if folder is None:
        return grpc.insecure_channel(address)
    files = TlsFiles(Path(folder), role).current()
    credentials = grpc.ssl_channel_credentials(files.authorities, files.key, files.certificate)
    name = ("grpc.ssl_target_name_override", role.server_name)
    return grpc.secure_channel(address, credentials, options=[name])


if __name__ == "__main__":
    main()
