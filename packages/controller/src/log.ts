import { type DestinationStream, type Logger, pino } from "pino";

/** Members that hold secrets wherever they turn up, at any of the depths that log lines have. */
const SECRET_MEMBERS = ["authorization", "cookie", "set-cookie", "token", "secret", "password", "code_verifier"];
const REDACTED = "[redacted]";

/**
 * What looks like a secret, wherever in a line it stands: a bearer token behind its name, an API token, a digest-length
 * random word such as belayd's own tokens and cookies are (43 characters of base64url, capitals, small letters and digits
 * among them), and what an identity provider puts into addresses.
 */
const BEARER = /\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{8,}/gi;
const API_TOKEN = /\bbelay_[A-Za-z0-9_-]{20,}/g;
const RANDOM_WORD =
  /(?<![A-Za-z0-9_-])(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])/g;
const IN_ADDRESS = /([?&](?:code|state|id_token|access_token|token|client_secret)=)[^&"\s\\]+/g;
const JWT = /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/g;

/** A line without its secrets. The last of two nets: nothing should log one in the first place. */
export function redact(line: string): string {
  return line
    .replace(BEARER, `$1 ${REDACTED}`)
    .replace(API_TOKEN, REDACTED)
    .replace(JWT, REDACTED)
    .replace(IN_ADDRESS, `$1${REDACTED}`)
    .replace(RANDOM_WORD, REDACTED);
}

/** belayd's log: a JSON object a line. */
export function openLog(level: string, destination: DestinationStream): Logger {
  const paths = SECRET_MEMBERS.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]);
  return pino({ level, base: {}, redact: { paths, censor: REDACTED }, hooks: { streamWrite: redact } }, destination);
}
