# Image with the worker and the command `relight`.
FROM python:3.11.14-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

# sqv verifies the index of an apt repository, gpg reads its key.
RUN apt-get -qq update \
    && apt-get -qq install --no-install-recommends gpg sqv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/relight

# Dependencies change rarely, so they have their own layer; each file is checked against its hash.
# Tests and production use the same lock file, and so the same versions.
COPY requirements.lock ./
RUN pip install --quiet --require-hashes --requirement requirements.lock

COPY . .
RUN pip install --quiet --no-deps --no-build-isolation --editable . \
    && useradd --system --create-home --home-dir /var/lib/relight relight \
    && chmod 0700 /var/lib/relight

USER relight
ENV RELIGHT_HOME=/var/lib/relight \
    RELIGHT_LOG_FORMAT=json

# Healthy: the Temporal server lists the worker of this container.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-m", "starter.worker_check"]

STOPSIGNAL SIGTERM
CMD ["python", "-m", "worker"]
