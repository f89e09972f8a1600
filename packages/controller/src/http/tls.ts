import { constants } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { AGENTS_SERVER_NAME, BelayError } from "@belay/shared";
import type { ListenAddress, TlsConfig } from "../config.js";
import type { ShownIdentity } from "../identity/server-certificate.js";
import type { Doors } from "./doors/doors.js";
import { serverOptions } from "./doors/limits.js";
import type { Server } from "./server.js";

/** The second door: the same routes and the same agents' path, over TLS 1.3. */
export interface TlsDoor {
  /** `https://10.0.0.5:7443` */
  readonly address: string;
  /** Ends the listener and its connections. Idempotent. */
  close(): Promise<void>;
}

/** How long a peer may take over its handshake: one that opens sockets and says nothing holds nothing for long. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** A certificate of the owner's, for people's browsers and tools. */
export interface OwnersCertificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/**
 * Reads the owner's certificate and key, once: a renewed pair is taken up at the next start of belayd, which loses nothing
 * (I14). Null: there is none. Throws `certificate-unreadable` or `certificate-invalid`.
 */
export async function readOwnersCertificate({ owners }: TlsConfig): Promise<OwnersCertificate | null> {
  if (owners === null) return null;
  const [cert, key] = await Promise.all([readPem(owners.certificate), readPem(owners.key)]);
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    throw new BelayError("certificate-invalid", `${owners.certificate}: ${(cause as Error).message}`, {
      hint: "`tls.certificate` and `tls.key` must be PEM files that belong together.",
      cause,
    });
  }
  return { cert, key };
}

/** What the door shows to whom: its own certificate to agents, and to everybody else where its owner gave no other. */
export interface DoorPlate {
  readonly listen: ListenAddress;
  readonly owners: OwnersCertificate | null;
  readonly own: {
    current(): Promise<ShownIdentity>;
    onChange(hear: (shown: ShownIdentity) => void): void;
  };
}

/** Opens the door. Throws what listening throws. */
export async function openTlsDoor(server: Server, doors: Doors, { listen, owners, own }: DoorPlate): Promise<TlsDoor> {
  await server.ready();
  const contexts = new Contexts(owners, await own.current());
  const door = createServer(
    {
      ...contexts.byDefault,
      SNICallback: (name, done) => done(null, contexts.forName(name)),
      // People have no certificate; what a host's is worth is asked for each request (identity/peers.ts).
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      ...serverOptions(doors.limits),
    },
    (request, response) => server.routing(request, response),
  );
  // Connections that stand go on; the next handshake shows the new certificate.
  own.onChange((shown) => {
    contexts.own = shown;
    door.setSecureContext(contexts.byDefault);
  });
  // Node's own list of connections begins with the first request: those that only shook hands would hold `close` for ever.
  const sockets = new Set<Socket>();
  door.on("connection", (socket: Socket) => {
    doors.connections.accept(socket);
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  // Whoever serves upgrades on the first door serves them here.
  door.on("upgrade", (request, socket, head) => server.server.emit("upgrade", request, socket, head));
  await new Promise<void>((resolve, reject) => {
    door.once("error", reject);
    door.listen(listen, () => {
      door.off("error", reject);
      resolve();
    });
  });
  const { address, family, port } = door.address() as AddressInfo;
  return {
    address: `https://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    close: () =>
      new Promise((resolve) => {
        door.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** What is shown to whom, as TLS wants it. */
class Contexts {
  readonly #owners: OwnersCertificate | null;
  #own: SecureContextOptions;

  constructor(owners: OwnersCertificate | null, own: ShownIdentity) {
    this.#owners = owners;
    this.#own = optionsOf(own);
  }

  set own(shown: ShownIdentity) {
    this.#own = optionsOf(shown);
  }

  get byDefault(): SecureContextOptions {
    return this.#owners === null ? this.#own : { ...COMMON, ...this.#owners };
  }

  /** Undefined: the default. */
  forName(name: string) {
    return this.#owners !== null && name === AGENTS_SERVER_NAME ? createSecureContext(this.#own) : undefined;
  }
}

/** A resumed session would bring its certificate along, long after it was shown: there are none. */
const COMMON = { minVersion: "TLSv1.3", secureOptions: constants.SSL_OP_NO_TICKET } as const;

function optionsOf({ certificate, key, trusted }: ShownIdentity): SecureContextOptions {
  return { ...COMMON, cert: certificate, key, ca: [...trusted], allowPartialTrustChain: true };
}

async function readPem(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: unknown) => {
    throw new BelayError("certificate-unreadable", (cause as Error).message, {
      hint: "Correct `tls` in belayd.yaml, and let belayd's user read both files.",
      cause,
    });
  });
}
