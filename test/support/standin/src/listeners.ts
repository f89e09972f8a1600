import type { ChildProcess } from "node:child_process";
import { createServer, type Server, type Socket } from "node:net";
import type { Address } from "./config.js";

/** Ports of one process: where it shows its state, where auth takes clients, where the proxy answers the web. */
export type Port = "diag" | "auth" | "web";

/** How long a connection may take to end by itself while its process leaves. */
const DRAIN_MS = 300;

/**
 * The listening sockets of a process. A fork inherits its parent's very sockets, so from the first request to the last
 * somebody accepts: parent and child both do for the moment between `take` and the parent's `release`.
 */
export class Listeners {
  readonly #open = new Map<Port, Server>();
  readonly #sockets = new Set<Socket>();

  /** The port's listener: inherited where this process is a fork, bound afresh otherwise. Throws EADDRINUSE. */
  async take(port: Port, address: Address): Promise<Server> {
    const server = (await inherit(port)) ?? (await bind(address));
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#open.set(port, server);
    return server;
  }

  /** Answers what a fork asks of its parent. */
  bequeathTo(child: ChildProcess): void {
    child.on("message", (message: { want?: Port }) => {
      if (message.want === undefined) return;
      const server = this.#open.get(message.want);
      if (server === undefined) child.send({ none: message.want });
      else child.send({ have: message.want }, server);
    });
  }

  /** Accepts nothing more; ends when open connections have, or `DRAIN_MS` later. */
  async release(): Promise<void> {
    for (const server of this.#open.values()) server.close();
    const patience = AbortSignal.timeout(DRAIN_MS);
    await Promise.race([
      Promise.all([...this.#sockets].map((socket) => new Promise((resolve) => socket.once("close", resolve)))),
      new Promise((resolve) => patience.addEventListener("abort", resolve)),
    ]);
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** True in a process that was forked by a running one. */
export const isFork = process.env.STANDIN_FORK === "1" && process.send !== undefined;
delete process.env.STANDIN_FORK;

function inherit(port: Port): Promise<Server | null> {
  if (!isFork || !process.connected) return Promise.resolve(null);
  return new Promise((resolve) => {
    const take = (message: { have?: Port; none?: Port }, server?: Server) => {
      if (message.have !== port && message.none !== port) return;
      process.off("message", take as NodeJS.MessageListener);
      process.off("disconnect", orphaned);
      resolve(server ?? null);
    };
    // The parent died in the middle: its port is free then, and is bound afresh.
    const orphaned = () => take({ none: port });
    process.on("message", take as NodeJS.MessageListener);
    process.once("disconnect", orphaned);
    process.send?.({ want: port });
  });
}

function bind(address: Address): Promise<Server> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.host, () => resolve(server));
  });
}
