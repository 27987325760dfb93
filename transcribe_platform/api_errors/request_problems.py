"""What can be wrong with a request, in the words of `/problems`."""

_AS_IS = "Do not send it again as it is: the answer stays the same."
_MEND = "Mend what `errors` points at, and send it again."
_LATER = "Wait as long as `Retry-After` says, then send it again."
_KEY = "Ask whoever manages your tenant's keys for one that is valid."
_OURS = "This is ours to mend. Tell us the `request_id`."

# code, status, title, what it means, what to do
REQUESTS: tuple[tuple[str, int, str, str, str], ...] = (
    # --- who asks
    (
        *("key_missing", 401, "No API key"),
        "The request came without an `Authorization` header.",
        "Send `Authorization: Bearer tp_live_…`; never in the query string.",
    ),
    (
        *("key_malformed", 401, "Not an API key"),
        "The header holds something else than a whole key: its shape or its checksum"
        " is wrong.",
        "Copy the key again, whole. Its last six characters are a checksum.",
    ),
    (
        *("key_invalid", 401, "API key not valid"),
        "There is no such key, it was revoked, or its tenant is switched off.",
        _KEY,
    ),
    (
        *("key_expired", 401, "API key expired"),
        "The key was valid until its `expires_at`.",
        _KEY,
    ),
    (
        *("ticket_invalid", 401, "Ticket not valid"),
        "The ticket is unknown, was used, is older than a minute, or its key may not"
        " open a session from here any more.",
        "Ask for another: `POST /v1/transcribe` with `mode=stream`.",
    ),
    (
        *("scope_missing", 403, "Scope missing"),
        "The key is valid and may not do this; `detail` names the scope.",
        "Use a key that has the scope. `GET /v1/me` shows what a key may do.",
    ),
    (
        *("address_not_allowed", 403, "Not from this address"),
        "The key may only be used from certain addresses, and this is not one.",
        "Send it from one of those, or change the key's `allowed_ips`.",
    ),
    (
        *("allowed_ips_exceeded", 403, "More addresses than the key has"),
        "The key that asks is bound to addresses, and the key that it creates, changes"
        " or rotates would be usable from others.",
        "Give `allowed_ips` within those of the key that asks, or use a key that is not"
        " bound to addresses.",
    ),
    (
        *("expires_at_exceeded", 403, "A longer life than the key has"),
        "The key that asks expires, and the key that it creates or rotates would expire"
        " later or never.",
        "Give an expiry no later than that of the key that asks, or use a key that"
        " lives longer.",
    ),
    (
        *("origin_not_allowed", 403, "Not from this page"),
        "A page of another origin tried to open a live session.",
        "The operator lists the origin in `LIVE_ALLOWED_ORIGINS`.",
    ),
    (
        *("link_invalid", 403, "Not a link of ours"),
        "The address carries a signature that does not fit it: it was changed or cut.",
        "Copy the whole link again, or ask for the transcript with a key.",
    ),
    (
        *("link_expired", 410, "The link has expired"),
        "The link was valid until its `expires`.",
        "Make another with `POST /v1/transcripts/{id}/links`.",
    ),
    (
        *("forbidden", 403, "Not permitted"),
        "The platform does not permit this request.",
        _AS_IS,
    ),
    # --- what was sent
    (
        *("bad_request", 400, "The request cannot be read"),
        "Something is wrong before any of the API's own rules: the host name, the"
        " encoding, the form's boundary.",
        "Look at what your HTTP client really sends.",
    ),
    (
        *("body_invalid", 400, "The body cannot be read"),
        "The body is not what its `Content-Type` says it is.",
        "Look at what your HTTP client really sends.",
    ),
    (
        *("body_truncated", 400, "The body was cut off"),
        "Fewer bytes came than `Content-Length` announced: the connection broke.",
        "Send it again; with an `Idempotency-Key` that is safe.",
    ),
    (
        *("json_invalid", 400, "JSON that we do not take"),
        "The body is not a JSON object, or two readers could understand it"
        " differently: a doubled key, NaN, an integer past 2^53, more than 8 levels;"
        " or a line of a manifest has more than 3,000 values.",
        _MEND,
    ),
    (
        *("text_invalid", 400, "Text that cannot be kept"),
        "A text holds NUL or half of a surrogate pair.",
        _MEND,
    ),
    (
        *("invalid_request", 400, "Several fields are wrong"),
        "More than one field is not as it should be; `errors` lists each.",
        _MEND,
    ),
    (
        *("field_required", 400, "A field is missing"),
        "The request needs this field.",
        _MEND,
    ),
    (
        *("field_invalid", 400, "A field is wrong"),
        "The field's type or value is not one that it takes.",
        _MEND,
    ),
    (
        *("field_unknown", 400, "There is no such field"),
        "The request has a field that this operation does not know: a typing error"
        " is told rather than passed over.",
        _MEND,
    ),
    (
        *("field_repeated", 400, "A field came twice"),
        "The form has the same field more than once.",
        _MEND,
    ),
    (
        *("field_conflict", 400, "Fields that exclude each other"),
        "Two fields say the same thing in different ways.",
        "Send one of them.",
    ),
    (
        *("batch_state_conflict", 409, "Not in this state of the batch"),
        "The batch has ended, is being canceled or written, or has not ended yet.",
        "Look at its `status` with `GET /v1/batches/{id}`.",
    ),
    (
        *("manifest_empty", 400, "No lines"),
        "There is no line in the manifest, or none after its header.",
        "Send at least one.",
    ),
    (
        *("manifest_too_long", 400, "Too many lines"),
        "A manifest has at most 100,000 lines, empty ones counted.",
        "Split it into several batches.",
    ),
    (
        *("manifest_too_large", 413, "The manifest is too large"),
        "It has more bytes than the platform takes, as it is or inflated.",
        "Split it into several batches.",
    ),
    (
        *("manifest_too_complex", 400, "Too much work in one manifest"),
        "The manifest has more than 20,000,000 cells or values, unpacks to more than"
        " 200 times its size, or takes more than two minutes of processor time.",
        "Split it into several batches; pack it less if `detail` says so.",
    ),
    (
        *("manifest_gzip_invalid", 400, "Broken gzip"),
        "The manifest begins as gzip and cannot be inflated to its end.",
        "Pack it again, and send all of it.",
    ),
    (
        *("manifest_encoding", 400, "Not UTF-8"),
        "The manifest is in another encoding, such as UTF-16.",
        "Save it as UTF-8.",
    ),
    (
        *("manifest_header_invalid", 400, "A column that we do not know"),
        "The first row of a CSV manifest names a column twice, or one that is none, or"
        " has more than 250 columns.",
        "Use the names of the fields; `options.NAME` and `metadata.NAME` for theirs.",
    ),
    (
        *("line_too_long", 400, "A line that is too long"),
        "A line of a manifest has at most 65,536 bytes, a CSV row of several lines"
        " 262,144.",
        _MEND,
    ),
    (
        *("csv_invalid", 400, "A row that is not CSV"),
        "Its quotes do not close, or it has more or fewer cells than the header.",
        _MEND,
    ),
    (
        *("custom_id_repeated", 400, "An id that is taken"),
        "Two items of a batch have the same `custom_id`.",
        "Give each its own, or none.",
    ),
    (
        *("metadata_invalid", 400, "Metadata that we do not take"),
        "Metadata is flat: at most 16 keys, values of text (512 characters), number"
        " or boolean.",
        _MEND,
    ),
    (
        *("url_invalid", 400, "Not a URL that we take"),
        "A URL is `scheme://host[:port]/path`, ASCII, without user name, password or"
        " fragment.",
        _MEND,
    ),
    (
        *("url_not_allowed", 400, "A place we do not go to"),
        "The URL's scheme, port or host is not one that may be used. What is inside"
        " a network is never told.",
        "Use a public address. For a receiver of your own network the operator"
        " lists it in `EGRESS_ALLOW`.",
    ),
    (
        *("parameter_unknown", 400, "There is no such parameter"),
        "The query string has a parameter that this operation does not know.",
        _MEND,
    ),
    (
        *("parameter_repeated", 400, "A parameter came twice"),
        "The query string has the same parameter more than once.",
        _MEND,
    ),
    (
        *("parameter_invalid", 400, "A parameter is wrong"),
        "The parameter's value is not one that it takes.",
        _MEND,
    ),
    (
        *("cursor_invalid", 400, "Not this list's cursor"),
        "The cursor is of another list or tenant, or was changed.",
        "Start again without it, and pass `next_cursor` on as it comes.",
    ),
    (
        *("retention_too_long", 400, "Kept longer than your account does"),
        "The job asks to keep something for more days than its account does.",
        "Ask for as many as `detail` says, or leave it to the account.",
    ),
    (
        *("query_not_searchable", 400, "Nothing to search for"),
        "The query is empty, has too many or too long words, phrases or prefixes, has"
        " only exclusions, or only words that nearly every transcript has.",
        "Search for a word that tells some transcripts from others.",
    ),
    (
        *("query_too_expensive", 400, "The search takes too long"),
        "PostgreSQL worked on the search for five seconds without an end.",
        "Narrow it: add `created_after`, leave out prefixes, or use rarer words.",
    ),
    (
        *("idempotency_key_invalid", 400, "Not an idempotency key"),
        "An `Idempotency-Key` is 1 to 255 visible ASCII characters.",
        _MEND,
    ),
    (
        *("option_unknown", 400, "There is no such option"),
        "Deepgram has no option of this name; `detail` may know what was meant.",
        _MEND,
    ),
    (
        *("option_invalid", 400, "An option is wrong"),
        "The option's value has another type or range.",
        _MEND,
    ),
    (
        *("option_refused", 400, "An option that is not yours"),
        "The platform decides this option itself; `detail` says what to use instead.",
        _MEND,
    ),
    (
        *("option_conflict", 400, "Options that do not go together"),
        "The option needs another one, or another model.",
        _MEND,
    ),
    (
        *("priority_not_allowed", 400, "Priority not allowed"),
        "Your tenant's jobs may not have this priority.",
        "Use a lower one, or ask the operator for more.",
    ),
    (
        *("region_not_allowed", 400, "Region not allowed"),
        "There is no such region, or your tenant may not use it.",
        _MEND,
    ),
    (
        *("header_invalid", 400, "A header that cannot be sent"),
        "A webhook's own headers are at most 10, their names tokens, their values 1 to"
        " 4096 characters of printable ASCII.",
        _MEND,
    ),
    (
        *("header_not_allowed", 400, "A header that is not yours"),
        "The header says where a message goes, how it is framed or who sent it, or it"
        " is one that a cloud's metadata service listens to.",
        "Use another name.",
    ),
    (
        *("secret_invalid", 400, "Not a signing secret"),
        "A secret is `whsec_` and the base64 of 24 to 64 bytes.",
        "Send one that is, or none: one is made for you.",
    ),
    (
        *("secret_reused", 400, "The secret signs already"),
        "A rotation needs another secret than those that sign now.",
        _MEND,
    ),
    # --- what was asked for
    (
        *("not_found", 404, "Nothing here"),
        "There is nothing by this address or id. What belongs to another tenant"
        " reads the same.",
        "Check the address and whose key it is.",
    ),
    (
        *("audio_not_stored", 404, "The audio is not here"),
        "Only uploads are kept. What was named by its URL, or was said into a socket,"
        " is not; nor is what is gone from storage.",
        "Read the audio where you have it; `audio` of the job says what it was.",
    ),
    (
        *("method_not_allowed", 405, "Method not allowed"),
        "The address is right and does not take this method; `Allow` lists those it"
        " takes.",
        "Use one of those.",
    ),
    (
        *("not_acceptable", 406, "Not to be had in this form"),
        "The answer has no form that your `Accept` header takes.",
        "Accept `application/json`, or `*/*`.",
    ),
    (
        *("key_not_active", 409, "The key is dead"),
        "A revoked or expired key can be neither changed nor rotated.",
        "Make a new one with `POST /v1/api-keys`.",
    ),
    (
        *("key_already_rotated", 409, "The key was rotated before"),
        "Another key replaces this one; `detail` names it.",
        "Use that one. If its text was lost, revoke it and rotate again.",
    ),
    (
        *("key_limit_reached", 409, "Too many keys"),
        "The tenant has as many active keys as it may.",
        "Revoke one; a rotation without overlap needs no room.",
    ),
    (
        *("job_state_conflict", 409, "The job's status does not allow this"),
        "What was asked for is only possible in another status; `detail` names the"
        " job's.",
        "Look at the job before you go on.",
    ),
    (
        *("stale_job_state", 409, "Somebody was first"),
        "The job's status changed while this request ran.",
        "Look at the job before you go on.",
    ),
    (
        *("result_not_ready", 409, "No transcript yet"),
        "The job has not ended.",
        "Wait as long as `Retry-After` says, or for the webhook.",
    ),
    (
        *("job_failed", 409, "The job failed"),
        "It has no transcript; the job's `error` says why.",
        "Mend the reason, and `POST /v1/jobs/{id}/retry`.",
    ),
    (
        *("job_canceled", 409, "The job was canceled"),
        "It has no transcript.",
        "`POST /v1/jobs/{id}/retry` runs it again as a new job.",
    ),
    (
        *("job_expired", 409, "The job expired"),
        "Its time was up before it ran; it has no transcript.",
        "`POST /v1/jobs/{id}/retry` runs it again as a new job.",
    ),
    (
        *("endpoint_limit_reached", 409, "As many endpoints as there may be"),
        "A tenant may have so many webhook endpoints; `detail` says how many.",
        "Delete one that is not needed, or ask the operator for more.",
    ),
    (
        *("endpoint_disabled", 409, "The endpoint is switched off"),
        "Nothing is sent to it.",
        'Switch it on first: `PATCH` it with `{"enabled": true}`.',
    ),
    (
        *("secret_limit_reached", 409, "Too many older secrets"),
        "Ten older secrets of the endpoint still sign.",
        "Wait for one to expire, or end them all with `grace_seconds` 0.",
    ),
    (
        *("delivery_in_progress", 409, "An attempt is being made"),
        "The message is on its way to its receiver at this moment.",
        "Look at how the attempt ends, some seconds later.",
    ),
    (
        *("payload_gone", 410, "The message is not kept any more"),
        "The bytes of the message were erased with its job, so that they cannot be"
        " sent again.",
        "Read what is still there of the job with `GET /v1/jobs/{id}`.",
    ),
    (
        *("since_too_old", 400, "Too far back"),
        "A recovery reaches back 14 days.",
        "Ask for a later `since`.",
    ),
    (
        *("erased", 410, "Erased"),
        "It was here, and was erased, by hand or by age; nothing of it is kept.",
        "Submit the audio again if you still have it.",
    ),
    (
        *("range_not_satisfiable", 416, "No such part"),
        "The `Range` begins behind the last byte; `Content-Range` says how many bytes"
        " there are.",
        "Ask for a part that is there, or without `Range` for all.",
    ),
    # --- its size and kind
    (
        *("uri_too_long", 414, "The address is too long"),
        "A path has at most 2,048 bytes, a query string at most 32,768.",
        "Send less in the query string: `POST /v1/jobs` takes options in its body.",
    ),
    (
        *("header_fields_too_large", 431, "The headers are too large"),
        "A request has at most 100 header fields of 32,768 bytes together; one field"
        " has at most 8,192, `Cookie` 4,096 and `Content-Type` 1,024. `detail` says"
        " which limit it was.",
        "Send fewer or shorter header fields.",
    ),
    (
        *("length_required", 411, "Length required"),
        "The body came in chunks, without a `Content-Length`.",
        "Send a `Content-Length`.",
    ),
    (
        *("body_too_large", 413, "The body is too large"),
        "A JSON body or a form's fields are at most 1 MiB.",
        "Upload audio as a file of `multipart/form-data`, or name its URL.",
    ),
    (
        *("upload_too_large", 413, "The upload is too large"),
        "The file is larger than the platform takes.",
        "Compress it (FLAC, Opus), split it, or name its URL.",
    ),
    (
        *("unsupported_media_type", 415, "Not a kind of body we read"),
        "The `Content-Type` is not one that this operation takes.",
        "Send `application/json`; a file as `multipart/form-data`.",
    ),
    (
        *("audio_unreadable", 422, "Not audio that can be read"),
        "The file is not audio, or of a kind that cannot be decoded.",
        _AS_IS,
    ),
    (
        *("audio_empty", 422, "The file is empty"),
        "There is nothing in the file.",
        _AS_IS,
    ),
    (
        *("audio_missing", 422, "No audio in the file"),
        "The file can be read and has no audio track; on a job: its upload is gone.",
        _AS_IS,
    ),
    (
        *("audio_truncated", 422, "The audio is cut off"),
        "The file ends before its own header says.",
        "Upload it again, whole.",
    ),
    (
        *("idempotency_key_reused", 422, "Idempotency key used before"),
        "This `Idempotency-Key` came before with another request.",
        "Use one key a request; repeat a request only as it was.",
    ),
    (
        *("request_in_flight", 409, "Still being answered"),
        "A request with this `Idempotency-Key` is still being answered.",
        "Send it again after `Retry-After`: it is then answered as the first one was.",
    ),
    (
        *("usage_too_large", 400, "Too many rows"),
        "The report would have more than 10,000 rows.",
        "Ask for fewer days at a time, or group by less.",
    ),
    # --- how much of it
    (
        *("rate_limited", 429, "Too many requests"),
        "The key or its tenant has sent as many requests as it may within a minute"
        " (`RateLimit` says what is left), or an address has sent too many bad keys.",
        _LATER,
    ),
    (
        *("quota_exceeded", 429, "Quota used up"),
        "The tenant has used what it may; nothing was done.",
        _LATER,
    ),
    (
        *("quota_jobs_exceeded", 429, "Too many jobs open"),
        "The tenant has as many jobs open as it may, or would have with these;"
        " nothing was done.",
        "Send it again when some have ended. Without `Retry-After` it asks for more"
        " than will ever fit: send less.",
    ),
    (
        *("quota_audio_exceeded", 429, "Audio quota used up"),
        "The tenant has submitted as much audio as it may in this UTC day or month,"
        " or would have with this; nothing was done.",
        "Send it again after `Retry-After`, when the next day or month has begun."
        " Without that header it asks for more than will ever fit: send less.",
    ),
    (
        *("event_streams_exceeded", 429, "Too many event streams"),
        "The tenant has as many event streams open at this process as it may.",
        "Close some, or follow all jobs with one: `GET /v1/events`.",
    ),
    # --- live sessions
    (
        *("no_stream_place", 429, "No place for a live session"),
        "As many live sessions run as the platform may have; nothing was begun.",
        _LATER,
    ),
    (
        *("stream_limit_reached", 429, "Too many live sessions"),
        "The tenant has as many live sessions open as it may: half of a region's"
        " places, or its own limit. Nothing was begun.",
        "End a session, wait until one has ended, or ask the operator for a higher"
        " limit.",
    ),
    (
        *("account_paused", 429, "The account is paused"),
        "The operator has paused the tenant: jobs wait, and no live session begins.",
        "Ask the operator. Jobs may be submitted meanwhile.",
    ),
    (
        *("live_not_retryable", 409, "A live session cannot be tried again"),
        "The audio of a live session is not kept.",
        "Begin another session, or submit a recording of your own.",
    ),
    # --- event streams
    (
        *("last_event_id_invalid", 400, "Not an event's id"),
        "`Last-Event-ID` is no id of this platform's event streams, or of another"
        " database.",
        "Come again without it, and look once at what you follow.",
    ),
    (
        *("event_streams_full", 503, "No more event streams now"),
        "This process serves as many event streams as it can.",
        _LATER,
    ),
    (
        *("live_sessions_full", 503, "No more live sessions now"),
        "This process serves as many live sessions as it can, or is about to stop.",
        _LATER,
    ),
    (
        *("live_unavailable", 421, "Live sessions are served elsewhere"),
        "The request reached a process that cannot hold sockets: they are served by"
        " the platform's ASGI process.",
        "Tell the operator: `/v1/live` belongs to the ASGI process.",
    ),
    (
        *("upgrade_required", 426, "A WebSocket is wanted"),
        "This address answers to a WebSocket's handshake alone.",
        "Open it as a WebSocket: docs/live.md shows how.",
    ),
    (
        *("event_stream_unavailable", 421, "Event streams are served elsewhere"),
        "The request reached a process that cannot hold streams: they are served by"
        " the platform's ASGI process.",
        "Tell the operator: `/v1/events`, `/v1/jobs/…/events` and"
        " `/v1/batches/…/events` are to be routed to it.",
    ),
    # --- us
    (
        *("server_error", 500, "Something went wrong on our side"),
        "We did not expect this. Whether the request was carried out is not known.",
        _OURS + " With an `Idempotency-Key` it is safe to send it again.",
    ),
    (
        *("service_unavailable", 503, "Not now"),
        "The platform cannot take this now; nothing was done.",
        _LATER,
    ),
)
