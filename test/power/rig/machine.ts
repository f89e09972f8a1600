import { mkdirSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import type { CallWatcher } from "./calls.js";
import { Disk, type FileSystem } from "./disk.js";
import { RigHost } from "./host.js";
import type { PowerSwitch } from "./power-switch.js";
import type { Release } from "./releases.js";

/** Where in the work of one host the power goes. */
interface Plan {
  host: RigHost;
  /** Only calls made while a step of this kind is open count; null: all of this host's. */
  kind: string | null;
  calls: number;
  when: "before" | "during" | "after" | "any time";
}

/** Kind of step, how often it is chosen, and about how many calls one takes. */
const TARGETS: readonly (readonly [kind: string | null, share: number, calls: number])[] = [
  ["swap", 0.55, 110],
  ["fetch", 0.12, 150],
  ["backup", 0.08, 60],
  ["prune", 0.08, 90],
  ["restore", 0.04, 30],
  [null, 0.13, 400],
];
/** A target that does not come is given up for whatever is under way then. */
const PATIENCE_CALLS = 4_000;
const HOSTS = 2;

/** Several hosts on the disks of one machine, whose power is cut again and again. */
export class Machine implements CallWatcher {
  readonly #disks: Disk[];
  readonly #power: PowerSwitch;
  readonly #world: { releases: readonly Release[]; random: () => number; complain: (what: string) => void };
  #hosts: RigHost[] = [];
  #plan: Plan | null = null;
  #counted = 0;
  #seen = 0;
  #cut: () => void = () => {};
  /** The call at which the power went. */
  lastCall = "";

  constructor(
    fs: FileSystem,
    disks: 1 | 2,
    dir: string,
    world: { power: PowerSwitch; releases: readonly Release[]; random: () => number; complain: (what: string) => void },
  ) {
    this.#power = world.power;
    this.#world = world;
    mkdirSync(dir);
    this.#disks = (disks === 1 ? ["disk"] : ["state", "data"]).map((name) => new Disk(name, fs, dir, world.power));
  }

  /** New disks with new hosts. */
  async begin(): Promise<void> {
    for (const disk of this.#disks) {
      disk.format();
      disk.mount();
    }
    const [state, data = state] = this.#disks.map((disk) => disk.dir) as [string, string?];
    this.#hosts = [];
    for (let n = 1; n <= HOSTS; n += 1) {
      const host = new RigHost(`h${n}`, { state, data }, this.#world);
      host.layOut();
      this.#hosts.push(host);
    }
    await this.#unmount();
  }

  /** Power on, look, work; power off. */
  async cycle(): Promise<void> {
    for (const disk of this.#disks) disk.mount();
    for (const host of this.#hosts) host.look();
    const cut = new Promise<void>((resolve) => {
      this.#cut = resolve;
    });
    this.#plan = this.#choose();
    await this.#boot();
    if (this.#plan?.when === "any time") setTimeout(() => this.cutNow(), this.#world.random() * 40);
    await cut;
    for (const host of this.#hosts) await host.end();
    await this.#unmount();
  }

  async #boot(): Promise<void> {
    for (const host of this.#hosts) {
      if (this.#plan === null) return;
      try {
        await host.boot();
      } catch (error) {
        // The power went while it was booting.
        if (this.#plan !== null) throw error;
      }
    }
  }

  /** Boots once more after the last cut, only to look. */
  async end(): Promise<void> {
    for (const disk of this.#disks) disk.mount();
    for (const host of this.#hosts) host.look();
    await this.#unmount();
  }

  before(call: string): (() => void) | undefined {
    const plan = this.#plan;
    if (plan === null || plan.when === "any time") return undefined;
    this.#seen += 1;
    const counts = call.includes(`/${plan.host.name}/`) && (plan.kind === null || plan.host.doing === plan.kind);
    if (counts) this.#counted += 1;
    const now = counts && this.#counted === plan.calls;
    if (!now && this.#seen < PATIENCE_CALLS) return undefined;
    this.lastCall = `${plan.when} ${call} of ${plan.host.doing}`;
    if (plan.when === "during") return () => this.cutNow();
    if (plan.when === "before") this.cutNow();
    return undefined;
  }

  after(call: string): void {
    if (this.#plan?.when === "after" && this.lastCall.startsWith(`after ${call} `)) this.cutNow();
  }

  /** Nothing of this process goes on until the power is off. */
  cutNow(): void {
    if (this.#plan === null) return;
    this.#plan = null;
    this.#power.cut(this.#disks.map((disk) => disk.dir));
    for (const host of this.#hosts) host.losePower();
    this.#cut();
  }

  #choose(): Plan {
    const { random } = this.#world;
    this.#counted = 0;
    this.#seen = 0;
    this.lastCall = "at any time";
    let share = random();
    const [kind, , calls] = TARGETS.find((target) => {
      share -= target[1];
      return share < 0;
    }) ?? [null, 0, 400];
    const whens = ["before", "during", "during", "after", "after", "any time"] as const;
    return {
      host: this.#hosts[Math.floor(random() * HOSTS)] as RigHost,
      kind,
      calls: 1 + Math.floor(random() * calls),
      when: whens[Math.floor(random() * whens.length)] ?? "after",
    };
  }

  async #unmount(): Promise<void> {
    for (const disk of this.#disks) {
      for (let tries = 0; ; tries += 1) {
        try {
          disk.unmount();
          break;
        } catch (error) {
          // A stream that was being read closes its file a moment after everybody has let go of it.
          if (tries === 200 || !String(error).includes("busy")) throw error;
          await wait(2);
        }
      }
    }
  }
}
