import { BelayError, type ErrorInfo } from "@belay/shared";
import type { Outside } from "./outside.js";
import { readEvents, type ServerSent } from "./sse.js";

/** belayd answers from memory and one database; what takes longer is lost. */
const ANSWER_TIMEOUT_MS = 30_000;
/** belayd sends a sign of life every 15 s; three missed ones are a dead line. */
const SILENCE_TIMEOUT_MS = 45_000;

type Method = "GET" | "POST" | "DELETE";

/** JSON over HTTP with belayd. Every failure is a BelayError: belayd's own, or one that says why there was no answer. */
export class Client {
  readonly server: string;
  readonly #token: string | null;
  readonly #fetch: Outside["fetch"];

  /** `token` null: for signing in, which is how one comes by a token. */
  constructor(settings: { readonly server: string; readonly token: string | null }, fetch: Outside["fetch"]) {
    this.server = settings.server;
    this.#token = settings.token;
    this.#fetch = fetch;
  }

  get<T>(path: string): Promise<T> {
    return this.#json<T>("GET", path, {});
  }

  post<T>(path: string, body: object, timeoutMs?: number): Promise<T> {
    const request = { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    return this.#json<T>("POST", path, request, timeoutMs);
  }

  delete<T>(path: string): Promise<T> {
    return this.#json<T>("DELETE", path, {});
  }

  /** The bytes of a file; null: there is none. */
  async bytes(path: string): Promise<Buffer | null> {
    let response: Response;
    try {
      response = await this.#request("GET", path, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
      if (response.ok) return Buffer.from(await response.arrayBuffer());
    } catch (error) {
      throw this.#unreachable(error);
    }
    if (response.status === 404) return null;
    throw await this.#refusal(response);
  }

  /** Sends bytes as they come; how long that takes depends on their number, so there is no limit. */
  upload<T>(path: string, body: ReadableStream<Uint8Array>): Promise<T> {
    const request = { headers: { "content-type": "application/octet-stream" }, body, duplex: "half" as const };
    return this.#json<T>("POST", path, request, null);
  }

  /**
   * The events of a stream, heartbeats left out, until belayd ends it or the signal aborts. Throws `belayd-unreachable`
   * when the line breaks or goes silent; whoever follows may come again.
   */
  async *events(path: string, signal: AbortSignal): AsyncGenerator<ServerSent> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_TIMEOUT_MS);
    try {
      const response = await this.#request("GET", path, { signal: AbortSignal.any([signal, silence.signal]) });
      if (!response.ok) throw await this.#refusal(response);
      if (response.body === null) return;
      for await (const event of readEvents(response.body.pipeThrough(new TextDecoderStream()))) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_TIMEOUT_MS);
        if (event.event !== "comment") yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      throw error instanceof BelayError ? error : this.#unreachable(error);
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  async #json<T>(
    method: Method,
    path: string,
    request: RequestInit,
    timeoutMs: number | null = ANSWER_TIMEOUT_MS,
  ): Promise<T> {
    const limit = timeoutMs === null ? {} : { signal: AbortSignal.timeout(timeoutMs) };
    try {
      const response = await this.#request(method, path, { ...request, ...limit });
      if (!response.ok) throw await this.#refusal(response);
      return (await this.#parse(response)) as T;
    } catch (error) {
      if (error instanceof BelayError) throw error;
      if ((error as Error).name === "TimeoutError") {
        throw new BelayError(
          "belayd-slow",
          `belayd at ${this.server} did not answer within ${(timeoutMs ?? 0) / 1000} s`,
          {
            hint: "It may have done what was asked all the same: look before you repeat it.",
            cause: error,
          },
        );
      }
      throw this.#unreachable(error);
    }
  }

  #request(method: Method, path: string, request: RequestInit): Promise<Response> {
    const shown = this.#token === null ? {} : { authorization: `Bearer ${this.#token}` };
    const headers = { ...request.headers, ...shown };
    return this.#fetch(`${this.server}${path}`, { ...request, method, headers, redirect: "error" });
  }

  async #parse(response: Response): Promise<unknown> {
    const text = await response.text();
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new BelayError(
        "answer-malformed",
        `${this.server} answered ${response.status} with something that is not JSON`,
        {
          hint: "Is that really belayd? Another address: --server URL or BELAY_SERVER.",
          cause,
        },
      );
    }
  }

  async #refusal(response: Response): Promise<BelayError> {
    const answer = (await this.#parse(response)) as { error?: Partial<ErrorInfo> } | null;
    const error = answer?.error;
    if (typeof error?.code === "string" && typeof error.message === "string") {
      return BelayError.from({ ...error, code: error.code, message: error.message });
    }
    return new BelayError("answer-malformed", `${this.server} answered ${response.status} without saying why`, {
      hint: "Is that really belayd? Another address: --server URL or BELAY_SERVER.",
    });
  }

  #unreachable(cause: unknown): BelayError {
    return new BelayError("belayd-unreachable", `cannot reach belayd at ${this.server}: ${reasonOf(cause)}`, {
      hint: "Is it running? Another address: --server URL or BELAY_SERVER.",
      cause,
    });
  }
}

/** fetch says `fetch failed` and keeps what happened in `cause`, which for several addresses is a list. */
function reasonOf(thrown: unknown): string {
  const error = thrown as Error & { cause?: unknown; errors?: readonly unknown[]; code?: string };
  if (error.cause !== undefined) return reasonOf(error.cause);
  if (error.errors?.[0] !== undefined) return reasonOf(error.errors[0]);
  if (error.name === "AbortError") return "the line went silent";
  return error.message || error.code || "no reason given";
}
