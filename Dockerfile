# One image for all processes; docker-compose.yml and the chart set the command of each.
# Pin the base image by digest for production:
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:… .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/prod.txt .
# Only wheels with a hash in the file: nothing is compiled.
RUN python -m venv /venv \
    && /venv/bin/pip install --only-binary :all: --require-hashes -r prod.txt \
    && /venv/bin/pip check \
    && /venv/bin/pip uninstall -y pip setuptools
COPY manage.py /app/
COPY transcribe_platform/ /app/transcribe_platform/
COPY workers/ /app/workers/
COPY transcripts/ /app/transcripts/
COPY jobs/ /app/jobs/
# The root file system is read-only at run time, so byte code is compiled now.
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
# A number, so that Kubernetes can verify that it is not root.
USER 10001:10001
VOLUME /data
EXPOSE 8000
# Each process overrides it. The default checks the image and its settings.
CMD ["python", "manage.py", "check", "--deploy"]
