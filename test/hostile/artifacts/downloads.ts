import type { IncomingMessage, ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";

/** A server that does not give what was planned, and how the agent's refusal must read. */
export interface DownloadAttack {
  readonly name: string;
  readonly serve: (answer: ServerResponse, bytes: Buffer, request: IncomingMessage) => void;
  readonly code: string;
  readonly says: RegExp;
  readonly retryable?: true;
  /** For those that only time ends. */
  readonly deadlineMs?: number;
  /** A part that came before an honest network would have failed too: it may stay, to be resumed. */
  readonly keepsPart?: true;
}

const TRICKLE_MS = 20;
const SOON_MS = 700;
const other = (bytes: Buffer) => Buffer.alloc(bytes.length, "other");

export const DOWNLOAD_ATTACKS: readonly DownloadAttack[] = [
  wrong("other bytes of the same length", (answer, bytes) => answer.end(other(bytes)), /not the file that was planned/),
  wrong("one bit is another", (answer, bytes) => answer.end(bent(bytes)), /not the file that was planned/),
  wrong("an older release is replayed", (answer, bytes) => answer.end(gzipSync(bytes)), /longer|not the file/),
  wrong("twice the bytes", (answer, bytes) => answer.end(Buffer.concat([bytes, bytes])), /longer than the plan's/),
  wrong("one byte more", (answer, bytes) => answer.end(Buffer.concat([bytes, bytes.subarray(0, 1)])), /longer than/),
  wrong("a body that never ends", (answer) => pour(answer), /longer than the plan's \d+ bytes/),
  wrong(
    "a body that never ends, of a length that it gives rightly",
    (answer) => pour(answer, { "content-length": "1099511627776" }),
    /longer than/,
  ),
  wrong(
    "compressed on the way",
    (answer, bytes) => answer.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(bytes)),
    /longer|not the file/,
  ),
  cutShort("half of it, as if that were all", (answer, bytes) => answer.end(bytes.subarray(0, bytes.length / 2))),
  cutShort("nothing at all", (answer) => answer.end()),
  cutShort("half of it, and the line is cut", (answer, bytes) => {
    answer.writeHead(200, { "content-length": bytes.length });
    answer.write(bytes.subarray(0, bytes.length / 2), () => setTimeout(() => answer.destroy(), TRICKLE_MS));
  }),
  late("a byte now and then", (answer, bytes) => trickle(answer, bytes)),
  late("a beginning, and then nothing", (answer, bytes) => answer.write(bytes.subarray(0, 10))),
  late("no answer", () => {}),
  late("a header now and then", (answer) => {
    raw(answer, "HTTP/1.1 200 OK\r\n", () => {});
    const dripping = setInterval(() => answer.socket?.write("x: y\r\n"), TRICKLE_MS);
    answer.on("close", () => clearInterval(dripping));
  }),
  refused(
    "sent elsewhere",
    (answer) => answer.writeHead(302, { location: "http://127.0.0.1:9/evil" }).end(),
    /answers 302/,
  ),
  refused(
    "sent elsewhere for good",
    (answer) => answer.writeHead(308, { location: "file:///etc/shadow" }).end(),
    /308/,
  ),
  refused("not found", (answer) => answer.writeHead(404).end(), /answers 404/),
  refused("not allowed", (answer) => answer.writeHead(401).end(), /answers 401/),
  refused("a part that nobody asked for", (answer, bytes) => part(answer, bytes, 0), /answers 206/),
  refused("success of another kind", (answer, bytes) => answer.writeHead(203).end(bytes), /answers 203/),
  {
    ...refused("out of order", (answer) => answer.writeHead(503).end(), /answers 503/),
    code: "artifact-unavailable",
    retryable: true,
  },
  noHttp("no HTTP", (answer) => answer.socket?.end("220 ready\r\n")),
  noHttp("headers without end", (answer) =>
    raw(answer, `HTTP/1.1 200 OK\r\n${"x: yyyyyyyyyyyyyyyy\r\n".repeat(10_000)}`, () => {}),
  ),
  noHttp("two lengths", (answer, bytes) =>
    raw(answer, `HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: ${bytes.length}\r\n\r\n`, () => {}),
  ),
  noHttp("a length and chunks", (answer) =>
    raw(
      answer,
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      () => {},
    ),
  ),
  noHttp("the line is cut at once", (answer) => answer.socket?.destroy()),
];

function wrong(name: string, serve: DownloadAttack["serve"], says: RegExp): DownloadAttack {
  return { name, serve, code: "digest-mismatch", says };
}

function refused(name: string, serve: DownloadAttack["serve"], says: RegExp): DownloadAttack {
  return { name, serve, code: "artifact-refused", says };
}

function cutShort(name: string, serve: DownloadAttack["serve"]): DownloadAttack {
  return { name, serve, code: "download-cut", says: /ended after \d+ of \d+ bytes/, retryable: true, keepsPart: true };
}

function late(name: string, serve: DownloadAttack["serve"]): DownloadAttack {
  const says = /took longer than \d+ ms/;
  return { name, serve, code: "deadline-exceeded", says, retryable: true, keepsPart: true, deadlineMs: SOON_MS };
}

function noHttp(name: string, serve: DownloadAttack["serve"]): DownloadAttack {
  return { name, serve, code: "http-unreachable", says: /artifacts/, retryable: true };
}

export function part(answer: ServerResponse, bytes: Buffer, from: number): void {
  const headers = { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
  answer.writeHead(206, headers).end(bytes.subarray(from));
}

/** As much as is taken, for as long as somebody takes it. */
function pour(answer: ServerResponse, headers: Record<string, string> = {}): void {
  answer.writeHead(200, headers);
  const bytes = Buffer.alloc(65_536, "endless");
  const more = () => {
    while (!answer.destroyed && answer.write(bytes)) {}
  };
  answer.on("drain", more);
  more();
}

function trickle(answer: ServerResponse, bytes: Buffer): void {
  let sent = 0;
  const dripping = setInterval(() => {
    answer.write(bytes.subarray(sent, sent + 1));
    sent += 1;
  }, TRICKLE_MS);
  answer.on("close", () => clearInterval(dripping));
}

/** Behind the server's back: what it would never send. */
function raw(answer: ServerResponse, text: string, then: () => void): void {
  answer.socket?.write(text, then);
}

function bent(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const at = Math.floor(copy.length / 2);
  copy[at] = (copy[at] ?? 0) ^ 4;
  return copy;
}
