"""The name that a caller probably meant by an unknown one. Pure."""

import difflib
from collections.abc import Iterable

# Longer names are not typos, and comparing them costs time.
_MAX_TYPO_LENGTH = 64
# Names of other transcription services' APIs and of everyday use, by the name here.
_SYNONYMS = {
    "audio_url": "url uri link href audio audio_uri audio_file_url file_url media_url "
    "media source source_url recording_url",
    "callback_url": "webhook webhook_url webhook_uri callback notify_url"
    " notification_url",
    "custom_id": "external_id reference client_id request_id name key",
    "metadata": "meta labels attributes custom_data user_data extra_data",
    "expires_at": "deadline expires expiry expiration",
    "expires_in_seconds": "ttl expires_in timeout expires_after",
    "max_attempts": "retries max_retries attempts retry",
    "allowed_regions": "region regions location",
    "file": "audio_file upload filename media_file data",
    "language": "lang locale language_code",
    "model": "model_id model_name engine speech_model",
    "diarize": "diarization speaker_labels speakers speaker_diarization",
    "punctuate": "punctuation enable_automatic_punctuation",
    "detect_language": "language_detection identify_language",
    "keyterm": "keyterms vocabulary word_boost boost hints phrases custom_vocabulary",
    "profanity_filter": "filter_profanity profanity",
    "redact": "redaction redact_pii",
    "summarize": "summary summarization",
    "sentiment": "sentiment_analysis",
    "detect_entities": "entities entity_detection",
    "filler_words": "disfluencies",
    "sample_rate": "sample_rate_hertz samplerate rate",
    "multichannel": "multi_channel dual_channel",
    "audio_track": "track audio_stream stream_index",
    "items": "jobs requests",
    "on_error": "skip_errors",
    "q": "query search text",
    "limit": "page_size per_page count size",
    "cursor": "page offset after starting_after",
    "created_after": "since from start start_date",
    "created_before": "until to end end_date",
    "status": "state",
}
_MEANINGS = {
    synonym: name for name, words in _SYNONYMS.items() for synonym in words.split()
}


def hint(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean '…'?" with the closest known name, or an empty text."""
    found = closest(name, known)
    return f" Did you mean '{found}'?" if found else ""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant: a synonym, or a typo of it.

    A prefix as in ``options.language`` is compared too, and may be missing.
    """
    by_plain = {_plain(each.rpartition(".")[2]): each for each in known if each}
    by_plain |= {_plain(each): each for each in by_plain.values()}
    plain = _plain(name[:_MAX_TYPO_LENGTH])
    for candidate in (plain, _MEANINGS.get(plain, "")):
        if candidate in by_plain:
            return by_plain[candidate]
    matches = difflib.get_close_matches(plain, by_plain, n=1)
    return by_plain[matches[0]] if matches else None


def _plain(name: str) -> str:
    """Return a name in snake case: ``audioUrl`` and ``Audio-URL`` are ``audio_url``."""
    spaced = "".join(
        f"_{c}" if c.isupper() and before.islower() else c
        for before, c in zip(f" {name}", name, strict=False)
    )
    return spaced.replace("-", "_").replace(" ", "_").strip("_").casefold()
