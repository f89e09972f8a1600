import { BelayError, MAX_FRAME_BYTES, offerProtocols } from "@belay/shared";
import { WebSocket } from "ws";
import { clockHint, type TlsAccess } from "../identity/peer.js";

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

/** Where belayd is, and how it is called. */
export interface Controller {
  readonly base: string;
  /** Asked anew for each connection: what a host shows is renewed. Throws `not-joined`. */
  access(): Access;
}

/** What a host shows, and whom it believes. */
export interface Access {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsAccess;
}

/** A belayd on this very machine, which is told a token in the clear. */
export function byToken(base: string, token: string): Controller {
  return { base, access: () => ({ headers: { authorization: `Bearer ${token}` }, tls: {} }) };
}

/** A dial to belayd's agent endpoint over ws. */
export function webSocketDial(controller: Controller): Dial {
  const url = `${controller.base.replace(/^http/, "ws")}/v1/agent`;
  return (events) => {
    const { headers, tls } = controller.access();
    const ws = new WebSocket(url, offerProtocols(), {
      ...tls,
      headers,
      // Compression costs about 240 KiB a connection on the other end, for messages of a few hundred bytes.
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      handshakeTimeout: 15_000,
      followRedirects: false,
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
    case "failed": {
      const hint = clockHint(end.error);
      return new BelayError("link-failed", end.error.message, {
        ...(hint === undefined ? {} : { hint }),
        cause: end.error,
      });
    }
    case "denied":
      return new BelayError("link-denied", `the controller answers ${end.status}`, {
        hint:
          end.status === 401
            ? "this host's identity has ended, or its token is not valid: it joins again with a new token"
            : "check `controller` in agent.yaml",
        context: { status: end.status },
      });
  }
}
