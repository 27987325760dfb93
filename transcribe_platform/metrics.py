"""`/metrics` at the public door: for whoever has the token, else for this machine.

Prometheus itself asks each process on its own port (``workers.monitoring.exposition``).
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
    """Return the metrics of the process that answers; 403 or 404 to strangers."""
    if settings.METRICS_TOKEN:
        expected = f"Bearer {settings.METRICS_TOKEN}".encode()
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            raise PermissionDenied
    elif not _is_of_this_machine(request):
        raise Http404
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type)


def _is_of_this_machine(request: HttpRequest) -> bool:
    """Tell whether it came from here, and not through a proxy that stands here."""
    address = client_address(request)
    is_forwarded = {"X-Forwarded-For", "Forwarded", "Via"} & set(request.headers)
    return address is not None and address.is_loopback and not is_forwarded
