"""What the OpenAPI document and /docs say before the first operation."""

INTRODUCTION = """\
Send audio by URL or as a file, and get its transcript by webhook, by asking, or from a
link. Everything is JSON over HTTP; times are UTC (RFC 3339); ids are opaque UUIDs that
sort by time. Within `/v1` things are only added: read answers tolerantly.

## Authentication

Send your API key as `Authorization: Bearer tp_live_…`, never in the query string. A key
has scopes, may end on a date, and may be bound to addresses; `GET /v1/me` shows whose
it is. What belongs to another tenant does not exist for you: it is a 404.

## Errors

Every error is `application/problem+json` (RFC 9457). Act on `code`, which stays;
`errors` points at each field, parameter or header that is wrong. The address in `type`
explains the code; all of them are at [/problems](/problems). An operation that is
called with a method it lacks answers 405 and names those it has. Query parameters and
fields that do not exist are refused, so that a typing error is not passed over.

## Sending it twice

Send an `Idempotency-Key` (1 to 255 visible characters, new for each request) with a
POST that makes something. The same key with the same request is answered with the
first answer and `Idempotency-Replayed: true`; with another request it is a 422. Keys
are kept for a day. A request that failed is not remembered.

## Lists

Lists are newest first: `limit` is 1 to 100 (20), and `next_cursor` is what to send as
`cursor` for the next page; the `Link` header says the same. A page never repeats or
passes over what was there when you began.

## Limits

`RateLimit-Policy` and `RateLimit` say how many requests you have and how many are left.
Past the last one the answer is 429, and `Retry-After` says when to come back, as it
does on 503 and while a job has not ended. A JSON body is at most 1 MiB and 8 levels
deep; a body needs a `Content-Length`.

## Help

Every answer carries `X-Request-Id`; send your own and it is echoed. Name it when you
ask for help.
"""
