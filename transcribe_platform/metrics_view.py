"""`/metrics` of the API: requires METRICS_TOKEN, or a request from this machine.

Prometheus scrapes each process on its own port (``workers.monitoring.exposition``).
"""

import hmac

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from jobs.accounts.client_address import client_address
from transcribe_platform.api_errors.problems import read_only


@read_only
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics of this process; 403 or 404 without access."""
    if settings.METRICS_TOKEN:
        expected = f"Bearer {settings.METRICS_TOKEN}".encode()
        authorization = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(authorization, expected):
            raise PermissionDenied
    elif not _is_local(request):
        raise Http404
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type)


def _is_local(request: HttpRequest) -> bool:
    """Return whether this machine sent the request, not a proxy on it."""
    address = client_address(request)
    is_forwarded = {"X-Forwarded-For", "Forwarded", "Via"} & set(request.headers)
    return address is not None and address.is_loopback and not is_forwarded
