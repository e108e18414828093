# The registry, which knows which workers are alive.
#   docker build -f deploy/docker/registry.Dockerfile -t inferloom-registry .
# BASE is any Debian with Python 3.11 or newer and its module venv; the pins are tested with 3.11.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE} AS build
WORKDIR /src
COPY . .
# pip itself is of no use later.
RUN python3 -m venv /opt/inferloom \
    && /opt/inferloom/bin/pip install --no-cache-dir -c constraints.txt ".[registry]" \
    && /opt/inferloom/bin/pip uninstall --yes pip setuptools

FROM ${BASE}
COPY --from=build /opt/inferloom /opt/inferloom
COPY --chmod=755 deploy/docker/serving.py /opt/inferloom/serving.py
# HOME is for libraries that look for it: nothing else is written but what volumes hold.
ENV PATH=/opt/inferloom/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    INFERLOOM_REGISTRY_LISTEN=0.0.0.0:7000 \
    INFERLOOM_REGISTRY_METRICS_LISTEN=0.0.0.0:9101
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 7000 9101
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["python3", "/opt/inferloom/serving.py", "registry"]
ENTRYPOINT ["inferloom"]
CMD ["registry"]
