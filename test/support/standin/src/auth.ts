import type { Server as NetServer, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Backend } from "./backend.js";
import { whyRefused } from "./compat.js";
import type { Config } from "./config.js";
import type { Health } from "./health.js";
import { onLines, sendLine } from "./lines.js";
import { Registry, type Server } from "./registry.js";
import type { Behaviour, Release } from "./release.js";

const AUDIT_EVERY_MS = 50;
const BEAT_EVERY_MS = 250;
const WAIT_FOR_MIGRATOR_MS = 50;
const MIGRATION_STEPS = 10;
/** A client that was quiet for this long is gone: several of its heartbeats. */
const CLIENT_SILENT_MS = 3_000;
/** A migration takes this long; a service's environment may say otherwise. */
const MIGRATION_MS = Number(process.env.STANDIN_MIGRATION_MS ?? 500);

/** The process may not go on; `reason` is for the diary and for stderr. */
export class Refusal extends Error {}

/**
 * The auth service: owns the backend, lets clients in or refuses them, and turns degraded for good when its backend is
 * corrupted. `prepare`, then `serve`, then `close`.
 */
export class Auth {
  readonly #backend: Backend;
  readonly #registry: Registry;
  readonly #clients = new Map<Socket, Server | null>();
  readonly #config: NonNullable<Config["auth"]>;
  readonly #version: string;
  readonly #health: Health;
  readonly #timers: NodeJS.Timeout[] = [];
  #migrating = false;
  #closed = false;
  #connections = 0;

  constructor(config: Config, auth: NonNullable<Config["auth"]>, release: Release, health: Health) {
    this.#config = auth;
    this.#version = release.version;
    this.#health = health;
    health.set("auth", "starting");
    this.#backend = new Backend(auth.storage, config.nodename, release.version, release);
    this.#registry = new Registry(this.#backend);
  }

  get migrating(): boolean {
    return this.#migrating;
  }

  get clusterName(): string {
    return this.#config.clusterName;
  }

  /** Comes in, and migrates where that is due. Throws Refusal when this version may not run on this backend. */
  async prepare(behaviour: Behaviour): Promise<void> {
    let admission = this.#backend.admit();
    this.#timers.push(setInterval(() => this.#beat(), BEAT_EVERY_MS));
    while (admission.kind === "wait") {
      await sleep(WAIT_FOR_MIGRATOR_MS);
      admission = this.#backend.admit();
    }
    if (admission.kind === "refused") throw new Refusal(admission.why);
    if (admission.kind === "migrate") await this.#migrate(admission.from, behaviour);
    this.#health.set("auth", "ok");
    this.#beat();
    this.#timers.push(setInterval(() => this.#audit(), AUDIT_EVERY_MS));
  }

  /** Takes clients from a listening server, which stays its owner's to close. */
  serve(listener: NetServer): void {
    listener.on("connection", (socket) => this.#welcome(socket));
  }

  /** Versions of all that is connected to the cluster, with how many there are of each. */
  registered(): Map<string, number> {
    const counts = new Map<string, number>();
    if (this.#closed) return counts;
    for (const { version } of this.#registry.list()) counts.set(version, (counts.get(version) ?? 0) + 1);
    return counts;
  }

  /** Stops writing, lets clients go (they find another auth, or the successor), and closes the backend. */
  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const socket of this.#clients.keys()) socket.destroy();
    this.#clients.clear();
    this.#whenNotBusy(() => this.#backend.leave());
    this.#backend.close();
  }

  async #migrate(from: string, behaviour: Behaviour): Promise<void> {
    this.#migrating = true;
    this.#health.set("auth", "starting", `migrating the backend from ${from} to ${this.#version}`);
    const share = Math.ceil(this.#backend.unmigrated() / MIGRATION_STEPS);
    for (let step = 0; ; step++) {
      await sleep(MIGRATION_MS / MIGRATION_STEPS);
      if (behaviour.kind === "migration-fails" && step >= MIGRATION_STEPS / 2) {
        throw new Refusal(`migration from ${from} to ${this.#version} failed: resource of unknown format`);
      }
      if (this.#backend.migrateSome(share) === 0) break;
    }
    this.#migrating = false;
  }

  #beat(): void {
    this.#whenNotBusy(() => {
      if (this.#backend.replaced()) return this.#degrade("the backend was replaced under the running auth");
      this.#backend.beat();
      const corrupted = this.#backend.corrupted();
      if (corrupted !== null) return this.#degrade(`backend corrupted: ${corrupted}`);
      this.#registry.vouch();
      this.#judge();
    });
  }

  /** Looks again at everybody who is in: a proxy may have gone back below the nodes it serves. */
  #judge(): void {
    const proxies = this.#registry.proxies();
    for (const [socket, client] of this.#clients) {
      const why = client === null ? null : whyRefused(client, this.#version, proxies);
      if (why !== null) this.#refuse(socket, why);
    }
  }

  #audit(): void {
    if (this.#health.of("auth") !== "ok") return;
    this.#whenNotBusy(() => this.#backend.audit());
  }

  #degrade(why: string): void {
    this.#health.set("auth", "degraded", why);
    for (const socket of this.#clients.keys()) this.#refuse(socket, why);
  }

  #welcome(socket: Socket): void {
    const owner = String(++this.#connections);
    this.#clients.set(socket, null);
    socket.setTimeout(CLIENT_SILENT_MS, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      const client = this.#clients.get(socket);
      this.#clients.delete(socket);
      if (client) this.#whenNotBusy(() => this.#registry.remove(client, owner));
    });
    onLines(socket, (message) => {
      if (message.ask === "inventory") return sendLine(socket, this.#inventory());
      if (message.hello === undefined) return sendLine(socket, { beat: this.#version });
      const client = message.hello as Server;
      const why = this.#health.whyNot("auth") ?? whyRefused(client, this.#version, this.#registry.proxies());
      if (why !== null) return this.#refuse(socket, why);
      this.#clients.set(socket, client);
      this.#whenNotBusy(() => this.#registry.add(client, owner));
      return sendLine(socket, { welcome: { version: this.#version, cluster: this.clusterName } });
    });
  }

  #refuse(socket: Socket, why: string): void {
    sendLine(socket, { refused: why });
    socket.end();
  }

  #inventory(): object {
    return { cluster: this.clusterName, version: this.#version, servers: this.#registry.list() };
  }

  /** A backup may hold the file for a moment: that beat is left out, and the next one comes. */
  #whenNotBusy(write: () => void): void {
    try {
      write();
    } catch (error) {
      if ((error as { code?: string }).code !== "SQLITE_BUSY") throw error;
    }
  }
}
