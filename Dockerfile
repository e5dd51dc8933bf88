# The worker, and the command `relight`, as an image.
FROM python:3.11.14-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /opt/relight

# What it stands on changes seldom, and has a layer of its own; every file is checked against its
# hash. The lock is one for tests and production, so that both run the same.
COPY requirements.lock ./
RUN pip install --quiet --require-hashes --requirement requirements.lock

COPY . .
RUN pip install --quiet --no-deps --no-build-isolation --editable . \
    && useradd --system --create-home --home-dir /var/lib/relight relight \
    && chmod 0700 /var/lib/relight

USER relight
ENV RELIGHT_HOME=/var/lib/relight \
    RELIGHT_LOG_FORMAT=json

# The server must have heard from this container's worker.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-m", "starter.worker_check"]

STOPSIGNAL SIGTERM
CMD ["python", "-m", "worker"]
