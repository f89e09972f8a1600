import { BelayError, MAX_FRAME_BYTES, offerProtocols } from "@belay/shared";
import { WebSocket } from "ws";

/** One connection attempt's socket, as little of it as a connection needs. */
export interface Socket {
  send(frame: string): void;
  close(code: number, reason: string): void;
  /** Without the closing handshake: for a peer that says nothing any more. */
  terminate(): void;
  /** Bytes handed to `send` that the network hasn't taken yet. */
  readonly backlog: number;
}

/** What a socket tells. After `closed` it tells nothing more; `closed` always comes, also for a failed dial. */
export interface SocketEvents {
  /** `subprotocol` is what the controller chose of those that were offered. */
  opened(subprotocol: string): void;
  text(frame: string): void;
  /** Anything at all came from the peer: it is alive. */
  heard(): void;
  closed(how: SocketEnd): void;
}

export type SocketEnd =
  | { kind: "closed"; code: number; reason: string }
  | { kind: "failed"; error: Error }
  /** The peer answered the upgrade with plain HTTP. */
  | { kind: "denied"; status: number };

/** Dials once. Everything that follows is told through `events`, never before this returns. */
export type Dial = (events: SocketEvents) => Socket;

/** Where belayd is, what this host shows it, and who may vouch for it (PEM; null: whom Node itself trusts). */
export interface Controller {
  readonly base: string;
  readonly token: string;
  readonly ca: Buffer | null;
}

/** A dial to belayd's agent endpoint over ws. */
export function webSocketDial({ base, token, ca }: Controller): Dial {
  const url = `${base.replace(/^http/, "ws")}/v1/agent`;
  return (events) => {
    const ws = new WebSocket(url, offerProtocols(), {
      headers: { authorization: `Bearer ${token}` },
      // Compression costs about 240 KiB a connection on the other end, for messages of a few hundred bytes.
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      handshakeTimeout: 15_000,
      followRedirects: false,
      ...(ca === null ? {} : { ca }),
    });
    let end: SocketEnd | null = null;
    ws.on("open", () => events.opened(ws.protocol));
    ws.on("ping", () => events.heard());
    ws.on("message", (data, isBinary) => {
      events.heard();
      events.text(isBinary ? "" : data.toString());
    });
    ws.on("unexpected-response", (request, response) => {
      end = { kind: "denied", status: response.statusCode ?? 0 };
      response.resume();
      request.destroy();
      ws.terminate();
    });
    ws.on("error", (error) => {
      end ??= { kind: "failed", error };
    });
    ws.on("close", (code, reason) => {
      events.closed(end ?? { kind: "closed", code, reason: reason.toString().slice(0, 256) });
    });
    return {
      send(frame) {
        ws.send(frame, (error) => {
          if (error) end ??= { kind: "failed", error };
        });
      },
      close: (code, reason) => ws.close(code, reason),
      terminate: () => ws.terminate(),
      get backlog() {
        return ws.bufferedAmount;
      },
    };
  };
}

/** The BelayError for a socket that ended before it served. */
export function socketError(end: SocketEnd): BelayError {
  switch (end.kind) {
    case "closed":
      return new BelayError("link-closed", `the controller closed the connection (${end.code} ${end.reason})`);
    case "failed":
      return new BelayError("link-failed", end.error.message, { cause: end.error });
    case "denied":
      return new BelayError("link-denied", `the controller answers ${end.status}`, {
        hint: end.status === 401 ? "check this host's token file" : "check `controller` in agent.yaml",
        context: { status: end.status },
      });
  }
}
