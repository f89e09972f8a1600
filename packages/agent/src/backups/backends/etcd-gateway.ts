import { BelayError } from "@belay/shared";
import type { Http, HttpOptions } from "../../http.js";

/** One key of etcd, as its JSON gateway tells it. */
export interface KeyValue {
  key: Buffer;
  value: Buffer;
  /** The lease it lives under; null: it stays. */
  lease: string | null;
}

export type Change = { put: KeyValue } | { remove: Buffer };

/** How one etcd is reached over HTTP. */
export interface GatewayTarget {
  base: string;
  /** What goes with every request: a socket, certificates. */
  through: Omit<HttpOptions, "timeoutMs" | "signal" | "method" | "body" | "headers">;
  /** Null: this etcd asks nobody who he is, or knows it from the certificate. */
  credentials: { user: string; password: string } | null;
  /** What is thrown when it refuses a call. */
  refused: (message: string, status: number) => BelayError;
}

const CALL_TIMEOUT_MS = 60_000;
/** How many keys are asked for at once: fewer where their values are large, so that a page fits in memory. */
const PAGE_KEYS = 4000;
const PAGE_BYTES = 8 * 1024 * 1024;

/**
 * etcd's own JSON gateway: the one way to write many keys of any bytes without a client library. It is part of etcd 3.4 and
 * newer, unless `--enable-grpc-gateway=false`.
 */
export class EtcdGateway {
  readonly #target: GatewayTarget;
  readonly #http: Http;
  readonly #signal: AbortSignal;
  #token: string | null = null;

  constructor(target: GatewayTarget, http: Http, signal: AbortSignal) {
    this.#target = target;
    this.#http = http;
    this.#signal = signal;
  }

  /** Every key below a prefix in the order of their bytes, page by page; each page is as the keys are then. */
  async *keys(prefix: string): AsyncGenerator<KeyValue> {
    const end = afterPrefix(Buffer.from(prefix));
    let from = Buffer.from(prefix);
    for (let limit = PAGE_KEYS; ; ) {
      const page = await this.#page(from, end, limit);
      if (page === null) {
        limit = Math.max(1, Math.floor(limit / 4));
        continue;
      }
      yield* page.keys;
      const last = page.keys.at(-1);
      if (!page.more || last === undefined) return;
      from = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  /** How many keys are below a prefix, at a revision. */
  async count(prefix: string, revision: number): Promise<number> {
    const key = Buffer.from(prefix);
    const asked = { key: base64(key), range_end: base64(afterPrefix(key)), revision, count_only: true };
    return Number(((await this.#call("/v3/kv/range", asked)) as { count?: string }).count ?? 0);
  }

  /** Makes changes as one transaction. */
  async change(changes: readonly Change[]): Promise<void> {
    const success = changes.map((change) => {
      if ("remove" in change) return { request_delete_range: { key: base64(change.remove) } };
      const { key, value, lease } = change.put;
      const under = lease === null ? {} : { lease };
      return { request_put: { key: base64(key), value: base64(value), ...under } };
    });
    await this.#call("/v3/kv/txn", { success });
  }

  /** How long a lease was given for, in seconds; null: it is gone. */
  async leaseSeconds(id: string): Promise<number | null> {
    const said = (await this.#call("/v3/lease/timetolive", { ID: id })) as { TTL?: string; grantedTTL?: string };
    return Number(said.TTL ?? 0) < 0 ? null : Number(said.grantedTTL ?? 0);
  }

  /**
   * Lets everybody do everything from now on. Idempotent. `token` is one that this etcd takes for the user root's; without authentication
   * none is asked for.
   */
  async unlock(token: string): Promise<void> {
    this.#token = token;
    await this.#call("/v3/auth/disable", {});
    this.#token = "";
  }

  async grantLease(seconds: number): Promise<string> {
    return String(((await this.#call("/v3/lease/grant", { TTL: seconds })) as { ID?: string }).ID);
  }

  /** Null: too much for one answer. */
  async #page(from: Buffer, end: Buffer, limit: number): Promise<{ keys: KeyValue[]; more: boolean } | null> {
    try {
      const asked = { key: base64(from), range_end: base64(end), limit };
      // A single value may be as large as etcd takes it.
      const said = (await this.#call("/v3/kv/range", asked, limit === 1 ? undefined : PAGE_BYTES)) as {
        kvs?: { key: string; value?: string; lease?: string }[];
        more?: boolean;
      };
      const keys = (said.kvs ?? []).map(({ key, value = "", lease = "0" }) => ({
        key: Buffer.from(key, "base64"),
        value: Buffer.from(value, "base64"),
        lease: lease === "0" ? null : lease,
      }));
      return { keys, more: said.more === true };
    } catch (error) {
      if (error instanceof BelayError && error.code === "http-too-large") return null;
      throw error;
    }
  }

  async #call(path: string, body: object, maxBytes = 64 * 1024 * 1024): Promise<unknown> {
    if (this.#token === null) await this.#authenticate();
    let answer = await this.#post(path, body, maxBytes);
    if (answer.status !== 200 && /invalid auth token/.test(answer.text)) {
      // Tokens end after five minutes without use, and with the member that gave them.
      await this.#authenticate();
      answer = await this.#post(path, body, maxBytes);
    }
    return parsed(this.#target, path, answer);
  }

  async #authenticate(): Promise<void> {
    const { credentials } = this.#target;
    this.#token = "";
    if (credentials === null) return;
    const path = "/v3/auth/authenticate";
    const answer = await this.#post(path, { name: credentials.user, password: credentials.password }, 1024 * 1024);
    if (/authentication is not enabled/.test(answer.text)) return;
    this.#token = String((parsed(this.#target, path, answer) as { token?: string }).token);
  }

  #post(path: string, body: object, maxBytes: number): Promise<{ status: number; text: string }> {
    return this.#http.text(`${this.#target.base}${path}`, {
      ...this.#target.through,
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json", ...(this.#token ? { authorization: this.#token } : {}) },
      timeoutMs: CALL_TIMEOUT_MS,
      maxBytes,
      signal: this.#signal,
    });
  }
}

function parsed({ base, refused }: GatewayTarget, path: string, answer: { status: number; text: string }): unknown {
  const { status, text } = answer;
  let said: unknown = null;
  try {
    said = JSON.parse(text);
  } catch {
    // Not etcd, or a proxy before it: the status says more than its page.
  }
  if (status === 200 && said !== null) return said;
  const why = (said as { error?: string } | null)?.error ?? `status ${status}`;
  throw refused(`${base}${path}: ${String(why).slice(0, 500)}`, status);
}

function base64(bytes: Buffer): string {
  return bytes.toString("base64");
}

/** The first key that is beyond all that begin with `prefix`. */
function afterPrefix(prefix: Buffer): Buffer {
  for (let at = prefix.length - 1; at >= 0; at -= 1) {
    const byte = prefix[at] ?? 0xff;
    if (byte < 0xff) return Buffer.concat([prefix.subarray(0, at), Buffer.from([byte + 1])]);
  }
  // Nothing but 0xff: to the end of all keys, which etcd writes so.
  return Buffer.from([0]);
}
