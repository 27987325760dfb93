"""How jobs and calls can end, in the words of `/problems`.

They stand in a job's `error` and `warnings`, and in an attempt's `error_code`.
"""

_OURS = "This is ours to mend. Tell us the `request_id`."
_TRIED = "The job was tried again until its attempts were used up. Retry it later."

# code, title, what it means, what to do
OUTCOMES: tuple[tuple[str, str, str, str], ...] = (
    (
        *("audio_too_large", "Too large for Deepgram"),
        "Deepgram refused the audio for its size.",
        "Compress it, or split it.",
    ),
    (
        *("audio_unsupported", "Not a kind of audio that Deepgram takes"),
        "Deepgram refused the audio's format.",
        "Convert it (FLAC, WAV, MP3, Opus), and submit it again.",
    ),
    (
        *("audio_url_expired", "The audio URL was refused"),
        "Its host answered 403: a presigned URL has probably expired.",
        "Sign it for longer than the queue may be, or upload the file.",
    ),
    (
        *("audio_url_refused", "The audio URL leads nowhere"),
        "Its host answered with a client error, or with too many redirects.",
        "Check the URL, and submit it again.",
    ),
    (
        *("audio_url_unreachable", "The audio URL cannot be reached"),
        "Deepgram could not fetch it: its host is down, slow or unknown.",
        _TRIED,
    ),
    (
        *("destination_not_allowed", "A place we do not go to"),
        "A URL led to an address that may not be used.",
        "Use a public address, or have the operator list it in `EGRESS_ALLOW`.",
    ),
    (
        *("let_go", "Let go"),
        "The job was canceled while this call ran; its result was dropped.",
        "Nothing.",
    ),
    (
        *("worker_lost", "The worker was lost"),
        "The worker died during this call; it counts as made.",
        "Nothing: the job runs again.",
    ),
    (
        *("worker_crashed", "The job kills its workers"),
        "Three workers died with this job in hand.",
        _OURS,
    ),
    (
        *("storage_unavailable", "The file storage is away"),
        "The uploaded audio could not be read; the job waits, and uses no attempt up.",
        _OURS,
    ),
    (
        *("upstream_error", "Deepgram failed"),
        "A call to Deepgram failed in a way that we know nothing more of.",
        _TRIED,
    ),
    (
        *("upstream_unavailable", "Deepgram is not available"),
        "Deepgram answered with an error of its own.",
        _TRIED,
    ),
    (
        *("upstream_unreachable", "Deepgram cannot be reached"),
        "No connection came about.",
        _TRIED,
    ),
    (
        *("upstream_connection_lost", "The connection was lost"),
        "The connection to Deepgram broke during the call.",
        _TRIED,
    ),
    (
        *("upstream_timeout", "Deepgram did not answer in time"),
        "The call took longer than any should.",
        _TRIED,
    ),
    (
        *("upstream_processing_timeout", "Too long to transcribe"),
        "Deepgram gave up after ten minutes of processing.",
        "Split the audio and submit the parts.",
    ),
    (
        *("upstream_bad_answer", "Deepgram's answer makes no sense"),
        "The answer was cut off or is not JSON.",
        _TRIED,
    ),
    (
        *("upstream_upload_timeout", "The upload took too long"),
        "Deepgram did not receive the audio in time.",
        _TRIED,
    ),
    (
        *("upstream_upload_interrupted", "The upload was interrupted"),
        "Deepgram did not receive all of the audio.",
        _TRIED,
    ),
    (
        *("upstream_rate_limited", "Deepgram's limit was reached"),
        "Deepgram refused the call for its limits.",
        "Nothing: the job waits and does not lose an attempt.",
    ),
    (
        *("upstream_refused_options", "Deepgram refused the options"),
        "Options that each are right do not go together there.",
        "Change the options, and submit it again.",
    ),
    (
        *("upstream_length_required", "Deepgram wants a length"),
        "We sent the audio without one.",
        _OURS,
    ),
    (
        *("upstream_credentials_refused", "Deepgram refused our key"),
        "The operator's Deepgram key is not valid.",
        "Tell the operator: jobs of this region wait until it is mended.",
    ),
    (
        *("upstream_access_refused", "Deepgram refused us access"),
        "The operator's Deepgram key may not do this, or not with this model.",
        "Tell the operator, or use another model.",
    ),
    (
        *("upstream_out_of_credit", "No credit with Deepgram"),
        "The operator's Deepgram account is empty.",
        "Tell the operator: jobs of this region wait until it is mended.",
    ),
    (
        *("session_lost", "The live session was lost"),
        "The process that held the session died before anything was said.",
        "Begin another session.",
    ),
    # --- ends of a live session, and warnings in it
    (
        *("message_invalid", "Not a message that we know"),
        "A text message of a live session was none of `finalize`, `keepalive` and"
        " `close`.",
        "Send audio as binary messages, and commands as JSON: docs/live.md.",
    ),
    (
        *("frame_too_large", "The message is too large"),
        "A message of a live session was longer than 1 MiB, or a text message longer"
        " than a command can be.",
        "Send audio in pieces of 20 to 250 ms, as binary messages.",
    ),
    (
        *("too_many_messages", "Too many messages"),
        "A live session's client sent text messages, or audio messages of a few bytes,"
        " without a pause.",
        "Send audio in pieces of 20 to 250 ms, and `keepalive` every few seconds while"
        " there is no audio.",
    ),
    (
        *("stream_idle", "Nothing came"),
        "A live session's client sent nothing for too long.",
        "Send audio, or `keepalive` while there is none.",
    ),
    (
        *("stream_without_audio", "No audio came"),
        "A live session's client sent only `keepalive` messages for too long. The limit"
        " is 10 minutes, and 60 seconds while other callers are refused a session.",
        "Open another session when there is audio.",
    ),
    (
        *("stream_too_long", "The session is too long"),
        "A live session lasts so long at most; what was said is stored.",
        "Open another.",
    ),
    (
        *("slow_reader", "The client does not read"),
        "More waits to be told than is kept for a client; what was said is stored.",
        "Read the socket all the time, in a task of its own.",
    ),
    (
        *("upstream_reconnecting", "The upstream broke off"),
        "The live session goes on: audio is kept, and another call is being made.",
        "Nothing; go on sending.",
    ),
    (
        *("upstream_reconnected", "The upstream is there again"),
        "What was not final was sent again.",
        "Nothing.",
    ),
    (
        *("upstream_idle", "The upstream heard nothing"),
        "It closed a call that brought no audio; the next audio opens another.",
        "Nothing.",
    ),
    (
        *("audio_dropped", "Audio was lost"),
        "More audio came than is kept while the upstream is away; `lost_seconds` or"
        " `detail` says how much.",
        "Look at what is missing there.",
    ),
    (
        *("finals_not_stored", "Finals are stored later"),
        "The database is away: what a live session tells as final is stored when it is"
        " back.",
        "Nothing; should the process die before, it is lost.",
    ),
    # --- warnings of a job that completed
    (
        *("session_interrupted", "The live session broke off"),
        "It did not end as it should; the transcript is what had been said until then.",
        "Look at the end of the transcript.",
    ),
    (
        *("duration_mismatch", "The transcript is shorter than the audio"),
        "Deepgram covered another length than the file has; it was asked again.",
        "Look at the end of the transcript.",
    ),
    (
        *("channel_missing", "A channel is missing"),
        "The audio has more channels than the transcript.",
        "Ask for `multichannel`.",
    ),
    (
        *("empty_transcript", "No speech in audio that is not silent"),
        "Nothing was recognised although there is sound; it was asked again.",
        "Check `language` and `model`.",
    ),
    (
        *("no_speech", "No speech"),
        "Nothing was recognised.",
        "Nothing, if the audio is silent.",
    ),
)
