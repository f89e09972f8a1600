import { createHash, type Hash } from "node:crypto";
import { type FileHandle, lstat, open, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { BelayError } from "@belay/shared";
import { listen } from "../clock.js";
import { hashInto, isFull, orMissing } from "../durable.js";
import { Gathering } from "../gather.js";
import type { Host } from "../host.js";
import type { Attempt } from "./op.js";

export interface Download {
  /** Path on the controller. */
  source: string;
  sha256: string;
  size: number;
  /** Where the bytes go. A part from an earlier attempt is taken up again. */
  partial: string;
}

const ANSWER_TIMEOUT_MS = 30_000;

/**
 * Brings an artifact's exact bytes to `partial`, hashing while they stream; a part that was there is hashed again, not
 * trusted. On a network failure the part stays, to be resumed; bytes with a wrong digest are deleted. Idempotent.
 */
export async function download(what: Download, host: Host, attempt: Attempt): Promise<void> {
  const hash = createHash("sha256");
  const had = await resumable(what, hash, attempt.signal);
  if (had < what.size) {
    const answer = await ask(what, had, host, attempt.signal);
    // A server that can't do ranges sends it all: begin again.
    const from = answer.statusCode === 206 ? had : 0;
    await receive(answer, what, { from, hash: from === had ? hash : createHash("sha256") }, host, attempt);
    return;
  }
  await accept(what, hash, had);
}

async function resumable(what: Download, hash: Hash, signal: AbortSignal): Promise<number> {
  const found = await orMissing(lstat(what.partial));
  if (found === null) return 0;
  // A link, a pipe or a folder is nothing of ours: what it leads to is not to be written over.
  if (!found.isFile() || found.size > what.size) {
    await rm(what.partial, { recursive: true, force: true });
    return 0;
  }
  return hashInto(hash, what.partial, signal);
}

async function ask(what: Download, from: number, host: Host, signal: AbortSignal): Promise<IncomingMessage> {
  const url = `${host.controller.base}${what.source}`;
  const { headers, tls } = host.controller.access();
  const answer = await host.http.open(url, {
    timeoutMs: ANSWER_TIMEOUT_MS,
    headers: from > 0 ? { ...headers, range: `bytes=${from}-` } : headers,
    tls,
    signal,
  });
  const status = answer.statusCode ?? 0;
  const range = answer.headers["content-range"];
  if (status === 200 || (status === 206 && from > 0 && range?.startsWith(`bytes ${from}-`))) return answer;
  answer.destroy();
  const busy = status >= 500 || status === 429 || status === 408;
  throw new BelayError(busy ? "artifact-unavailable" : "artifact-refused", `${url} answers ${status}`, {
    hint: status === 404 ? "the controller doesn't have it: `belay release add` it again" : "look at belayd's log",
    context: { url, status },
  });
}

async function receive(
  answer: IncomingMessage,
  what: Download,
  part: { from: number; hash: Hash },
  host: Host,
  attempt: Attempt,
): Promise<void> {
  const file = await open(what.partial, part.from > 0 ? "a" : "w", 0o600);
  let bytes: number;
  try {
    bytes = await write(answer, file, what, part, host, attempt);
  } catch (error) {
    // A full disk hurts the service that runs on it: what was taken is given back, at the price of a resume.
    if (isFull(error)) await rm(what.partial, { force: true });
    throw error;
  } finally {
    answer.destroy();
    await file.close();
  }
  if (bytes > what.size) {
    await rm(what.partial, { force: true });
    throw new BelayError("digest-mismatch", `${what.source} is longer than the plan's ${what.size} bytes`, {
      hint: "the controller serves another file than was planned: look at its artifact store",
      context: { expected: what.size },
    });
  }
  if (bytes < what.size) throw cut(what, bytes, new Error("the connection ended"));
  await accept(what, part.hash, part.from);
}

async function write(
  answer: IncomingMessage,
  file: FileHandle,
  what: Download,
  part: { from: number; hash: Hash },
  host: Host,
  attempt: Attempt,
): Promise<number> {
  let bytes = part.from;
  let stalled = false;
  const listening = listen(host.clock, host.downloadIdleMs, () => {
    stalled = true;
    answer.destroy();
  });
  const gathering = new Gathering(file, part.hash, { bytes: what.size });
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > what.size) return bytes;
      const writing = gathering.add(chunk);
      if (writing !== null) {
        listening.busy();
        await writing;
      }
      listening.heard();
      attempt.progress("downloading", { done: bytes, total: what.size, unit: "bytes" });
    }
    await gathering.flush();
    return bytes;
  } catch (error) {
    attempt.signal.throwIfAborted();
    // What arrived is kept, for the next attempt to go on from.
    if (stalled || answer.errored !== null) await gathering.flush();
    if (stalled) {
      throw new BelayError("download-stalled", `no byte of ${what.source} for ${host.downloadIdleMs} ms`, {
        hint: "look at the network between this host and belayd; what arrived is kept",
        context: { bytes, total: what.size },
      });
    }
    if (answer.errored !== null) throw cut(what, bytes, error);
    throw error;
  } finally {
    listening.end();
  }
}

/** The last word on the bytes. A resumed part may be what is wrong, so only a fresh download's mismatch is final. */
async function accept(what: Download, hash: Hash, resumedFrom: number): Promise<void> {
  const found = hash.digest("hex");
  if (found === what.sha256) return;
  await rm(what.partial, { force: true });
  if (resumedFrom > 0) {
    throw new BelayError("download-damaged", `${what.source}: the part kept from an earlier attempt was damaged`, {
      hint: "it was deleted; the next attempt begins anew",
      context: { expected: what.sha256, found },
    });
  }
  throw new BelayError("digest-mismatch", `${what.source} is not the file that was planned`, {
    hint: "the controller serves other bytes than were approved: look at its artifact store before anything else",
    context: { expected: what.sha256, found },
  });
}

function cut(what: Download, bytes: number, cause: unknown): BelayError {
  return new BelayError("download-cut", `${what.source} ended after ${bytes} of ${what.size} bytes`, {
    hint: "what arrived is kept; the next attempt goes on from there",
    context: { bytes, total: what.size },
    cause,
  });
}
