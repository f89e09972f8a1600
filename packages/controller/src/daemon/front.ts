import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { readApiToken } from "../api-token.js";
import type { RefusalTally } from "../audit/tally.js";
import { hashToken, newToken } from "../bearer-token.js";
import type { Config } from "../config.js";
import { readApprovers } from "../declared-approvers.js";
import { auditRequests } from "../http/audited.js";
import { beforeCommand } from "../http/before-command.js";
import { Doors } from "../http/doors/doors.js";
import type { DoorLimits } from "../http/doors/limits.js";
import { addRoutes } from "../http/routes.js";
import { makeServer } from "../http/server.js";
import type { Services } from "../http/services.js";
import { type OwnersCertificate, openTlsDoor, type TlsDoor } from "../http/tls.js";
import { openPeople } from "../people/open.js";
import type { Store } from "../store/sqlite.js";

/** Where belayd is reached: `http://127.0.0.1:7440`, and `https://10.0.0.5:7443`, or null for loopback only. */
export interface Addresses {
  readonly address: string;
  readonly tlsAddress: string | null;
}

/** All that faces people and agents: who may come in by which door, and the routes behind them. */
export interface Front {
  /** Opens the doors. Throws what listening throws. */
  listen(): Promise<Addresses>;
  /** Waits for no sign-in any more. Idempotent. */
  stopLogins(): void;
  close(): Promise<void>;
}

/** What is behind the doors, short of what only the front itself knows. */
type BehindTheDoors = Omit<
  Services,
  "people" | "sessions" | "logins" | "oidc" | "approvers" | "hasTlsDoor" | "plaintextTokens" | "newToken"
>;

/** Puts the front together, with every door closed still. Throws as `openPeople` and `readApiToken`. */
export async function openFront(
  config: Config,
  services: BehindTheDoors,
  parts: {
    readonly store: Store;
    readonly refusals: RefusalTally;
    /** Which host a request is of; null: no host's. */
    readonly hostOf: (request: IncomingMessage) => Promise<string | null>;
    readonly owners: OwnersCertificate | null;
    readonly limits: DoorLimits;
  },
): Promise<Front> {
  const { audit, gateway, identity, records, controller, now, log } = services;
  const { store, refusals, hostOf, owners, limits } = parts;
  const { people, sessions, logins } = await openPeople(config, {
    store,
    now,
    newSecret: newToken,
    hash: hashToken,
    log,
  });
  const connections = { ...limits.connections, strangers: config.connectionsPerAddress };
  const doors = new Doors({ limits: { ...limits, connections }, now, log });
  const rootTokenHash = hashToken(await readApiToken(config.apiTokenFile));
  const server = makeServer({ log, doors, gateway, identities: { people, sessions, rootTokenHash, hostOf } });
  auditRequests(server, { audit, refusals, before: beforeCommand({ records, controller }) });
  addRoutes(server, {
    ...services,
    people,
    sessions,
    logins,
    oidc: config.oidc,
    approvers: () => readApprovers(config.approversFile),
    hasTlsDoor: config.tls !== null,
    plaintextTokens: config.plaintextTokens,
    newToken,
  });

  let tlsDoor: TlsDoor | null = null;
  return {
    async listen() {
      await server.listen({ host: config.listen.host, port: config.listen.port });
      if (config.tls !== null) {
        tlsDoor = await openTlsDoor(server, doors, { listen: config.tls.listen, owners, own: identity.server });
      }
      const { address, family, port } = server.server.address() as AddressInfo;
      return {
        address: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
        tlsAddress: tlsDoor?.address ?? null,
      };
    },
    stopLogins: () => logins?.stop(),
    async close() {
      await tlsDoor?.close();
      await server.close();
      doors.close();
    },
  };
}
