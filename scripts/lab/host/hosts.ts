import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { baseImage } from "./base-image.js";
import { claim, keep, type Standing, standingOf } from "./claim.js";
import { run } from "./command.js";
import { childOf, Machine, type MachineOptions, nspawns } from "./machine.js";
import { makeMemoryGroup, removeMemoryGroups } from "./memory.js";
import { makeNetwork, type Network, removeNetwork } from "./network.js";

const LABS = "/var/lib/belay-lab";
/** Hosts that boot at the same moment, at most: two cores don't boot more any faster. */
const BOOT_TOGETHER = 6;
/** Last part of the first host's address. */
const FIRST = 11;
/** What was made, for processes that come later. */
const RECORD = "hosts.json";
const GONE_PATIENCE_MS = 15_000;

/** Why no hosts can be booted on this machine; null: they can. */
export function whyNoHosts(): string | null {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "booting hosts needs root on Linux";
  for (const [program, pkg] of [
    ["systemd-nspawn", "systemd-container"],
    ["debootstrap", "debootstrap"],
    ["nft", "nftables"],
  ] as const) {
    if (!["/usr/bin", "/usr/sbin"].some((dir) => existsSync(join(dir, program)))) return `no ${program} here (${pkg})`;
  }
  // A container that may not mount can't boot others.
  const tried = spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"]);
  return tried.status === 0 ? null : "this machine lets nobody mount";
}

/** A handful of booted hosts on a network of their own: what tests and the lab share. Everything of it carries its name. */
export class Hosts {
  readonly name: string;
  readonly dir: string;
  readonly network: Network;
  readonly machines = new Map<string, Machine>();
  readonly #base: string;

  private constructor(name: string, network: Network, base: string) {
    this.name = name;
    this.dir = dirOf(name);
    this.network = network;
    this.#base = base;
  }

  /** Makes the network. What an earlier life of this name left behind is cleared first. */
  static async open(name: string, say: (line: string) => void): Promise<Hosts> {
    const base = await baseImage(say);
    const standing = await Hosts.standing(name);
    if (standing === "at work") throw new Error(`another process works with the hosts called ${name}`);
    if (standing === "left behind") say(`clearing what an earlier ${name} left behind`);
    await clear(name);
    await mkdir(dirOf(name), { recursive: true });
    await claim(dirOf(name));
    return new Hosts(name, await makeNetwork(name), base);
  }

  /** What there is of this name. */
  static standing(name: string): Promise<Standing> {
    return standingOf(dirOf(name));
  }

  /** What there is of this name outlives this process, and is not cleared by the next: somebody wants a look. */
  static async keep(name: string): Promise<void> {
    if ((await Hosts.standing(name)) !== "none") await keep(dirOf(name));
  }

  /** The hosts of this name that another process made and left running; null: there are none. */
  static async find(name: string): Promise<Hosts | null> {
    const text = await readFile(join(dirOf(name), RECORD), "utf8").catch(() => null);
    if (text === null) return null;
    const { network, names } = JSON.parse(text) as { network: Network; names: string[] };
    const hosts = new Hosts(name, network, "");
    for (const [index, each] of names.entries()) {
      const dir = join(hosts.dir, each);
      const machine = new Machine({
        name: each,
        id: `${name}-${each}`,
        dir,
        base: "",
        network,
        number: FIRST + index,
        memory: null,
      });
      if (await machine.adopt()) hosts.machines.set(each, machine);
    }
    return hosts;
  }

  /** Lays hosts out and boots them, some at a time. */
  async boot(wanted: readonly (Pick<MachineOptions, "name"> & Partial<MachineOptions>)[]): Promise<Machine[]> {
    const made: Machine[] = [];
    for (const one of wanted) {
      const number = this.machines.size + FIRST;
      const memory = await makeMemoryGroup(this.name, one.name);
      const place = { base: this.#base, network: this.network, number, memory, dir: join(this.dir, one.name) };
      const machine = new Machine({ ...place, id: `${this.name}-${one.name}`, ...one });
      await machine.make();
      this.machines.set(one.name, machine);
      made.push(machine);
    }
    const names = [...this.machines.values()].map(({ name, address }) => `${address} ${name}\n`).join("");
    for (const machine of this.machines.values()) {
      await machine.writeFile("/etc/hosts", `127.0.0.1 localhost\n${this.network.prefix}.1 outside\n${names}`);
    }
    await writeFile(
      join(this.dir, RECORD),
      JSON.stringify({ network: this.network, names: [...this.machines.keys()] }),
    );
    await bootSome([...made]);
    return made;
  }

  machine(name: string): Machine {
    const machine = this.machines.get(name);
    if (machine === undefined) throw new Error(`there is no host ${name}`);
    return machine;
  }

  /** Everything of it is gone: hosts, mounts, network, folders. Idempotent. */
  async close(): Promise<void> {
    for (const machine of this.machines.values()) await machine.powerOff();
    await clear(this.name);
  }
}

/** Boots so many at a time. When one fails no other is begun, and none is under way any more when this throws. */
async function bootSome(waiting: Machine[]): Promise<void> {
  const booting = Array.from({ length: BOOT_TOGETHER }, async () => {
    try {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await next.boot();
    } finally {
      waiting.length = 0;
    }
  });
  await Promise.allSettled(booting);
  await Promise.all(booting);
}

function dirOf(name: string): string {
  return join(LABS, name);
}

/** Clears all that was made by processes which have gone since, and not kept up on purpose; gives the names. Idempotent. */
export async function clearLeftBehind(): Promise<string[]> {
  const cleared: string[] = [];
  for (const name of await readdir(LABS).catch(() => [])) {
    // Asked for each when its turn has come: meanwhile the next process may work under the same name.
    if ((await Hosts.standing(name)) !== "left behind") continue;
    await clear(name);
    cleared.push(name);
  }
  return cleared;
}

/** Clears all that carries this name, whoever made it: also what a process left that was killed. Idempotent. */
export async function clear(name: string): Promise<void> {
  const dir = dirOf(name);
  const deadline = Date.now() + GONE_PATIENCE_MS;
  for (;;) {
    const pids = await processesBelow(dir);
    if (pids.length === 0) break;
    for (const pid of pids) spawnSync("kill", ["-KILL", String(pid)]);
    if (Date.now() > deadline) throw new Error(`hosts of ${name} do not end: pids ${pids.join(", ")}`);
    await sleep(100);
  }
  // Somebody else may clear the same: what counts is that it is gone.
  for (const mount of await mountsBelow(dir)) await run(["umount", "-l", mount]);
  const left = await mountsBelow(dir);
  if (left.length > 0) throw new Error(`${name} keeps mounts: ${left.join(", ")}`);
  await removeMemoryGroups(name);
  await removeNetwork(name);
  await rm(dir, { recursive: true, force: true });
}

/** The first process of each host, which takes all others of it along; where there is none, its nspawn. */
async function processesBelow(dir: string): Promise<number[]> {
  const own = (await nspawns()).filter(({ words }) => words.some((word) => word.startsWith(`${dir}/`)));
  return Promise.all(own.map(async ({ pid }) => (await childOf(pid)) ?? pid));
}

/** Deepest first. */
async function mountsBelow(dir: string): Promise<string[]> {
  const text = await readFile("/proc/self/mountinfo", "utf8");
  const points = text.split("\n").map((line) => line.split(" ")[4] ?? "");
  return points.filter((point) => point.startsWith(`${dir}/`)).reverse();
}
