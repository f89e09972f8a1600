import { createServer, type Server } from "node:net";

/**
 * Ports below Linux's ephemeral range (32768 and up): an outgoing connection could otherwise take a stopped service's
 * port as its own source.
 */
const FIRST_PORT = 10_240;
const BLOCK = 64;
const BLOCKS = 350;

/**
 * Loopback ports that nobody else will choose while this process lives. They come in blocks; the first port of a block
 * is a guard, listened on by the process that claimed it, so that fleets laid out by other processes at the same time
 * go elsewhere even while a service is down. The kernel lets go of a guard whose process dies.
 */
export class PortClaim {
  readonly #guards: Server[] = [];
  #free: number[] = [];

  /** One more port, free at this moment. */
  async next(): Promise<number> {
    for (;;) {
      const port = this.#free.pop();
      if (port === undefined) await this.#claimBlock();
      else if (await isFree(port)) return port;
    }
  }

  /** Gives the guards up. Idempotent. */
  release(): void {
    for (const guard of this.#guards.splice(0)) guard.close();
  }

  async #claimBlock(): Promise<void> {
    const start = Math.floor(Math.random() * BLOCKS);
    for (let i = 0; i < BLOCKS; i++) {
      const first = FIRST_PORT + ((start + i) % BLOCKS) * BLOCK;
      const guard = await listen(first);
      if (guard === null) continue;
      guard.unref();
      this.#guards.push(guard);
      this.#free = Array.from({ length: BLOCK - 1 }, (_, offset) => first + BLOCK - 1 - offset);
      return;
    }
    throw new Error(`all ${BLOCKS} blocks of loopback ports are claimed`);
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = await listen(port);
  if (server === null) return false;
  await new Promise((resolve) => server.close(resolve));
  return true;
}

function listen(port: number): Promise<Server | null> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(null));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
