import type { Socket } from "node:net";

/** A peer that sends more than this without a line end is not one of ours. */
const MAX_LINE_CHARACTERS = 65_536;

/** Calls `take` with each JSON line that arrives. What is no JSON, or has no end, closes the connection. */
export function onLines(socket: Socket, take: (message: Record<string, unknown>) => void): void {
  let pending = "";
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    const lines = (pending + chunk).split("\n");
    pending = lines.pop() ?? "";
    if (pending.length > MAX_LINE_CHARACTERS) socket.destroy();
    for (const line of lines) {
      const message = parseLine(line);
      if (message === null) {
        socket.destroy();
        return;
      }
      take(message);
    }
  });
}

function parseLine(line: string): Record<string, unknown> | null {
  try {
    const message: unknown = JSON.parse(line);
    return typeof message === "object" && message !== null ? (message as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** Sends one line; a socket that is going away takes nothing more. */
export function sendLine(socket: Socket, message: object): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}
