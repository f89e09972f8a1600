import type { Logger } from "pino";
import type { AgentStore } from "../store/agents.js";
import type { Presence } from "./presence.js";

/** What hosts last said is for planning and screens; losing a few seconds of it in a crash costs nothing. */
const SAVE_EVERY_MS = 5_000;

/** Keeps on disk what hosts last said of themselves, for the life after this one. */
export class Sightings {
  readonly #presence: Presence;
  readonly #store: Pick<AgentStore, "all" | "saveSightings">;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | null = null;

  constructor(presence: Presence, store: Pick<AgentStore, "all" | "saveSightings">, log: Logger) {
    this.#presence = presence;
    this.#store = store;
    this.#log = log;
  }

  /** Fills in what was known when belayd ran last. */
  async recall(): Promise<void> {
    for (const row of await this.#store.all()) this.#presence.remember(row.host, row);
  }

  /** Saves every few seconds from now on. */
  start(): void {
    this.#timer = setInterval(() => void this.save(), SAVE_EVERY_MS);
  }

  /** Idempotent. Saves nothing more by itself: `save` is for that, once nothing is heard of hosts any longer. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Saves what is new. What can't be saved is logged, and saved with the next. */
  async save(): Promise<void> {
    const sights = this.#presence.takeUnsaved();
    if (sights.length === 0) return;
    try {
      await this.#store.saveSightings(sights.map((sight) => ({ ...sight, lastSeenAt: sight.lastSeenAt ?? 0 })));
    } catch (error) {
      this.#presence.keep(sights);
      this.#log.error({ err: error }, "cannot save what hosts last said; trying again");
    }
  }
}
