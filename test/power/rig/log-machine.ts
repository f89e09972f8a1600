import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { logInFolder } from "@belay/controller/audit/files";
import type { AuditLog } from "@belay/controller/audit/log";
import { verifyLog } from "@belay/controller/audit/verify";
import { isConsistent } from "@belay/shared";
import { entry, openLog } from "../../audit/scene.js";
import type { CallWatcher } from "./calls.js";
import { Disks, type FileSystem } from "./disk.js";
import { STUCK_MS } from "./patience.js";
import type { PowerSwitch } from "./power-switch.js";

interface Plan {
  readonly calls: number;
  readonly when: "before" | "during" | "after" | "any time";
}

/** About how many calls a life makes before its power goes: opening a log takes a dozen, a checkpoint about twenty. */
const CALLS = 120;
/** Often enough that a good part of all cuts hits one being made. */
const CHECKPOINT_EVERY_MS = 3;
/** How many of the entries promised in earlier lives are looked for after each cut; all of them at the end. */
const LOOKED_FOR = 40;

/** An audit log that is appended to without end, on a machine whose power is cut again and again. */
export class LogMachine implements CallWatcher {
  readonly #disks: Disks;
  /** Where it is mounted. */
  readonly #disk: string;
  readonly #random: () => number;
  readonly #complain: (what: string) => void;
  /** What was promised, by place: the number that the entry is told from others by. */
  readonly #entries = new Map<number, number>();
  readonly #checkpoints: { readonly size: number; readonly root: Buffer }[] = [];
  #number = 0;
  #plan: Plan | null = null;
  #seen = 0;
  #cut: () => void = () => {};
  /** The call at which the power went. */
  lastCall = "";

  constructor(
    fs: FileSystem,
    dir: string,
    world: { power: PowerSwitch; random: () => number; complain: (what: string) => void },
  ) {
    this.#random = world.random;
    this.#complain = world.complain;
    mkdirSync(dir);
    this.#disks = new Disks(["disk"], fs, dir, world.power);
    this.#disk = this.#disks.dirs[0] as string;
  }

  /** A new disk, with no log on it. */
  async begin(): Promise<void> {
    await this.#disks.format();
    this.#entries.clear();
    this.#checkpoints.splice(0);
  }

  /** Power on, look, work; power off. */
  async cycle(): Promise<void> {
    this.#disks.mount();
    await this.#lookFromOutside();
    const whens = ["before", "during", "during", "after", "after", "any time"] as const;
    const when = whens[Math.floor(this.#random() * whens.length)] ?? "after";
    const cut = new Promise<void>((resolve) => {
      this.#cut = resolve;
    });
    this.#seen = 0;
    this.lastCall = "at any time";
    this.#plan = { calls: 1 + Math.floor(this.#random() * CALLS), when };
    if (when === "any time") setTimeout(() => this.cutNow(), this.#random() * 60);
    const working = this.#live();
    const stuck = setTimeout(() => {
      this.#complain(`nothing goes on: ${this.#seen} calls, ${this.#entries.size} entries`);
      this.cutNow();
    }, STUCK_MS);
    await cut;
    await working;
    await this.#disks.unmount();
    clearTimeout(stuck);
  }

  /** Looks for all that was ever promised. */
  async end(): Promise<void> {
    this.#disks.mount();
    await this.#lookFromOutside();
    try {
      const log = await openLog(this.#disk);
      await this.#lookFromInside(log, [...this.#entries.keys()]);
      await log.close();
    } catch (error) {
      this.#complain(`the log can't be opened, or read: ${(error as Error).message}`);
    }
    await this.#disks.unmount();
  }

  before(call: string): (() => void) | undefined {
    const plan = this.#plan;
    if (plan === null || plan.when === "any time") return undefined;
    this.#seen += 1;
    // Later, too: there is no moment after a call that fails, as reading what isn't there does.
    if (this.#seen < plan.calls) return undefined;
    this.lastCall = `${plan.when} ${call}`;
    if (plan.when === "during") return () => this.cutNow();
    if (plan.when === "before") this.cutNow();
    return undefined;
  }

  after(call: string): void {
    if (this.#plan?.when === "after" && this.lastCall === `after ${call}`) this.cutNow();
  }

  /** Nothing of this process goes on until the power is off. */
  cutNow(): void {
    if (this.#plan === null) return;
    this.#plan = null;
    this.#disks.cut();
    this.#cut();
  }

  get #isOn(): boolean {
    return this.#plan !== null;
  }

  /** One life of a belayd: opens the log, looks, and appends until its power is gone. */
  async #live(): Promise<void> {
    let log: AuditLog;
    try {
      log = await openLog(this.#disk, { checkpointEveryMs: CHECKPOINT_EVERY_MS });
    } catch (error) {
      if (this.#isOn) {
        this.#complain(`the log can't be opened: ${(error as Error).message}`);
        this.cutNow();
      }
      return;
    }
    log.watch(({ checkpoint }) => {
      if (this.#isOn) this.#checkpoints.push({ size: checkpoint.size, root: checkpoint.root });
    });
    try {
      const places = [...this.#entries.keys()];
      await this.#lookFromInside(log, places.slice(-LOOKED_FOR));
      while (this.#isOn) await this.#appendSome(log);
    } catch (error) {
      if (this.#isOn) {
        this.#complain(`the log fails: ${(error as Error).message}`);
        this.cutNow();
      }
    }
    // Its disk is gone: nothing that it says now is a promise.
    await log.close().catch(() => {});
  }

  async #appendSome(log: AuditLog): Promise<void> {
    const group = Array.from({ length: 1 + Math.floor(this.#random() * 6) }, async () => {
      this.#number += 1;
      const number = this.#number;
      const place = await log.record(entry(number));
      if (this.#isOn) this.#entries.set(place, number);
    });
    await Promise.all(group);
  }

  /** As somebody finds it who has nothing but the folder, before any belayd has put anything right. */
  async #lookFromOutside(): Promise<void> {
    // Before its first checkpoint there is no log, whatever of it a cut has left.
    if (this.#checkpoints.length === 0) return;
    const verdict = await verifyLog(await logInFolder(join(this.#disk, "audit")), { key: null, witnesses: [] });
    if (verdict.findings.length > 0) this.#complain(`the verifier finds ${JSON.stringify(verdict.findings)}`);
  }

  async #lookFromInside(log: AuditLog, places: readonly number[]): Promise<void> {
    for (const place of places) {
      const found = await log.entry(place);
      const promised = entry(this.#entries.get(place) ?? 0).about.run;
      if (found?.about.run !== promised) this.#complain(`entry ${place} was ${promised} and is ${found?.about.run}`);
    }
    const last = this.#checkpoints.at(-1);
    if (last === undefined) return;
    if (last.size > log.size) {
      this.#complain(`a checkpoint had ${last.size} entries, and there are ${log.size}`);
      return;
    }
    const { newest, proof } = await log.proofFrom(last.size);
    if (!isConsistent(last, newest.checkpoint, proof))
      this.#complain(`the log contradicts what ${last.size} entries were`);
  }
}
