# Image with the worker and the command `relight`.
FROM python:3.11.16-slim-bookworm@sha256:c425d915a89a6dcd3183b1797ad9bd8878caff5a417f6371c8df93c8ea8b727f AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_QUIET=1

WORKDIR /build
RUN python -m venv --without-pip /opt/relight

# Dependencies change rarely, so they have their own layer; each file is checked against its hash.
# What only tests, checks and labs need is not in this lock file. The versions are those of tests.
# The extra `images` is: a worker stages disks.
COPY requirements-worker.lock ./
RUN pip --python /opt/relight install --require-hashes --requirement requirements-worker.lock

# The build backend is the image's own, so nothing is downloaded without a hash.
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/relight install --no-deps /wheels/*.whl


FROM python:3.11.16-slim-bookworm@sha256:c425d915a89a6dcd3183b1797ad9bd8878caff5a417f6371c8df93c8ea8b727f

# sqv verifies the index of an apt repository, gpg reads its key; `relight route ssh` needs ssh, and
# the upload of a disk to Linode qemu-img. The home folder is open to any account: the compose file
# may name one that this image does not know.
RUN apt-get -qq update \
    && apt-get -qq install --no-install-recommends gpg openssh-client qemu-utils sqv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/relight relight \
    && install --directory --mode 1777 /var/lib/relight

COPY --from=build /opt/relight /opt/relight

USER relight
WORKDIR /var/lib/relight
ENV PATH=/opt/relight/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RELIGHT_HOME=/var/lib/relight \
    RELIGHT_LOG_FORMAT=json

STOPSIGNAL SIGTERM
CMD ["python", "-m", "worker"]
