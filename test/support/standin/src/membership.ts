import { connect, type Socket } from "node:net";
import type { Address } from "./config.js";
import type { Health } from "./health.js";
import { onLines, sendLine } from "./lines.js";
import type { Server } from "./servers.js";

const BEAT_EVERY_MS = 250;
/** First pause before the next auth is tried; doubles up to the longest, so a restart of auth meets no storm. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;
/** An auth that accepts and says nothing for so long is no auth. */
const SILENT_MS = 2_000;

export interface Joined {
  readonly version: string;
  readonly cluster: string;
}

/**
 * This process as a member of a cluster: one live connection to any of the auth servers, re-dialled for ever. What it
 * learns goes into `health` under `component`: refused is degraded, and so is a member that lost auth.
 */
export class Membership {
  readonly #me: Server;
  readonly #servers: readonly Address[];
  readonly #health: Health;
  readonly #component: string;
  /** A leaf's auth serves its own cluster well while the root is away: only a refusal degrades it. */
  readonly #lossDegrades: boolean;
  #socket: Socket | null = null;
  #timer: NodeJS.Timeout | null = null;
  #next = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #joined: Joined | null = null;
  #answered: () => void = () => {};
  /** Settles when the first auth has answered, whatever it said. */
  readonly answered: Promise<void> = new Promise((resolve) => {
    this.#answered = resolve;
  });

  constructor(me: Server, servers: readonly Address[], health: Health, component: string, lossDegrades: boolean) {
    this.#me = me;
    this.#servers = servers;
    this.#health = health;
    this.#component = component;
    this.#lossDegrades = lossDegrades;
    health.set(component, lossDegrades ? "starting" : "ok");
    this.#dial();
  }

  /** What the auth that let this process in said of itself; null: none ever did. */
  get joined(): Joined | null {
    return this.#joined;
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#socket?.removeAllListeners("close").destroy();
  }

  #dial(): void {
    const address = this.#servers[this.#next++ % this.#servers.length];
    if (address === undefined) return;
    const socket = connect(address.port, address.host);
    this.#socket = socket;
    let beats: NodeJS.Timeout | null = null;
    let welcome = false;
    socket.setNoDelay(true);
    socket.setTimeout(SILENT_MS, () => socket.destroy());
    // An error is always followed by "close", which is where the loss is handled.
    socket.on("error", () => undefined);
    socket.on("connect", () => sendLine(socket, { hello: this.#me }));
    onLines(socket, (message) => {
      if (typeof message.refused === "string") this.#refused(message.refused);
      else if (message.welcome !== undefined) {
        welcome = true;
        this.#welcomed(message.welcome as Joined);
        sendLine(socket, { beat: this.#me.version });
        beats = setInterval(() => sendLine(socket, { beat: this.#me.version }), BEAT_EVERY_MS);
      } else if (welcome) this.#health.set(this.#component, "ok");
    });
    socket.on("close", () => {
      if (beats !== null) clearInterval(beats);
      if (welcome) this.#lost(address);
      this.#timer = setTimeout(() => this.#dial(), this.#pauseMs * (0.5 + Math.random() / 2));
      this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    });
  }

  #welcomed(joined: Joined): void {
    const again = this.#joined !== null || this.#health.of(this.#component) === "degraded";
    if (this.#lossDegrades) this.#health.set(this.#component, again ? "recovering" : "starting");
    this.#joined = joined;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#answered();
  }

  #refused(why: string): void {
    this.#health.set(this.#component, "degraded", `refused: ${why}`);
    this.#answered();
  }

  #lost({ host, port }: Address): void {
    // A refusal said why before it hung up, and that reason must stay to be read.
    if (this.#health.of(this.#component) === "degraded" || !this.#lossDegrades) return;
    this.#health.set(this.#component, "degraded", `lost the connection to auth at ${host}:${port}`);
  }
}
