import type { IncomingMessage } from "node:http";
import { BelayError } from "@belay/shared";
import type { Host } from "../../host.js";

/** Belayd may hand what it has received on to a slow store before it answers. */
const ANSWER_TIMEOUT_MS = 120_000;
const MAX_ANSWER_BYTES = 64 * 1024;

/** Sends a copy and gives what belayd has received. Throws `copy-unavailable`, `copy-refused`, or what the stream throws. */
export async function putCopy(
  id: string,
  body: AsyncIterable<Uint8Array>,
  host: Host,
  signal: AbortSignal,
): Promise<{ sha256: string; bytes: number }> {
  const answer = await ask(id, "", host, signal, { method: "PUT", body, type: "application/octet-stream" });
  const text = await textOf(answer);
  try {
    const said = JSON.parse(text) as { sha256?: unknown; bytes?: unknown };
    if (typeof said.sha256 === "string" && typeof said.bytes === "number") {
      return { sha256: said.sha256, bytes: said.bytes };
    }
  } catch {
    // Not belayd: the same complaint as below.
  }
  throw new BelayError("copy-refused", `${host.controller.base} does not say what it has received of ${id}`, {
    hint: "see that `controller` in agent.yaml leads to belayd, and what stands between",
  });
}

/** A copy's bytes as they come. Throws `copy-cut` in the middle, or as `putCopy`. */
export async function* getCopy(
  id: string,
  sha256: string,
  host: Host,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const answer = await ask(id, `?sha256=${sha256}`, host, signal, { method: "GET" });
  let bytes = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      yield chunk;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw new BelayError("copy-cut", `the copy of ${id} ended after ${bytes} bytes: ${(error as Error).message}`, {
      hint: "look at the network between this host and belayd; it is tried again from the start",
      context: { bytes },
      cause: error,
    });
  } finally {
    answer.destroy();
  }
}

async function ask(
  id: string,
  query: string,
  host: Host,
  signal: AbortSignal,
  { method, body, type }: { method: "PUT" | "GET"; body?: AsyncIterable<Uint8Array>; type?: string },
): Promise<IncomingMessage> {
  const { base } = host.controller;
  const { headers, tls } = host.controller.access();
  const url = `${base}/v1/backups/${encodeURIComponent(host.name)}/${encodeURIComponent(id)}/copy${query}`;
  const answer = await host.http.open(url, {
    method,
    ...(body === undefined ? {} : { body }),
    headers: { ...headers, ...(type === undefined ? {} : { "content-type": type }) },
    tls,
    timeoutMs: method === "PUT" ? ANSWER_TIMEOUT_MS : host.downloadIdleMs,
    signal,
  });
  const status = answer.statusCode ?? 0;
  if (status === 200 || status === 201) return answer;
  const said = reasonIn(await textOf(answer));
  const busy = status >= 500 || status === 429 || status === 408;
  throw new BelayError(
    busy ? "copy-unavailable" : "copy-refused",
    `belayd answers ${status} for the copy of ${id}${said}`,
    {
      hint: busy
        ? "the local backup stays; the copy is tried again"
        : "see belayd's log and `backups.copy` in fleet.yaml",
      context: { status },
    },
  );
}

/** The beginning of an answer; what can't be read any more is no part of it. */
async function textOf(answer: IncomingMessage): Promise<string> {
  let text = "";
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      text += chunk.toString("utf8");
      if (text.length > MAX_ANSWER_BYTES) break;
    }
  } catch (error) {
    // It ended in the middle of its reasons: the status was there, and that decides.
    return `${text} (${(error as Error).message})`;
  } finally {
    answer.destroy();
  }
  return text;
}

function reasonIn(text: string): string {
  try {
    const said = JSON.parse(text) as { error?: { message?: unknown }; message?: unknown };
    const message = said.error?.message ?? said.message;
    if (typeof message === "string") return `: ${message.slice(0, 500)}`;
  } catch {
    // A page of some proxy: nothing that a person should read here.
  }
  return "";
}
