"""The base view of the API: authentication, strict query strings, cache headers.

Independent of jobs: transcripts and webhooks use it too.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, BinaryIO, NoReturn, TypeVar, cast

from django.core.handlers.asgi import ASGIRequest
from django.utils.cache import patch_vary_headers
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from jobs.accounts import audit
from jobs.accounts.authentication import TenantPrincipal, get_method
from jobs.accounts.caller import Caller
from jobs.audio.uploads import is_chunked
from jobs.concurrency import request_slots
from jobs.errors import InvalidRequest
from jobs.models import ApiKey, Tenant
from jobs.parsing import suggestions
from jobs.parsing.strict_json import pointer_to
from jobs.rest import etags
from jobs.rest.idempotency import HEADER, StoredResponse, parse_key

Input = TypeVar("Input", bound=BaseSerializer[Any])
OK = status.HTTP_200_OK
# The body of any other method is not read.
BODY_METHODS = ("POST", "PUT", "PATCH", "DELETE")


class HeaderNegotiation(DefaultContentNegotiation):
    """Choose by ``Accept`` only: DRF's ``?format=`` returns 404 for an unknown one."""

    settings = SimpleNamespace(URL_FORMAT_OVERRIDE=None)  # type: ignore[assignment]


class ApiView(APIView):
    """A view that authenticates first and rejects unknown input.

    Unknown and repeated query parameters and malformed JSON raise InvalidRequest before
    any row is read.
    """

    content_negotiation_class = HeaderNegotiation
    required_scopes: Mapping[str, str] = {}
    # Bodies of any other type are audio uploads.
    takes_raw_audio = False
    # Bodies of these types are uploads of at most ``raw_max_bytes``.
    raw_types: Collection[str] = ()
    raw_max_bytes = 0

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Run and render within one of the tenant's request slots."""
        try:
            response = super().dispatch(request, *args, **kwargs)
            return response.render() if isinstance(response, Response) else response
        finally:
            request_slots.release()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the credentials, then the query string, then the body."""
        self.perform_authentication(request)
        if request.auth is not None:
            request_slots.acquire(get_tenant(request).pk)
        super().initial(request, *args, **kwargs)
        if get_method(request) not in self.allowed_methods:
            self.http_method_not_allowed(request)
        _check_content_encoding(request)
        _open_chunked_body(request)
        self._check_query(request)
        # An upload is only read once the rest of the request is valid.
        if get_method(request) in BODY_METHODS and not self._is_upload(request):
            request.data  # noqa: B018  parsed on first use

    def _is_upload(self, request: Request) -> bool:
        return is_upload(request) or self.takes_raw_audio or self._is_raw(request)

    def _is_raw(self, request: Request) -> bool:
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return media_type in self.raw_types

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002
        """Return 204 with ``Allow``; django-cors-headers answers preflights before."""
        return Response(status=status.HTTP_204_NO_CONTENT)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Set cache headers: private always, no-store unless the response has an ETag.

        A successful GET gets an ETag, unless its view sets ``no-store``.
        """
        answer = super().finalize_response(request, response, *args, **kwargs)
        is_get = get_method(request) == "GET" and answer.status_code == OK
        is_tagged = is_get and isinstance(answer, Response)
        policy = "no-cache" if is_tagged else "no-store"
        answer.headers.setdefault("Cache-Control", f"private, {policy}")
        patch_vary_headers(answer, ["Authorization"])
        if is_tagged and "no-store" not in answer.headers["Cache-Control"]:
            answer.add_post_render_callback(partial(etags.tag, request))
        return answer

    @classmethod
    def get_query_parameters(cls, method: str) -> Sequence[str]:
        """Return the documented names; one that ends in "." is a prefix."""
        names: Sequence[str] = getattr(
            getattr(cls, method.lower(), None), "query_parameters", ()
        )
        return names

    def _check_query(self, request: Request) -> None:
        known = self.get_query_parameters(get_method(request))
        prefixes = tuple(name for name in known if name.endswith("."))
        for name, values in request.query_params.lists():
            if name not in known and not (prefixes and name.startswith(prefixes)):
                hint = suggestions.hint(name, known)
                refuse_parameter(name, f"Unknown parameter.{hint}", "unknown")
            if len(values) > 1:
                refuse_parameter(name, "This parameter is repeated.", "repeated")


class LengthRequired(APIException):
    """A body of unknown length that was sent to a WSGI process."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = "Send a Content-Length header: this server takes no chunked body."
    default_code = "length_required"


class ContentEncodingUnsupported(APIException):
    """A body with a coding that the operation does not accept."""

    status_code = status.HTTP_415_UNSUPPORTED_MEDIA_TYPE
    default_detail = "Send JSON with Content-Encoding gzip, and other bodies without."
    default_code = "content_encoding_unsupported"


def is_upload(request: Request) -> bool:
    """Return whether the body is a form, which may be large and arrive slowly."""
    return (request.content_type or "").startswith("multipart/")


def check_no_parameters(request: Request) -> None:
    """Raise InvalidRequest for query parameters: this body type has them as fields."""
    for name in request.query_params:
        refuse_parameter(
            name, "With this content type, send it in the body.", "unknown"
        )


def check_no_body(request: Request) -> None:
    """Raise InvalidRequest if the body has any field."""
    for name in request.data:
        pointer = pointer_to(name)
        raise InvalidRequest("Unknown field.", code="field_unknown", pointer=pointer)


def refuse_parameter(name: str, message: str, problem: str = "invalid") -> NoReturn:
    """Raise InvalidRequest for a query parameter; its pointer is ``?name``."""
    code = f"parameter_{problem}"
    raise InvalidRequest(message, code=code, pointer=f"?{name}")


def get_tenant(request: Request) -> Tenant:
    """Return the tenant of the request's API key."""
    return cast("TenantPrincipal", request.user).tenant


def get_api_key(request: Request) -> ApiKey:
    """Return the API key of the request."""
    return cast("ApiKey", request.auth)


def get_actor(request: Request) -> str:
    """Return the name of the request's API key for the audit log."""
    return audit.get_actor(get_api_key(request))


def validate(request: Request, serializer: type[Input]) -> Input:
    """Return the serializer of the body; raises ValidationError or InvalidRequest."""
    body = serializer(data=request.data, context={"tenant": get_tenant(request)})
    body.is_valid(raise_exception=True)
    return body


def get_caller(request: Request) -> Caller:
    """Return tenant, API key and Idempotency-Key; raises InvalidRequest."""
    key = parse_key(request.headers.get(HEADER))
    return Caller(tenant=get_tenant(request), api_key=get_api_key(request), key=key)


def respond(
    stored: StoredResponse, *, replayed: bool, retry_after: int = 2, **fields: Any
) -> Response:
    """Build the response; ``fields`` are added to its body but not stored.

    ``retry_after`` is in seconds; 0 omits the header.
    """
    headers = {"Location": stored.location} if stored.location else {}
    if retry_after:
        headers["Retry-After"] = str(retry_after)
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    body = {**stored.body, **fields}
    return Response(body, status=stored.status_code, headers=headers)


def _open_chunked_body(request: Request) -> None:
    """Let the parsers read a body of unknown length, which DRF takes for empty.

    Raises LengthRequired over WSGI, where an aborted body ends like a complete one
    (``WSGIBody`` of granian: src/wsgi/types.rs).
    """
    if not is_chunked(request.META):
        return
    if not isinstance(request._request, ASGIRequest):  # noqa: SLF001  DRF offers no other way
        raise LengthRequired
    request._stream = cast("BinaryIO", request._request)  # noqa: SLF001


def _check_content_encoding(request: Request) -> None:
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    is_json = (request.content_type or "").startswith("application/json")
    if coding not in {"", "identity"} and not (coding == "gzip" and is_json):
        raise ContentEncodingUnsupported
