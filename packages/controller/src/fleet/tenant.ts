import { BelayError, parseVersion } from "@belay/shared";
import type { Profile } from "../products/profile.js";

const PING_TIMEOUT_MS = 10_000;
/** A ping answer is a few KiB. */
const MAX_ANSWER_CHARACTERS = 1_000_000;

/**
 * Asks a managed cluster which version it serves, as the product profile says where. `scheme` is https but in tests.
 * Throws `managed-unreachable`.
 */
export async function askTenant(address: string, profile: Profile, scheme: "https" | "http"): Promise<string> {
  const url = `${scheme}://${address}${profile.managed.path}`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PING_TIMEOUT_MS), redirect: "error" });
    if (!response.ok) throw new BelayError("managed-unreachable", `${url} answers ${response.status}`);
    const text = await response.text();
    if (text.length > MAX_ANSWER_CHARACTERS) throw new BelayError("managed-unreachable", `${url} answers too much`);
    const version = parseVersion(String(valueAt(JSON.parse(text), profile.managed.pointer)));
    if (version === null) throw new BelayError("managed-unreachable", `${url} names no version`);
    return version;
  } catch (cause) {
    if (cause instanceof BelayError) throw cause;
    throw new BelayError("managed-unreachable", `${url}: ${(cause as Error).message}`, { cause });
  }
}

/** The value a JSON pointer (RFC 6901) leads to, or undefined. */
function valueAt(document: unknown, pointer: string): unknown {
  let value = document;
  for (const part of pointer.split("/").slice(1)) {
    if (value === null || typeof value !== "object") return undefined;
    value = (value as Record<string, unknown>)[part.replaceAll("~1", "/").replaceAll("~0", "~")];
  }
  return value;
}
