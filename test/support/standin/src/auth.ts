import type { Server as NetServer, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { thisInstance } from "./alive.js";
import { type Backend, Unavailable } from "./backend.js";
import { whyRefused } from "./compat.js";
import type { Config } from "./config.js";
import type { Health } from "./health.js";
import { onLines, sendLine } from "./lines.js";
import type { Behaviour, Release } from "./release.js";
import type { Standing } from "./rules.js";
import type { Server } from "./servers.js";
import { openBackend } from "./storage.js";

const AUDIT_EVERY_MS = 50;
const BEAT_EVERY_MS = 250;
const WAIT_FOR_MIGRATOR_MS = 50;
const MIGRATION_STEPS = 10;
/** A client that was quiet for this long is gone: several of its heartbeats. */
const CLIENT_SILENT_MS = 3_000;
/** A backend that could not be had for this long is lost; shorter, and a backup held it for a moment. */
const BACKEND_LOST_MS = 2_000;
/** A migration takes this long; a service's environment may say otherwise. */
const MIGRATION_MS = Number(process.env.STANDIN_MIGRATION_MS ?? 500);

/** The process may not go on; `reason` is for the diary and for stderr. */
export class Refusal extends Error {}

/**
 * The auth service: owns the backend, lets clients in or refuses them, and turns degraded for good when its backend is
 * corrupted. `open`, then `prepare`, then `serve`, then `close`.
 */
export class Auth {
  readonly #backend: Backend;
  readonly #clients = new Map<Socket, Server | null>();
  readonly #config: NonNullable<Config["auth"]>;
  readonly #version: string;
  readonly #health: Health;
  readonly #timers: NodeJS.Timeout[] = [];
  /** Who was in the cluster at the last look. */
  #known: readonly Server[] = [];
  #migrating = false;
  #closed = false;
  #connections = 0;
  #lastBeatAt = Date.now();
  /** The backend is away, which may pass; whatever else degrades an auth is for good. */
  #away = false;
  /** Backend operations, one after the other: a goodbye never overtakes its hello. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(backend: Backend, auth: NonNullable<Config["auth"]>, version: string, health: Health) {
    this.#config = auth;
    this.#version = version;
    this.#health = health;
    this.#backend = backend;
    health.set("auth", "starting");
  }

  static async open(
    config: Config,
    auth: NonNullable<Config["auth"]>,
    release: Release,
    health: Health,
  ): Promise<Auth> {
    const backend = await openBackend(auth.storage, thisInstance(config.nodename, release.version), release);
    return new Auth(backend, auth, release.version, health);
  }

  get migrating(): boolean {
    return this.#migrating;
  }

  get clusterName(): string {
    return this.#config.clusterName;
  }

  /** Comes in, and migrates where that is due. Throws Refusal when this version may not run on this backend. */
  async prepare(behaviour: Behaviour): Promise<void> {
    try {
      let admission = await this.#inTurn(() => this.#backend.admit());
      this.#every(BEAT_EVERY_MS, () => this.#beat());
      while (admission.kind === "wait") {
        await sleep(WAIT_FOR_MIGRATOR_MS);
        admission = await this.#inTurn(() => this.#backend.admit());
      }
      if (admission.kind === "refused") throw new Refusal(admission.why);
      if (admission.kind === "migrate") await this.#migrate(admission.from, behaviour);
      this.#health.set("auth", "ok");
      await this.#inTurn(() => this.#beat());
    } catch (error) {
      if (error instanceof Unavailable) throw new Refusal(`backend unavailable: ${error.message}`);
      throw error;
    }
    this.#every(AUDIT_EVERY_MS, () => this.#audit());
  }

  /** Takes clients from a listening server, which stays its owner's to close. */
  serve(listener: NetServer): void {
    listener.on("connection", (socket) => this.#welcome(socket));
  }

  /** Versions of all that is connected to the cluster, with how many there are of each. */
  registered(): Map<string, number> {
    const counts = new Map<string, number>();
    if (this.#closed) return counts;
    for (const { version } of this.#known) counts.set(version, (counts.get(version) ?? 0) + 1);
    return counts;
  }

  /** Stops writing, lets clients go (they find another auth, or the successor), and closes the backend. */
  async close(): Promise<void> {
    const left = this.#inTurn(() => this.#unlessUnavailable(() => this.#backend.leave()));
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const socket of this.#clients.keys()) socket.destroy();
    this.#clients.clear();
    await left;
    await this.#backend.close();
  }

  async #migrate(from: string, behaviour: Behaviour): Promise<void> {
    this.#migrating = true;
    this.#health.set("auth", "starting", `migrating the backend from ${from} to ${this.#version}`);
    const share = Math.ceil((await this.#inTurn(() => this.#backend.unmigrated())) / MIGRATION_STEPS);
    for (let step = 0; ; step++) {
      await sleep(MIGRATION_MS / MIGRATION_STEPS);
      if (behaviour.kind === "migration-fails" && step >= MIGRATION_STEPS / 2) {
        throw new Refusal(`migration from ${from} to ${this.#version} failed: resource of unknown format`);
      }
      if ((await this.#inTurn(() => this.#backend.migrateSome(share))) === 0) break;
    }
    this.#migrating = false;
  }

  async #beat(): Promise<void> {
    let standing: Standing;
    try {
      standing = await this.#backend.beat();
      await this.#look();
    } catch (error) {
      return this.#missedBeat(error);
    }
    this.#lastBeatAt = Date.now();
    if (standing.replaced) return this.#degrade("the backend was replaced under the running auth");
    if (standing.corrupted !== null) return this.#degrade(`backend corrupted: ${standing.corrupted}`);
    if (this.#away) this.#health.set("auth", "ok");
    this.#away = false;
    this.#judge();
  }

  /** A backup may hold the backend for a moment: that beat is left out, and the next one comes. */
  #missedBeat(error: unknown): void {
    if (!(error instanceof Unavailable)) throw error;
    if (Date.now() - this.#lastBeatAt < BACKEND_LOST_MS || this.#health.of("auth") !== "ok") return;
    this.#away = true;
    this.#degrade(`backend unavailable: ${error.message}`);
  }

  /** Looks again at everybody who is in: a proxy may have gone back below the nodes it serves. */
  #judge(): void {
    const proxies = this.#known.filter(isProxy);
    for (const [socket, client] of this.#clients) {
      const why = client === null ? null : whyRefused(client, this.#version, proxies);
      if (why !== null) this.#refuse(socket, why);
    }
  }

  async #audit(): Promise<void> {
    if (this.#health.of("auth") !== "ok") return;
    await this.#unlessUnavailable(() => this.#backend.audit());
  }

  async #look(): Promise<void> {
    this.#known = await this.#backend.servers();
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
      if (client) void this.#inTurn(() => this.#goodbye(client, owner));
    });
    onLines(socket, (message) => {
      if (message.ask === "inventory") return sendLine(socket, this.#inventory());
      if (message.hello === undefined) return sendLine(socket, { beat: this.#version });
      return void this.#inTurn(() => this.#hello(socket, message.hello as Server, owner));
    });
  }

  async #hello(socket: Socket, client: Server, owner: string): Promise<void> {
    const refused = this.#health.whyNot("auth");
    if (refused !== null) return this.#refuse(socket, refused);
    const welcome = await this.#unlessUnavailable(async () => {
      await this.#look();
      const why = whyRefused(client, this.#version, this.#known.filter(isProxy));
      if (why !== null) return this.#refuse(socket, why);
      // It may have hung up meanwhile, and its goodbye must find it then.
      if (socket.destroyed || this.#closed) return;
      this.#clients.set(socket, client);
      await this.#backend.addServer(client, owner);
      await this.#look();
      sendLine(socket, { welcome: { version: this.#version, cluster: this.clusterName } });
    });
    if (!welcome) socket.destroy();
  }

  async #goodbye(client: Server, owner: string): Promise<void> {
    await this.#unlessUnavailable(async () => {
      await this.#backend.removeServer(client, owner);
      await this.#look();
    });
  }

  #refuse(socket: Socket, why: string): void {
    sendLine(socket, { refused: why });
    socket.end();
  }

  #inventory(): object {
    return { cluster: this.clusterName, version: this.#version, servers: this.#known };
  }

  /** Once every so often, but never a second time before the first has ended. */
  #every(ms: number, work: () => Promise<void>): void {
    let pending = false;
    const once = async () => {
      pending = true;
      await this.#inTurn(work);
      pending = false;
    };
    this.#timers.push(setInterval(() => (pending ? undefined : void once()), ms));
  }

  /** An auth that is closed asks its backend for nothing more: whoever waits for an answer ends with the process. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) return new Promise(() => undefined);
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** True when it was done. */
  async #unlessUnavailable(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (error instanceof Unavailable) return false;
      throw error;
    }
  }
}

function isProxy(server: Server): boolean {
  return server.roles.includes("proxy");
}
