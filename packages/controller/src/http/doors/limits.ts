import { GATEWAY_DEFAULTS, type GatewayOptions } from "../../fleet/gateway.js";
import type { Rate } from "../../rates.js";
import type { BodyPace } from "./body-pace.js";
import type { ConnectionLimits } from "./connections.js";

export interface DoorLimits {
  readonly connections: ConnectionLimits;
  /** Requests of one person, of one host, and from one origin as long as nobody knows whose they are. */
  readonly requests: { readonly person: Rate; readonly host: Rate; readonly stranger: Rate };
  readonly body: BodyPace;
  /** Whoever takes nothing of what waits for them for so long (twice that at most) does not read. */
  readonly unreadMs: number;
  /** Until all of a request's headers are there, counted from the connection's beginning. */
  readonly headersMs: number;
  readonly headersBytes: number;
  /** Of agents' WebSockets; see fleet/gateway.ts. */
  readonly agents: Pick<GatewayOptions, "maxPending" | "maxPendingPerHost" | "messages">;
}

/** Well above what `belay`, scripts and agents do, well below what would be felt. */
export const DOOR_LIMITS: DoorLimits = {
  connections: { strangers: 512, perPerson: 256, perHost: 64 },
  requests: {
    person: { burst: 1_000, perSecond: 200 },
    host: { burst: 500, perSecond: 50 },
    stranger: { burst: 200, perSecond: 20 },
  },
  body: { commandMs: 30_000, streamBytes: 16 * 1024, streamMs: 60_000 },
  unreadMs: 60_000,
  headersMs: 15_000,
  headersBytes: 16 * 1024,
  agents: {
    maxPending: GATEWAY_DEFAULTS.maxPending,
    maxPendingPerHost: GATEWAY_DEFAULTS.maxPendingPerHost,
    messages: GATEWAY_DEFAULTS.messages,
  },
};

/** How many strangers, people and hosts the rates know at a time. */
export const MOST_CALLERS = 20_000;

/** How both doors' HTTP servers are made. Node looks for late headers this often. */
export function serverOptions({ headersMs, headersBytes }: DoorLimits) {
  return {
    headersTimeout: headersMs,
    maxHeaderSize: headersBytes,
    connectionsCheckingInterval: Math.min(5_000, Math.ceil(headersMs / 3)),
    // Long streams are watched by their pace; see body-pace.ts.
    requestTimeout: 0,
  } as const;
}
