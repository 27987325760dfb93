# One image for every process of the platform; docker-compose.yml and the chart say which
# command each runs. Pin the base by digest where images are built for production:
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:… .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/prod.txt .
# Wheels only: nothing is compiled, and nothing is taken whose hash is not in the file.
RUN python -m venv /venv \
    && /venv/bin/pip install --only-binary :all: --require-hashes -r prod.txt \
    && /venv/bin/pip check \
    && /venv/bin/pip uninstall -y pip setuptools
COPY manage.py /app/
COPY transcribe_platform/ /app/transcribe_platform/
COPY workers/ /app/workers/
COPY transcripts/ /app/transcripts/
COPY jobs/ /app/jobs/
# The root is read-only when it runs, so byte code is made now.
RUN python -m compileall -q -j 0 /venv/lib /app

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 platform \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /tmp platform \
    && mkdir --mode 0750 /data \
    && chown 10001:10001 /data
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=transcribe_platform.settings \
    MEDIA_ROOT=/data \
    GRANIAN_HOST=0.0.0.0 \
    GRANIAN_PORT=8000 \
    LOG_FORMAT=json
WORKDIR /app
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
VOLUME /data
EXPOSE 8000
# Overridden by each process; alone it tells whether the image and its settings are sound.
CMD ["python", "manage.py", "check", "--deploy"]
