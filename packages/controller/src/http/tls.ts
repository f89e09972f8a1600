import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { createSecureContext } from "node:tls";
import { BelayError } from "@belay/shared";
import type { ListenAddress, TlsConfig } from "../config.js";
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

/** What the door shows and where it is. */
export interface DoorPlate {
  readonly listen: ListenAddress;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/**
 * Reads certificate and key, once: a renewed pair is taken up at the next start of belayd, which loses nothing (I14).
 * Throws `certificate-unreadable` or `certificate-invalid`.
 */
export async function readDoorPlate({ listen, certificate, key: keyFile }: TlsConfig): Promise<DoorPlate> {
  const [cert, key] = await Promise.all([readPem(certificate), readPem(keyFile)]);
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    throw new BelayError("certificate-invalid", `${certificate}: ${(cause as Error).message}`, {
      hint: "`tls.certificate` and `tls.key` must be PEM files that belong together.",
      cause,
    });
  }
  return { listen, cert, key };
}

/** Opens the door. Throws what listening throws. */
export async function openTlsDoor(server: Server, { listen, cert, key }: DoorPlate): Promise<TlsDoor> {
  await server.ready();
  const door = createServer(
    { cert, key, minVersion: "TLSv1.3", handshakeTimeout: HANDSHAKE_TIMEOUT_MS, requestTimeout: 0 },
    (request, response) => server.routing(request, response),
  );
  // Node's own list of connections begins with the first request: those that only shook hands would hold `close` for ever.
  const sockets = new Set<Socket>();
  door.on("connection", (socket: Socket) => {
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

async function readPem(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: unknown) => {
    throw new BelayError("certificate-unreadable", (cause as Error).message, {
      hint: "Correct `tls` in belayd.yaml, and let belayd's user read both files.",
      cause,
    });
  });
}
