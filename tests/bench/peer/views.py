"""The endpoint, and its leaner version."""

from uuid import uuid4

from django.db import transaction
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.bench.peer import tasks
from tests.bench.peer.authentication import SharedTokenAuthentication
from tests.bench.peer.models import Job


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job in requests and responses."""

    audio_url = serializers.URLField()
    callback_url = serializers.URLField(required=False)

    class Meta:
        model = Job
        fields = ("id", "audio_url", "callback_url", "status", "created_at")
        read_only_fields = ("id", "status", "created_at")


class JobList(APIView):
    """Jobs."""

    def post(self, request: Request) -> Response:
        """Write the job and queue it."""
        serializer = JobSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            job = serializer.save(owner=request.user)
            transaction.on_commit(lambda: tasks.transcribe.delay(str(job.pk)))
        return Response(serializer.data, status=202)


class LeanJobSerializer(serializers.Serializer[None]):
    """A job in requests."""

    audio_url = serializers.URLField()
    callback_url = serializers.URLField(default="")


class LeanJobList(APIView):
    """Jobs without rows: a shared token, one task each."""

    authentication_classes = (SharedTokenAuthentication,)

    def post(self, request: Request) -> Response:
        """Queue the job."""
        serializer = LeanJobSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        job_id = str(uuid4())
        tasks.transcribe_and_deliver.delay(job_id, **serializer.validated_data)
        return Response({"id": job_id, "status": "queued"}, status=202)
