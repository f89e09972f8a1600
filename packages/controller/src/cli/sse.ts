import { BelayError } from "@belay/shared";

/** One server-sent event. Comments (heartbeats) come as `event: "comment"`, so that a reader knows the line is alive. */
export interface ServerSent {
  readonly event: string;
  readonly data: string;
  readonly id: string | null;
}

/** The view of the largest run is far below this; what is longer is not ours. */
const MAX_EVENT_CHARS = 16 * 1024 * 1024;

/** Cuts a stream of text into server-sent events. Throws `answer-malformed` when one has no end. */
export async function* readEvents(chunks: AsyncIterable<string>): AsyncGenerator<ServerSent> {
  let pending = "";
  for await (const chunk of chunks) {
    pending += chunk;
    let end = pending.indexOf("\n\n");
    while (end >= 0) {
      yield parseEvent(pending.slice(0, end));
      pending = pending.slice(end + 2);
      end = pending.indexOf("\n\n");
    }
    if (pending.length > MAX_EVENT_CHARS) {
      throw new BelayError("answer-malformed", "an event in belayd's stream has no end");
    }
  }
}

function parseEvent(block: string): ServerSent {
  let event = "message";
  let id: string | null = null;
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0) return { event: "comment", data: line.slice(1).trim(), id: null };
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event = value;
    else if (field === "data") data.push(value);
    else if (field === "id") id = value;
  }
  return { event, data: data.join("\n"), id };
}
