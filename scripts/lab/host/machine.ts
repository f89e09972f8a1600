import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { must, type Ran, type RunOptions, run } from "./command.js";
import { beginning, within } from "./memory.js";
import type { Network } from "./network.js";

export interface MachineOptions {
  /** As other hosts call it. */
  readonly name: string;
  /** Unique on this machine: the lab's name and the host's. */
  readonly id: string;
  readonly dir: string;
  readonly base: string;
  readonly network: Network;
  /** Last part of its address. */
  readonly number: number;
  /** The group in which its memory is accounted for; null: none. */
  readonly memory: string | null;
  /** Folders of this machine that it sees, read-only: from -> to. */
  readonly binds?: Readonly<Record<string, string>>;
  /** A folder of it that is a small disk of its own, to be filled. */
  readonly disk?: { readonly at: string; readonly mebibytes: number };
}

const BOOT_PATIENCE_MS = 90_000;
const LOOK_AGAIN_MS = 100;
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** One booted host: systemd as its first process, an address of its own, a disk that outlives a power cut. */
export class Machine {
  readonly name: string;
  readonly address: string;
  /** Its file system as this machine sees it, whether it runs or not. */
  readonly root: string;
  readonly #options: MachineOptions;
  #nspawn: ChildProcess | null = null;
  #leader: number | null = null;

  constructor(options: MachineOptions) {
    this.#options = options;
    this.name = options.name;
    this.address = `${options.network.prefix}.${options.number}`;
    this.root = join(options.dir, "root");
  }

  /** Lays its disk out: an overlay on the base image. Once. */
  async make(): Promise<void> {
    const { dir, base, disk } = this.#options;
    for (const part of ["upper", "work", "root"]) await mkdir(join(dir, part), { recursive: true });
    const layers = `lowerdir=${base},upperdir=${join(dir, "upper")},workdir=${join(dir, "work")}`;
    await must(["mount", "-t", "overlay", "overlay", "-o", layers, this.root]);
    await this.writeFile("/etc/hostname", `${this.name}\n`);
    const address = `[Match]\nName=host0\n[Network]\nAddress=${this.address}/24\nLinkLocalAddressing=no\n`;
    await this.writeFile("/etc/systemd/network/10-host0.network", address);
    if (disk === undefined) return;
    const image = join(dir, "disk.img");
    await must(["truncate", "-s", `${disk.mebibytes}M`, image]);
    // One inode for each 16 KiB, as mkfs would choose for a large disk: so that a test can use them up, too.
    await must(["mkfs.ext4", "-q", "-F", "-i", "16384", image]);
    await mkdir(join(dir, "disk"), { recursive: true });
    await must(["mount", "-o", "loop", image, join(dir, "disk")]);
  }

  /** Boots it, and waits until systemd has started all there is. Throws, with the end of its console, when it doesn't. */
  async boot(): Promise<void> {
    const { id, dir, network, memory, binds = {}, disk } = this.#options;
    const console = openSync(join(dir, "console.log"), "a");
    const bound = Object.entries(binds).map(([from, to]) => `--bind-ro=${from}:${to}`);
    if (disk !== undefined) bound.push(`--bind=${join(dir, "disk")}:${disk.at}`);
    const [file = "", ...args] = within(memory, [
      ...["systemd-nspawn", "--quiet", "--directory", this.root, "--machine", id, "--register=no", "--keep-unit"],
      ...[`--network-bridge=${network.bridge}`, "--link-journal=no", "--resolv-conf=off", "--timezone=off"],
      ...["--console=pipe", ...bound, "--", ...beginning(memory)],
    ]);
    const nspawn = spawn(file, args, {
      stdio: ["ignore", console, console],
      env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: "0" },
      // A Ctrl-C is for whoever runs the lab: it ends hosts in its own order.
      detached: true,
    });
    this.#nspawn = nspawn;
    // A lab that is kept up outlives the command that made it.
    nspawn.unref();
    const deadline = Date.now() + BOOT_PATIENCE_MS;
    for (;;) {
      await sleep(LOOK_AGAIN_MS);
      this.#leader ??= await childOf(nspawn.pid);
      if (this.#leader !== null && (await this.#isUp())) return;
      if (nspawn.exitCode !== null || Date.now() > deadline) throw new Error(await this.#whyNot());
    }
  }

  /** Takes a host over that another process booted. False: it doesn't run. */
  async adopt(): Promise<boolean> {
    for (const { pid, words } of await nspawns()) {
      if (words.includes(this.root)) this.#leader = await childOf(pid);
    }
    return this.#leader !== null;
  }

  /** The argument list that runs a command on it, as root. Throws when it is off. */
  enter(argv: readonly string[]): string[] {
    if (this.#leader === null) throw new Error(`${this.name} does not run`);
    const into = ["-t", String(this.#leader), "-m", "-u", "-i", "-n", "-p"];
    return ["nsenter", ...into, "--", "/usr/bin/env", "-i", PATH, ...argv];
  }

  /** Runs a command on it, as root, in all its namespaces. */
  exec(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return run(this.enter(argv), options);
  }

  /** As `exec`, and its output. Throws unless the command ends with 0. */
  must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return must(this.enter(argv), options);
  }

  /** A line or more of shell on it. Throws unless it ends with 0. */
  shell(script: string, options: RunOptions = {}): Promise<string> {
    return this.must(["bash", "-euo", "pipefail", "-c", script], options);
  }

  /** Writes a file of its disk, whether it runs or not. `path` is its own. */
  async writeFile(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
    const file = join(this.root, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content, { mode });
    await must(["chmod", mode.toString(8), file]);
  }

  /** Every process of it is gone at once, as when its power is cut. The disk stays; `boot` starts it again. */
  async powerOff(): Promise<void> {
    const nspawn = this.#nspawn;
    if (nspawn === null) return;
    this.#nspawn = null;
    nspawn.ref();
    // The first process of a namespace takes all others with it; nspawn itself then clears its interface away and ends.
    if (this.#leader !== null) kill(this.#leader);
    else if (nspawn.pid !== undefined) kill(nspawn.pid);
    if (nspawn.exitCode === null && nspawn.signalCode === null) await once(nspawn, "exit");
    this.#leader = null;
  }

  /** Nothing passes between it and any other, until `joinNetwork`. Loopback and its own processes go on. */
  async leaveNetwork(): Promise<void> {
    await this.must(["nft", "add", "table", "inet", "cut"]);
    for (const hook of ["input", "output"]) {
      await this.must(["nft", `add chain inet cut ${hook} { type filter hook ${hook} priority 0 ; policy accept ; }`]);
      const side = hook === "input" ? "iifname" : "oifname";
      await this.must(["nft", `add rule inet cut ${hook} ${side} host0 drop`]);
    }
  }

  async joinNetwork(): Promise<void> {
    await this.must(["nft", "delete", "table", "inet", "cut"]);
  }

  async #isUp(): Promise<boolean> {
    const { stdout } = await this.exec(["systemctl", "is-system-running"], { timeoutMs: 10_000 });
    if (!/^(running|degraded)/.test(stdout)) return false;
    const { code } = await this.exec(["ip", "-4", "route", "get", `${this.#options.network.prefix}.1`]);
    return code === 0;
  }

  async #whyNot(): Promise<string> {
    const said = await readFile(join(this.#options.dir, "console.log"), "utf8");
    return `${this.name} did not boot:\n${said.split("\n").slice(-20).join("\n")}`;
  }
}

/** Every systemd-nspawn that runs on this machine, with its argument list. */
export async function nspawns(): Promise<{ pid: number; words: readonly string[] }[]> {
  const found: { pid: number; words: readonly string[] }[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    // Gone meanwhile: then it is none that runs.
    const words = (await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")).split("\0");
    if (words[0]?.endsWith("systemd-nspawn")) found.push({ pid: Number(name), words });
  }
  return found;
}

/**
 * The first process of a host, by its nspawn's pid; null: it isn't there yet, or any more. While it starts, nspawn has
 * another child for a moment, which makes the host's and ends: on a busy machine it is often the one that is seen first.
 */
export async function childOf(pid: number | undefined): Promise<number | null> {
  if (pid === undefined) return null;
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  for (const child of children.trim().split(" ").filter(Boolean)) {
    const status = await readFile(`/proc/${child}/status`, "utf8").catch(() => "");
    // Its number on this machine, then its number among the host's own processes.
    if (/^NSpid:\t[0-9]+\t1$/m.test(status)) return Number(child);
  }
  return null;
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
