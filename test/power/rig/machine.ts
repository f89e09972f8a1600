import { mkdirSync } from "node:fs";
import type { CallWatcher } from "./calls.js";
import { Disks, type FileSystem } from "./disk.js";
import { type HostWorld, RigHost } from "./host.js";
import { STUCK_MS } from "./patience.js";

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
  ["swap", 0.45, 110],
  ["adoption", 0.15, 200],
  ["unmanage", 0.07, 40],
  ["fetch", 0.1, 150],
  ["backup", 0.06, 60],
  ["prune", 0.06, 90],
  ["restore", 0.03, 30],
  [null, 0.08, 400],
];
const BY_NAME_ONLY = ["adoption", "unmanage"];
/** A target that does not come is given up for whatever is under way then. */
const PATIENCE_CALLS = 4_000;
/** The last of them was installed without Belay. */
const HOSTS = 2;

function isAt({ host: { doing }, kind }: Plan): boolean {
  return kind === null || doing === kind || (kind === "swap" && doing === "adoption");
}

/** Several hosts on the disks of one machine, whose power is cut again and again. */
export class Machine implements CallWatcher {
  readonly #disks: Disks;
  readonly #world: Omit<HostWorld, "calls">;
  #hosts: RigHost[] = [];
  #plan: Plan | null = null;
  #counted = 0;
  #seen = 0;
  #called = "none";
  #cut: () => void = () => {};
  /** The call at which the power went. */
  lastCall = "";
  /** Cuts that met a host as Belay was about to adopt it, or to be taken out of it. */
  adoptions = 0;

  constructor(fs: FileSystem, disks: 1 | 2, dir: string, world: Omit<HostWorld, "calls">) {
    this.#world = world;
    mkdirSync(dir);
    this.#disks = new Disks(disks === 1 ? ["disk"] : ["state", "data"], fs, dir, world.power);
  }

  /** New disks with new hosts. */
  async begin(): Promise<void> {
    await this.#disks.format();
    this.#disks.mount();
    const [state, data = state] = this.#disks.dirs as [string, string?];
    this.#hosts = [];
    for (let n = 1; n <= HOSTS; n += 1) {
      const world = { ...this.#world, calls: this };
      const host = new RigHost(`h${n}`, { state, data }, world, { byName: n === HOSTS });
      host.layOut();
      this.#hosts.push(host);
    }
    await this.#disks.unmount();
  }

  /** Power on, look, work; power off. */
  async cycle(): Promise<void> {
    this.#disks.mount();
    for (const host of this.#hosts) host.look();
    const cut = new Promise<void>((resolve) => {
      this.#cut = resolve;
    });
    this.#plan = this.#choose();
    const stuck = setTimeout(() => {
      const doing = this.#hosts.map((host) => `${host.name} at ${host.doing ?? "nothing"}`).join(", ");
      this.#world.complain(`nothing goes on: ${doing}; last call: ${this.#called}`);
      this.cutNow();
    }, STUCK_MS);
    await this.#boot();
    if (this.#plan?.when === "any time") setTimeout(() => this.cutNow(), this.#world.random() * 40);
    await cut;
    for (const host of this.#hosts) await host.end();
    await this.#disks.unmount();
    clearTimeout(stuck);
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
    this.#disks.mount();
    for (const host of this.#hosts) host.look();
    await this.#disks.unmount();
  }

  before(call: string): (() => void) | undefined {
    this.#called = call;
    const plan = this.#plan;
    if (plan === null || plan.when === "any time") return undefined;
    this.#seen += 1;
    const counts = call.includes(`/${plan.host.name}/`) && isAt(plan);
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
    this.#disks.cut();
    if (this.#hosts.some(({ doing }) => BY_NAME_ONLY.includes(doing ?? ""))) this.adoptions += 1;
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
    const hosts = this.#hosts.filter((host) => host.isByName || !BY_NAME_ONLY.includes(kind ?? ""));
    const whens = ["before", "during", "during", "after", "after", "any time"] as const;
    return {
      host: hosts[Math.floor(random() * hosts.length)] as RigHost,
      kind,
      calls: 1 + Math.floor(random() * calls),
      when: whens[Math.floor(random() * whens.length)] ?? "after",
    };
  }
}
