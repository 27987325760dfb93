"""What the API's views have in common: strict query strings, callers, answers.

Knows nothing of jobs; transcripts and webhooks build their views on it too.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn, cast

from django.utils.cache import patch_vary_headers
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.accounts.authentication import TenantPrincipal, method_of
from jobs.accounts.caller import Caller
from jobs.errors import InvalidRequest
from jobs.models import ApiKey, Tenant
from jobs.rest import etags
from jobs.rest.idempotency import HEADER, StoredResponse, parse_key
from jobs.strict_json import pointer_to

OK = status.HTTP_200_OK
# With any other method a body has no meaning, and is not read.
BODY_METHODS = ("POST", "PUT", "PATCH", "DELETE")


class HeaderNegotiation(DefaultContentNegotiation):
    """Choose by ``Accept``; DRF's own ``?format=`` answers 404 to a bad one."""

    settings = SimpleNamespace(URL_FORMAT_OVERRIDE=None)  # type: ignore[assignment]


class ApiView(APIView):
    """A view that asks who it is first, and takes only what it knows.

    Query parameters that it does not know, doubled ones and unsound JSON are refused
    before any row is looked for.
    """

    content_negotiation_class = HeaderNegotiation
    required_scopes: Mapping[str, str] = {}
    # By method; a name that ends in a full stop stands for all that begin with it.
    query_parameters: Mapping[str, Sequence[str]] = {}
    # A body of any other type is an upload as well.
    takes_raw_audio = False
    # Bodies of these types are uploads as well, of so many bytes at most.
    raw_types: Collection[str] = ()
    raw_max_bytes = 0

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the caller, then the query string, then the body."""
        self.perform_authentication(request)
        super().initial(request, *args, **kwargs)
        if method_of(request) not in self.allowed_methods:
            self.http_method_not_allowed(request)
        _check_length_is_known(request)
        self._check_query(request)
        # An upload waits until all else about the request is known to be sound.
        if method_of(request) in BODY_METHODS and not self._is_upload(request):
            request.data  # noqa: B018  parsed on first use

    def _is_upload(self, request: Request) -> bool:
        return is_upload(request) or self.takes_raw_audio or self._is_raw(request)

    def _is_raw(self, request: Request) -> bool:
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        return kind in self.raw_types

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002
        """Name the methods in ``Allow``; browsers of other origins get no leave."""
        return Response(status=status.HTTP_204_NO_CONTENT)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Keep answers out of others' caches; only what is tagged may be kept at all.

        What was read is tagged, unless its view lets nobody store it.
        """
        answer = super().finalize_response(request, response, *args, **kwargs)
        is_read = method_of(request) == "GET" and answer.status_code == OK
        is_tagged = is_read and isinstance(answer, Response)
        keeping = "no-cache" if is_tagged else "no-store"
        answer.headers.setdefault("Cache-Control", f"private, {keeping}")
        patch_vary_headers(answer, ["Authorization"])
        if is_tagged and "no-store" not in answer.headers["Cache-Control"]:
            answer.add_post_render_callback(partial(etags.tag, request))
        return answer

    def _check_query(self, request: Request) -> None:
        known = self.query_parameters.get(method_of(request), ())
        prefixes = tuple(name for name in known if name.endswith("."))
        for name, values in request.query_params.lists():
            if name not in known and not (prefixes and name.startswith(prefixes)):
                refuse_parameter(name, "There is no such parameter.", "unknown")
            if len(values) > 1:
                refuse_parameter(name, "This parameter was given twice.", "repeated")


class LengthRequired(APIException):
    """A body came in chunks; neither gateway says where such a one ends."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = "Send a Content-Length: chunked bodies are not taken."
    default_code = "length_required"


def is_upload(request: Request) -> bool:
    """Tell a body that may be large and long on its way from one of JSON."""
    return (request.content_type or "").startswith("multipart/")


def check_no_parameters(request: Request) -> None:
    """Raise InvalidRequest for parameters that belong to another kind of body."""
    for name in request.query_params:
        refuse_parameter(name, "With this body, it stands in it.", "unknown")


def check_no_body(request: Request) -> None:
    """Raise InvalidRequest if the request has fields where none are known."""
    for name in request.data:
        message = "There is no such field."
        pointer = pointer_to(name)
        raise InvalidRequest(message, code="field_unknown", pointer=pointer)


def refuse_parameter(name: str, message: str, problem: str = "invalid") -> NoReturn:
    """Raise InvalidRequest for a query parameter (``?`` marks it as one)."""
    code = f"parameter_{problem}"
    raise InvalidRequest(message, code=code, pointer=f"?{name}")


def tenant_of(request: Request) -> Tenant:
    """Return the tenant whose key came with the request."""
    return cast("TenantPrincipal", request.user).tenant


def key_of(request: Request) -> ApiKey:
    """Return the key that came with the request."""
    return cast("ApiKey", request.auth)


def caller_of(request: Request) -> Caller:
    """Return who asks, and the Idempotency-Key; raises InvalidRequest for a bad one."""
    key = parse_key(request.headers.get(HEADER))
    return Caller(tenant=tenant_of(request), api_key=key_of(request), key=key)


def respond(
    answer: StoredResponse, *, replayed: bool, retry_after: int = 2
) -> Response:
    """Turn an answer into a response, saying if it is a repeated one.

    ``retry_after`` 0 says that there is nothing to come back for.
    """
    headers = {"Location": answer.location}
    if retry_after:
        headers["Retry-After"] = str(retry_after)
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.body, status=answer.status_code, headers=headers)


def _check_length_is_known(request: Request) -> None:
    # Django reads no body without a length, so fields would seem to be missing.
    if "Transfer-Encoding" in request.headers and not request.META.get(
        "CONTENT_LENGTH"
    ):
        raise LengthRequired
