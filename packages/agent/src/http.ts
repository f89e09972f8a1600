import { type ClientRequest, type IncomingMessage, request as insecure } from "node:http";
import { request as secure } from "node:https";
import { pipeline } from "node:stream/promises";
import { BelayError } from "@belay/shared";
import type { TlsAccess } from "./identity/peer.js";

export interface HttpOptions {
  /** Until the first byte of the answer's body may be read. */
  timeoutMs: number;
  headers?: Readonly<Record<string, string>>;
  /** PEM certificates of the authorities to trust in place of Node's own. */
  ca?: Buffer;
  /** PEM, for who wants to know who asks. */
  cert?: Buffer;
  key?: Buffer;
  /** Believe no one whom no certificate names, not even on loopback. */
  strict?: boolean;
  /** How belayd is called: whom to believe, and what to show. */
  tls?: TlsAccess;
  /** A Unix socket to go through; the address's own host is then but a name. */
  socketPath?: string;
  method?: "GET" | "POST" | "PUT";
  /** Sent whole, or as it comes: then what the stream throws is thrown. */
  body?: string | AsyncIterable<Uint8Array>;
  signal?: AbortSignal;
}

/** The network's HTTP half, as an argument. Every request has a connection of its own: a kept one would outlive a swap. */
export interface Http {
  /** Opens an answer for streaming. The caller reads or destroys its body. Throws `http-unreachable` or `http-timeout`. */
  open(url: string, options: HttpOptions): Promise<IncomingMessage>;
  /** Reads a small answer whole, within the same timeout. Throws also `http-too-large`. */
  text(url: string, options: HttpOptions & { maxBytes?: number }): Promise<{ status: number; text: string }>;
}

/** A probe or health answer beyond this is no answer. Teleport's /metrics is below 200 KiB. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024;

export const systemHttp: Http = {
  open,
  async text(url, options) {
    const timeout = AbortSignal.timeout(options.timeoutMs);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
    const answer = await open(url, { ...options, signal });
    const limit = options.maxBytes ?? MAX_TEXT_BYTES;
    const chunks: Buffer[] = [];
    let size = 0;
    const give = () => answer.destroy();
    signal.addEventListener("abort", give, { once: true });
    try {
      for await (const chunk of answer) {
        size += (chunk as Buffer).length;
        if (size > limit) throw new BelayError("http-too-large", `${url} answers more than ${limit} bytes`);
        chunks.push(chunk as Buffer);
      }
    } catch (error) {
      throw asHttpError(url, error, signal, options);
    } finally {
      signal.removeEventListener("abort", give);
      answer.destroy();
    }
    if (signal.aborted) throw asHttpError(url, signal.reason, signal, options);
    return { status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
  },
};

function open(url: string, options: HttpOptions): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    options.signal?.throwIfAborted();
    const { ca, cert, key, socketPath, tls = {}, strict = ca !== undefined || tls.ca !== undefined } = options;
    const begin = url.startsWith("https:") ? secure : insecure;
    const request = begin(url, {
      agent: false,
      method: options.method ?? "GET",
      // Nobody but this very host answers on loopback, and no certificate names it: a service's own port can be asked.
      ...(!strict && isLoopback(new URL(url).hostname) ? { rejectUnauthorized: false } : {}),
      ...tls,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(socketPath === undefined ? {} : { socketPath }),
      headers: options.headers,
      timeout: options.timeoutMs,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    request.once("response", resolve);
    request.once("timeout", () => {
      request.destroy(
        new BelayError("http-timeout", `${url} does not answer within ${options.timeoutMs} ms`, { context: { url } }),
      );
    });
    // Not once: what is still being sent when the answer is there may fail a second time.
    request.on("error", (error) => reject(asHttpError(url, error, options.signal, options)));
    void send(request, options.body).catch((error: unknown) => {
      request.destroy();
      reject(asHttpError(url, error, options.signal, options));
    });
  });
}

async function send(request: ClientRequest, body: HttpOptions["body"]): Promise<void> {
  if (body === undefined || typeof body === "string") request.end(body);
  else await pipeline(body, request);
}

/** True for names and addresses that never leave this machine. */
export function isLoopback(name: string): boolean {
  return name === "localhost" || name === "[::1]" || /^127(\.[0-9]{1,3}){3}$/.test(name);
}

function asHttpError(url: string, error: unknown, signal: AbortSignal | undefined, options: HttpOptions): unknown {
  if (options.signal?.aborted) return options.signal.reason;
  if (error instanceof BelayError) return error;
  if (signal?.aborted) {
    return new BelayError("http-timeout", `${url} does not answer within ${options.timeoutMs} ms`, {
      context: { url },
    });
  }
  const { code, message } = error as NodeJS.ErrnoException;
  return new BelayError("http-unreachable", `${url}: ${message || code || "connection failed"}`, {
    context: { url, ...(code === undefined ? {} : { errno: code }) },
    cause: error,
  });
}
