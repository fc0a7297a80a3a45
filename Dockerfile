# syntax=docker/dockerfile:1
#
#   az acr build -r contoso -t platform/basetracker:0.1.0 .
#
# The base comes in by an argument, so that a BaseImageTracker with `baseArgument: BASE_IMAGE` can keep this image
# current too. Both stages are of one base: the interpreter that the environment was made with is the one that runs it.
ARG BASE_IMAGE=docker.io/library/python:3.12-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /src

# An environment without pip, filled by the pip outside it. Every download is checked against its hash.
RUN python -m venv --without-pip /opt/basetracker
COPY requirements.lock ./
RUN pip --python /opt/basetracker install --require-hashes --only-binary=:all: --no-deps --no-compile \
    -r requirements.lock

# The build's own tools are pinned as well and stay in this stage.
COPY requirements-build.lock ./
RUN pip install --require-hashes --only-binary=:all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY crds crds
COPY manifests manifests
COPY operator operator
RUN pip wheel --no-build-isolation --no-deps --no-index --wheel-dir /dist . \
    && pip --python /opt/basetracker install --no-index --no-deps --no-compile /dist/*.whl \
    && /opt/basetracker/bin/python -m compileall -q /opt/basetracker/lib

FROM ${BASE_IMAGE}
# Declared again: an argument from before the first stage is known to FROM lines only.
ARG BASE_IMAGE
ARG BASE_DIGEST=""
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="basetracker" \
      org.opencontainers.image.description="Kubernetes operator that rebuilds, proves and redeploys every image whose base image has moved" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
# No bytecode is written at run time: the root file system is read-only, and it was compiled above.
ENV PATH=/opt/basetracker/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1
COPY --from=build /opt/basetracker /opt/basetracker
WORKDIR /
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["basetracker"]
CMD ["run"]
