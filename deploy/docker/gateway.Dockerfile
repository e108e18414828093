# The gateway: OpenAI's REST and gRPC in, calls to workers out.
#   docker build -f deploy/docker/gateway.Dockerfile -t inferloom-gateway .
# BASE is any Debian with Python 3.11 or newer and its module venv; the pins are tested with 3.11.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE} AS build
WORKDIR /src
COPY . .
# pip itself is of no use later.
RUN python3 -m venv /opt/inferloom \
    && /opt/inferloom/bin/pip install --no-cache-dir -c constraints.txt ".[gateway,redis]" \
    && /opt/inferloom/bin/pip uninstall --yes pip setuptools \
    && mkdir /store

FROM ${BASE}
COPY --from=build /opt/inferloom /opt/inferloom
# A volume that is mounted there begins as this folder, which is the user's own.
COPY --from=build --chown=65532:65532 /store /var/lib/inferloom
COPY --chmod=755 deploy/docker/serving.py /opt/inferloom/serving.py
# HOME is for libraries that look for it: nothing else is written but what volumes hold.
ENV PATH=/opt/inferloom/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    INFERLOOM_GATEWAY_LISTEN=0.0.0.0:8000 \
    INFERLOOM_GATEWAY_GRPC_LISTEN=0.0.0.0:9000 \
    INFERLOOM_STORE=/var/lib/inferloom \
    INFERLOOM_GATEWAY_METRICS_LISTEN=0.0.0.0:9100
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8000 9000 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["python3", "/opt/inferloom/serving.py", "gateway"]
ENTRYPOINT ["inferloom"]
CMD ["gateway"]
