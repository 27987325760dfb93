/** Splits a transcript into segments of one voice. */

/** A longer pause starts a new segment. */
const PAUSE_SECONDS = 1.2;
const MAX_WORDS = 60;
const SENTENCE = /[.!?…]["'”’)]?$/;

/**
 * Returns `{segments, words, voices}`. A voice is a speaker, or a channel if there are
 * several. `words` are all words in segment order, each with its index.
 */
export function segmentsOf(transcript) {
  const channels = transcript.channels ?? [];
  const segments = channels
    .flatMap((channel, number) => split(channel.words ?? [], channels.length > 1 ? number : null))
    .sort((one, other) => one.start - other.start);
  const voices = [...new Set(segments.map((segment) => segment.voice))].filter(Boolean).sort();
  const words = segments.flatMap((segment) => segment.words);
  words.forEach((word, index) => Object.assign(word, { index }));
  return { segments, words, voices };
}

function split(words, channel) {
  const segments = [];
  let current = null;
  for (const source of words) {
    const word = {
      text: source.punctuated_word ?? source.word,
      start: source.start,
      end: source.end,
      confidence: source.confidence,
    };
    const voice = voiceOf(channel, source.speaker);
    if (!current || current.voice !== voice || endsBefore(current, word)) {
      current = { voice, start: word.start, end: word.end, words: [] };
      segments.push(current);
    }
    current.words.push(word);
    current.end = word.end;
  }
  return segments;
}

function endsBefore(segment, word) {
  if (word.start - segment.end > PAUSE_SECONDS) return true;
  return segment.words.length >= MAX_WORDS && SENTENCE.test(segment.words.at(-1).text);
}

function voiceOf(channel, speaker) {
  const parts = [];
  if (channel !== null) parts.push(`Channel ${channel + 1}`);
  if (speaker !== undefined && speaker !== null) parts.push(`Speaker ${speaker + 1}`);
  return parts.join(", ");
}

/** Returns the words spoken at a time; voices may overlap. */
export function spokenAt(sorted, seconds) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle].start <= seconds) low = middle + 1;
    else high = middle;
  }
  return sorted.slice(Math.max(0, low - 8), low).filter((word) => seconds < word.end);
}

/** Returns plain text, one paragraph per segment, with the names of the voices. */
export function textOf({ segments, voices }, nameOf) {
  return segments
    .map((segment) => {
      const text = segment.words.map((word) => word.text).join(" ");
      return voices.length > 1 ? `${nameOf(segment.voice)}: ${text}` : text;
    })
    .join("\n\n");
}
