# syntax=docker/dockerfile:1
# Two stages: the first installs, the second holds an interpreter, the packages and nothing else.
# The base is pinned by tag here; a deployment that must be repeatable pins it by digest:
#   docker build --build-arg BASE=python:3.11-slim-bookworm@sha256:<digest> .
# Run it with a read-only root: only /data and /config are written (docs/quickstart.md).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/einlass
WORKDIR /src
# The packages first: this layer changes only with the lock file. Wheels only, so that no
# compiler is needed, and nothing is built from source without being noticed.
COPY requirements.lock ./
RUN /opt/einlass/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY consent consent
COPY gateway gateway
COPY segments segments
RUN /opt/einlass/bin/pip install --no-deps --no-build-isolation --no-index . \
 && /opt/einlass/bin/pip uninstall --yes setuptools pip

FROM ${BASE}
LABEL org.opencontainers.image.title="einlass" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/einlass /opt/einlass
# A fixed number, so that volumes and policies can name it. The folders are made here with their
# owner: a new volume takes both over.
RUN groupadd --gid 65532 einlass \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /data --shell /usr/sbin/nologin einlass \
 && install --directory --owner=65532 --group=65532 --mode=0700 /data /config
ENV PATH=/opt/einlass/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /data
VOLUME ["/data", "/config"]
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health/live', timeout=2)"]
ENTRYPOINT ["einlass"]
CMD ["serve", "--config", "/config/einlass.toml", "--data", "/data", "--keys", "/config/keys", "--host", "0.0.0.0"]
