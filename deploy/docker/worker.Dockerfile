# A worker on the CPU; with TORCH_INDEX= on a GPU too.
#   docker build -f deploy/docker/worker.Dockerfile -t inferloom-worker .
# BASE is any Debian with Python 3.11 or newer and its module venv; the pins are tested with 3.11.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE} AS build
# A compiler for the kernels, which stays in this stage; its version is the base's.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# PyTorch without CUDA. An empty TORCH_INDEX takes it from PyPI, with CUDA: the image for GPUs.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# What the worker is to do, as in the README's table of extras, and packages beside it. vLLM pins what it needs itself:
# EXTRAS=worker,vllm ALSO=ray CONSTRAINTS=/dev/null TORCH_INDEX=
ARG EXTRAS=worker,torch
ARG ALSO=
ARG CONSTRAINTS=constraints.txt
ARG INFERLOOM_KERNELS=1
# hadolint ignore=SC2086
RUN python3 -m venv /opt/inferloom \
    && /opt/inferloom/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c "$CONSTRAINTS" ".[$EXTRAS]" $ALSO
# Models that come with the image; `pull` checks their hashes. Larger ones are mounted.
ARG MODELS="smollm2-135m-instruct all-minilm-l6-v2"
ENV INFERLOOM_CACHE_DIR=/opt/inferloom/cache
RUN mkdir -p "$INFERLOOM_CACHE_DIR" \
    && for model in $MODELS; do /opt/inferloom/bin/inferloom pull "$model" || exit 1; done \
    && /opt/inferloom/bin/pip uninstall --yes pip

FROM ${BASE}
# For GPUs: RUNTIME="gcc libc6-dev", with which Triton makes what starts its kernels; Python's headers are the base's.
ARG RUNTIME=
# hadolint ignore=DL3008,SC2086
RUN if [ -n "$RUNTIME" ]; then apt-get update && apt-get install -y --no-install-recommends $RUNTIME && rm -rf /var/lib/apt/lists/*; fi
COPY --from=build /opt/inferloom /opt/inferloom
COPY --chmod=755 deploy/docker/serving.py /opt/inferloom/serving.py
# Where volumes go: what comes from the model hub, and what Triton and vLLM compile.
RUN install -d -o 65532 -g 65532 /var/cache/inferloom
# HOME is for libraries that look for it: nothing else is written but what volumes hold.
ENV PATH=/opt/inferloom/bin:$PATH \
    HOME=/tmp \
    HF_HOME=/var/cache/inferloom/huggingface \
    TRITON_CACHE_DIR=/var/cache/inferloom/triton \
    XDG_CACHE_HOME=/var/cache/inferloom \
    PYTHONUNBUFFERED=1 \
    INFERLOOM_WORKER_LISTEN=0.0.0.0:7100 \
    INFERLOOM_WORKER_LINK_PORT=7200 \
    INFERLOOM_CACHE_DIR=/opt/inferloom/cache \
    INFERLOOM_WORKER_METRICS_LISTEN=0.0.0.0:9102
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 7100 7200 9102
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["python3", "/opt/inferloom/serving.py", "worker"]
ENTRYPOINT ["inferloom"]
CMD ["worker"]
