"""The introduction of the OpenAPI document and of /docs."""

INTRODUCTION = """\
Submit audio by URL or as a file, and get its transcript by webhook, by polling or from
a link. Requests and responses are JSON over HTTP. Times are UTC (RFC 3339). Ids are
opaque UUIDs that sort by time. `/v1` changes only by additions: ignore fields that you
do not know.

## Authentication

Send your API key as `Authorization: Bearer tp_live_…`, never in the query string. A key
has scopes, and may have an expiry and a list of allowed networks. `GET /v1/me` shows
the key and its tenant. Resources of other tenants return 404.

## Errors

Every error is `application/problem+json` (RFC 9457). Handle errors by `code`, which
never changes. `errors` lists each invalid field, parameter or header. The URL in `type`
explains the code, and [/problems](/problems) lists all codes. An unsupported method
returns 405 with the supported methods in `Allow`. Unknown query parameters and fields
are rejected, to reveal typing errors.

## Idempotency

Send an `Idempotency-Key` (1 to 255 visible characters, new for each request) with a
POST that creates something. A repeat of the request with the same key returns the first
response and `Idempotency-Replayed: true`. A different request with the same key returns
422. Keys are stored for 24 hours. Failed requests are not stored.

## Pagination

Lists are sorted newest first. `limit` is 1 to 100 (default 20). Send `next_cursor` as
`cursor` to get the next page, or follow the `Link` header. Pages never repeat or omit
resources that existed at the first request.

## Limits

`RateLimit-Policy` and `RateLimit` give the limit and the remaining requests. Further
requests return 429, and `Retry-After` gives the seconds to wait, as for 503 and for
jobs that have not ended. A JSON body may have at most 1 MiB and 8 levels. Bodies
require a `Content-Length`.

## Support

Every response has an `X-Request-Id`: yours if you send one, else a generated one. Quote
it when you contact support.
"""
