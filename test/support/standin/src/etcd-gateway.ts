import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { text } from "node:stream/consumers";
import { Unavailable } from "./backend.js";
import type { EtcdStorage } from "./config.js";

/** A key with its value and the revision that wrote it last. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

/** What a transaction is sent as, apart from its reads. Strings are plain here; the wire wants base64. */
export type Write = { readonly put: string; readonly value: string } | { readonly remove: string };

/** What must hold for a transaction's writes to be made. */
export type Condition =
  /** Nothing below this key, its parts included, was written after the revision. */
  { readonly below: string; readonly unchangedSince: number } | { readonly key: string; readonly holds: string };

export interface Answer {
  readonly succeeded: boolean;
  readonly revision: number;
  readonly entries: readonly Entry[];
}

const TIMEOUT_MS = 2_000;

interface WireRange {
  readonly kvs?: readonly { readonly key: string; readonly value?: string; readonly mod_revision: string }[];
}

/** etcd through its JSON gateway: transactions, and nothing else, because they can do it all. */
export class EtcdGateway {
  readonly #peers: readonly URL[];
  readonly #agent: http.Agent;
  #next = 0;

  constructor({ peers, tls }: EtcdStorage) {
    this.#peers = peers.map((peer) => new URL("/v3/kv/txn", peer));
    const secrets =
      tls === null ? {} : { ca: readFileSync(tls.ca), cert: readFileSync(tls.cert), key: readFileSync(tls.key) };
    const options = { keepAlive: true, maxSockets: 2, ...secrets };
    this.#agent = this.#peers[0]?.protocol === "https:" ? new https.Agent(options) : new http.Agent(options);
  }

  /** Reads all that lies below these keys, at one moment. */
  read(...below: string[]): Promise<Answer> {
    return this.#transact({ success: below.map((key) => ({ request_range: rangeBelow(key) })) });
  }

  /** Writes all of it, if the conditions hold, or nothing. A write that is asked for twice is made once if they say so. */
  write(writes: readonly Write[], ...conditions: Condition[]): Promise<Answer> {
    return this.#transact({
      compare: conditions.map(asCompare),
      success: writes.map((write) =>
        "put" in write
          ? { request_put: { key: base64(write.put), value: base64(write.value) } }
          : { request_delete_range: { key: base64(write.remove) } },
      ),
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  async #transact(body: object): Promise<Answer> {
    const answer = (await this.#post(JSON.stringify(body))) as {
      header: { revision: string };
      succeeded?: boolean;
      responses?: readonly { response_range?: WireRange }[];
    };
    const found = (answer.responses ?? []).flatMap(({ response_range: range }) => range?.kvs ?? []);
    return {
      succeeded: answer.succeeded ?? false,
      revision: Number(answer.header.revision),
      entries: found.map(({ key, value, mod_revision: revision }) => ({
        key: plain(key),
        value: plain(value ?? ""),
        revision: Number(revision),
      })),
    };
  }

  /** Asks every peer once, and the first one again: its kept-alive connection may have been closed by a restart. */
  async #post(body: string): Promise<unknown> {
    let why = "no peers";
    for (let turn = 0; turn <= this.#peers.length; turn++) {
      const peer = this.#peers[this.#next % this.#peers.length];
      if (peer === undefined) break;
      try {
        return await this.#postTo(peer, body);
      } catch (error) {
        why = `etcd at ${peer.host}: ${(error as Error).message}`;
        this.#next++;
      }
    }
    throw new Unavailable(why);
  }

  async #postTo(url: URL, body: string): Promise<unknown> {
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      const { request } = url.protocol === "https:" ? https : http;
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
      request(url, { method: "POST", agent: this.#agent, headers, signal: AbortSignal.timeout(TIMEOUT_MS) }, resolve)
        .on("error", reject)
        .end(body);
    });
    const answer = await text(response);
    if (response.statusCode !== 200) throw new Error(`${response.statusCode} ${answer.trim()}`);
    return JSON.parse(answer);
  }
}

function asCompare(condition: Condition): object {
  if ("holds" in condition) {
    return { key: base64(condition.key), target: "VALUE", result: "EQUAL", value: base64(condition.holds) };
  }
  const { key, range_end } = rangeBelow(condition.below);
  return { key, range_end, target: "MOD", result: "LESS", mod_revision: String(condition.unchangedSince + 1) };
}

/** All keys that begin so: up to the key with one more in its last character. */
function rangeBelow(key: string): { key: string; range_end: string } {
  const end = key.slice(0, -1) + String.fromCharCode(key.charCodeAt(key.length - 1) + 1);
  return { key: base64(key), range_end: base64(end) };
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function plain(text: string): string {
  return Buffer.from(text, "base64").toString();
}
