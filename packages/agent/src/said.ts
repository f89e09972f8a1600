/** Enough for a page of complaints, and as much as an error's message (4,096) holds together with who said it. */
export const MOST_SAID = 3_600;
const HIDDEN = "(hidden)";

/** What looks like a secret, and what of it may be shown. Every repetition has an end: a program may say the same for ever. */
const SECRETS: readonly (readonly [pattern: RegExp, shown: string])[] = [
  [/-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g, HIDDEN],
  // A connection string, as most tools repeat it when they can't connect; also one that was cut short. A port is none.
  [/(:\/\/[^\s/:@]{0,128}):(?!\d{1,5}$)[^\s/@]{1,1024}(?=@|$)/gm, `$1:${HIDDEN}`],
  [/\b(Bearer|Basic) {1,8}[\w+/=.~-]{8,}/gi, `$1 ${HIDDEN}`],
  [
    /((?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key)[\w-]{0,64}["']?\s{0,8}[=:]\s{0,8})(?:"[^"]*"|'[^']*'|[^\s"',;&]+)/gi,
    `$1${HIDDEN}`,
  ],
];

/**
 * What a program of the host's owner said, as it may get into outcomes, logs and events: its end, where the reason stands, without
 * what looks like a secret. Nobody knows what such a program says when it fails; the whole of it is for whoever runs it by hand.
 */
export function whatWasSaid(text: string, maxCharacters = MOST_SAID): string {
  const shown = SECRETS.reduce((all, [pattern, instead]) => all.replace(pattern, instead), text.trim());
  return shown.slice(-maxCharacters);
}
