import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { connect } from "node:tls";

/** A way to a belayd that speaks TLS, for clients of this machine that speak plain HTTP: a port on loopback. */
export class Door {
  readonly address: string;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  private constructor(server: Server, sockets: Set<Socket>) {
    this.address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.#server = server;
    this.#sockets = sockets;
  }

  /** `ca`: text of the authority's certificate. */
  static async open(host: string, port: number, ca: string): Promise<Door> {
    const sockets = new Set<Socket>();
    const server = createServer((near) => {
      const far = connect({ host, port, ca });
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(one);
        // One end lost is the other's end, too; whoever waits for an answer is told by that.
        one.on("error", () => other.destroy());
        one.on("close", () => {
          sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Door(server, sockets);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
