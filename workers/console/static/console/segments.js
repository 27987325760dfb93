/** Turn a transcript into stretches of one voice. Pure. */

/** A longer silence begins a new stretch. */
const PAUSE_SECONDS = 1.2;
const LONGEST_WORDS = 60;
const SENTENCE = /[.!?…]["'”’)]?$/;

/**
 * Return `{segments, words, voices}`. A voice is a speaker, or a channel where there are
 * several; `words` are all of them in the order of the segments, each with its index.
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
  const found = [];
  let current = null;
  for (const given of words) {
    const word = {
      text: given.punctuated_word ?? given.word,
      start: given.start,
      end: given.end,
      confidence: given.confidence,
    };
    const voice = voiceOf(channel, given.speaker);
    if (!current || current.voice !== voice || endsBefore(current, word)) {
      current = { voice, start: word.start, end: word.end, words: [] };
      found.push(current);
    }
    current.words.push(word);
    current.end = word.end;
  }
  return found;
}

function endsBefore(segment, word) {
  if (word.start - segment.end > PAUSE_SECONDS) return true;
  return segment.words.length >= LONGEST_WORDS && SENTENCE.test(segment.words.at(-1).text);
}

function voiceOf(channel, speaker) {
  const parts = [];
  if (channel !== null) parts.push(`Channel ${channel + 1}`);
  if (speaker !== undefined && speaker !== null) parts.push(`Speaker ${speaker + 1}`);
  return parts.join(", ");
}

/** Return the words that are spoken at a time; voices may speak at once. */
export function spokenAt(sorted, seconds) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle].start <= seconds) low = middle + 1;
    else high = middle;
  }
  return sorted.slice(Math.max(0, low - 8), low).filter((word) => seconds < word.end);
}

/** Plain text, a stretch a paragraph, with the names that the voices were given. */
export function textOf({ segments, voices }, nameOf) {
  return segments
    .map((segment) => {
      const said = segment.words.map((word) => word.text).join(" ");
      return voices.length > 1 ? `${nameOf(segment.voice)}: ${said}` : said;
    })
    .join("\n\n");
}
