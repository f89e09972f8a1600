import { BelayError } from "../error.js";
import { parsePublicKey, type SshPublicKey } from "./public-key.js";
import { strictBase64 } from "./wire.js";

/** One line of an allowed_signers file (ssh-keygen(1), ALLOWED SIGNERS): a key, whose it is, and when it counts. */
export interface AllowedSigner {
  /**
   * Who this is: the line's principals, small, sorted, with commas between. Two keys of one person carry the same, and no other
   * person any of them.
   */
  readonly signer: string;
  readonly key: SshPublicKey;
  /** Null: any. */
  readonly namespaces: readonly string[] | null;
  /** Milliseconds since the epoch; null: no limit. */
  readonly validAfter: number | null;
  readonly validBefore: number | null;
}

/** More people than that approve nothing. */
const MAX_SIGNERS = 1000;

/**
 * Reads an allowed_signers file. A line that can't be taken as it stands is an error, never passed over: a restriction
 * nobody understood must not become none. Throws `signers-invalid`, naming file and line.
 */
export function parseAllowedSigners(text: string, file: string): AllowedSigner[] {
  const signers = text.split("\n").flatMap((line, index) => {
    const stripped = line.trim();
    if (stripped === "" || stripped.startsWith("#")) return [];
    try {
      return [parseLine(stripped)];
    } catch (error) {
      throw new BelayError("signers-invalid", `${file}:${index + 1}: ${(error as Error).message}`, {
        hint: 'A line is: PRINCIPAL [namespaces="belay-gate",valid-before="..."] KEY-KIND KEY',
        context: { file, line: index + 1 },
      });
    }
  });
  if (signers.length > MAX_SIGNERS)
    throw new BelayError("signers-invalid", `${file}: more than ${MAX_SIGNERS} signers`);
  refuseDoubles(signers, file);
  return signers;
}

/** Is this name one of a signer's? Names differ by more than capitals. */
export function isNameOf(signer: string, name: string): boolean {
  return signer.split(",").includes(name.toLowerCase());
}

/** Whoever is there under two names would count as two people. */
function refuseDoubles(signers: readonly AllowedSigner[], file: string): void {
  const holders = new Map<string, string>();
  for (const { signer, key } of signers) {
    for (const mark of [...signer.split(","), `key ${key.fingerprint}`]) {
      const other = holders.get(mark) ?? signer;
      holders.set(mark, signer);
      if (other === signer) continue;
      throw new BelayError("signers-invalid", `${file}: ${mark} is there as ${other} and as ${signer}`, {
        hint: "Each of a person's lines begins with the same principals, and nobody else's with any of them.",
        context: { file },
      });
    }
  }
}

/**
 * Whose key this is, for this purpose at this time, or why it is nobody's: `unknown` (not in the file), `namespace` (it may
 * not sign for this), `time` (not yet, or no longer).
 */
export function signerOf(
  signers: readonly AllowedSigner[],
  key: SshPublicKey,
  namespace: string,
  at: number,
): { readonly signer: string } | { readonly refused: "unknown" | "namespace" | "time" } {
  let refused: "unknown" | "namespace" | "time" = "unknown";
  for (const line of signers) {
    if (!line.key.blob.equals(key.blob)) continue;
    if (line.namespaces !== null && !line.namespaces.some((pattern) => isMatch(pattern, namespace))) {
      refused = "namespace";
    } else if (at < (line.validAfter ?? at) || at >= (line.validBefore ?? at + 1)) refused = "time";
    else return { signer: line.signer };
  }
  return { refused };
}

const KEY_KIND = /^(?:ssh-|ecdsa-sha2-|sk-)[A-Za-z0-9@.-]+$/;

function parseLine(line: string): AllowedSigner {
  const words = splitWords(line);
  const [principals = "", second = ""] = words;
  const options = KEY_KIND.test(second) ? "" : second;
  const [kind = "", base64 = ""] = words.slice(options === "" ? 1 : 2);
  const blob = strictBase64(base64);
  if (!KEY_KIND.test(kind) || blob === null || blob.length === 0) throw new Error("has no key where one should be");
  const key = parsePublicKey(blob);
  if (key.type !== kind) throw new Error(`says ${kind}, but the key is of the kind ${key.type}`);
  const signer = signerNamed(unquoted(principals));
  return { signer, key, ...readOptions(options) };
}

function signerNamed(principals: string): string {
  const all = principals.split(",").map((each) => each.trim().toLowerCase());
  if (all.includes("")) throw new Error("names nobody");
  const pattern = all.find((each) => /[*?!]/.test(each));
  if (pattern !== undefined) throw new Error(`names nobody in particular: ${pattern.slice(0, 64)}`);
  return [...new Set(all)].sort().join(",");
}

function readOptions(text: string): Pick<AllowedSigner, "namespaces" | "validAfter" | "validBefore"> {
  let namespaces: string[] | null = null;
  let validAfter: number | null = null;
  let validBefore: number | null = null;
  for (const option of splitOptions(text)) {
    const [, name = "", value] = /^([^=]+)(?:=(.*))?$/s.exec(option) ?? [];
    const said = value === undefined ? "" : unquoted(value);
    switch (name.toLowerCase()) {
      case "namespaces":
        namespaces = said.split(",").map((each) => each.trim());
        break;
      case "valid-after":
        validAfter = timeOf(said);
        break;
      case "valid-before":
        validBefore = timeOf(said);
        break;
      case "cert-authority":
        throw new Error("is a certificate authority, and Belay takes no signatures by certificate: list each key");
      default:
        throw new Error(`has an option that is not known: ${name.slice(0, 64)}`);
    }
  }
  return { namespaces, validAfter, validBefore };
}

/** Words apart by blanks; a quoted part may hold blanks. */
function splitWords(line: string): string[] {
  return line.match(/(?:[^\s"]|"[^"]*")+/g) ?? [];
}

function splitOptions(text: string): string[] {
  return text === "" ? [] : (text.match(/(?:[^,"]|"[^"]*")+/g) ?? []);
}

function unquoted(text: string): string {
  return /^".*"$/s.test(text) ? text.slice(1, -1) : text;
}

const TIME = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z?)$/;

/** YYYYMMDD[HHMM[SS]], in this machine's time zone, or in UTC with a Z behind it. */
function timeOf(text: string): number {
  const match = TIME.exec(text);
  if (match === null) throw new Error(`has a time that is none: "${text.slice(0, 64)}"`);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((part) => Number(part ?? 0));
  const parts = [year, month - 1, day, hour, minute, second] as const;
  const at = match[7] === "Z" ? Date.UTC(...parts) : new Date(...parts).getTime();
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) {
    throw new Error(`has a time that is none: "${text}"`);
  }
  return at;
}

/** `*` and `?` as OpenSSH takes them; a pattern with `!` in front would exclude, which nobody needs here. */
function isMatch(pattern: string, text: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".");
  return new RegExp(`^${source}$`, "s").test(text);
}
