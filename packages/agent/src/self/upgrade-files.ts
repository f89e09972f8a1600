import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { BelayError } from "@belay/shared";
import { orMissing, present, syncDir, writeDurably } from "../durable.js";

/** An upgrade of the agent itself that has yet to prove itself. */
export interface PendingUpgrade {
  step: string;
  from: string;
  to: string;
  link: string;
  versionsDir: string;
  /** How long the new version has to hold, from when somebody began to watch. */
  returnMs: number;
}

/**
 * What the old agent, the new one and whoever watches them tell each other through the disk, because no two of them may
 * ever run at the same time. Every file is replaced, renamed or removed as one step:
 *
 *     upgrade-pending.json    the link is about to lead to a version that has yet to prove itself
 *     upgrade-watched.json    somebody watches it, and will go back in time
 *     upgrade-returning.json  its time was over: the old version takes over again (renamed from pending)
 *     upgrade-returned.json   it has (renamed from returning)
 *
 * Either the new version removes `pending` or the watcher renames it. Only one of them can, and that decides.
 */
export class UpgradeFiles {
  readonly #dir: string;

  constructor(stateDir: string) {
    this.#dir = stateDir;
  }

  get #pending(): string {
    return join(this.#dir, "upgrade-pending.json");
  }

  get #watched(): string {
    return join(this.#dir, "upgrade-watched.json");
  }

  get #returning(): string {
    return join(this.#dir, "upgrade-returning.json");
  }

  get #returned(): string {
    return join(this.#dir, "upgrade-returned.json");
  }

  /** Idempotent. What an earlier upgrade left behind says nothing of this one. */
  async announce(upgrade: PendingUpgrade): Promise<void> {
    for (const old of [this.#watched, this.#returning, this.#returned]) await rm(old, { force: true });
    await writeDurably(this.#pending, `${JSON.stringify(upgrade)}\n`, 0o600);
  }

  pending(): Promise<PendingUpgrade | null> {
    return this.#read(this.#pending);
  }

  /** The old version is to take over again, and may not have yet. */
  returning(): Promise<PendingUpgrade | null> {
    return this.#read(this.#returning);
  }

  /** An upgrade that was taken back, whether all that follows from it is done or not. */
  async takenBack(): Promise<PendingUpgrade | null> {
    return (await this.returning()) ?? this.#read(this.#returned);
  }

  /** The new version has proved itself, or nothing was touched. False: there was nothing any more, so it has not. */
  async settle(): Promise<boolean> {
    if (!(await present(this.#pending))) return false;
    const removed = await orMissing(rm(this.#pending).then(() => true));
    if (removed === true) await rm(this.#watched, { force: true });
    await syncDir(this.#dir);
    return removed === true;
  }

  /** Takes the upgrade back: from now on it can't prove itself any more. False: it has. */
  async takeBack(): Promise<boolean> {
    const renamed = await orMissing(rename(this.#pending, this.#returning).then(() => true));
    await syncDir(this.#dir);
    return renamed === true;
  }

  /** The old version was started again. Idempotent. */
  async noteReturn(): Promise<void> {
    await orMissing(rename(this.#returning, this.#returned));
    await syncDir(this.#dir);
  }

  /** The old version knows that it is back. Idempotent. */
  async forgetReturn(): Promise<void> {
    for (const file of [this.#watched, this.#returning, this.#returned]) await rm(file, { force: true });
    await syncDir(this.#dir);
  }

  async watch(step: string): Promise<void> {
    await writeDurably(this.#watched, `${JSON.stringify({ step })}\n`, 0o600);
  }

  async isWatched(step: string): Promise<boolean> {
    return (await this.#read<{ step: string }>(this.#watched))?.step === step;
  }

  async #read<T>(file: string): Promise<T | null> {
    const text = await orMissing(readFile(file, "utf8"));
    if (text === null) return null;
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new BelayError("upgrade-state-corrupt", `${file} is not what an agent wrote`, {
        hint: "look at what `current` leads to, and remove this file",
        context: { file },
        cause,
      });
    }
  }
}
