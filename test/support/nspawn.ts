import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { baseImage } from "../../scripts/lab/host/base-image.js";
import { childOf } from "../../scripts/lab/host/machine.js";
import { unhooked } from "./unhooked.js";

const run = promisify(execFile);
const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));
const BOOT_TIMEOUT_MS = 60_000;
const POLL_MS = 100;

/**
 * One host with a systemd of its own, over the machine's network. This very Node and the repository are there, read-only;
 * `shared` is the same folder inside and outside.
 */
export class BootedHost {
  readonly dir: string;
  readonly shared: string;
  readonly #nspawn: ChildProcess;
  readonly #leader: number;

  private constructor(dir: string, shared: string, nspawn: ChildProcess, leader: number) {
    this.dir = dir;
    this.shared = shared;
    this.#nspawn = nspawn;
    this.#leader = leader;
  }

  /** Boots one. `shared` must not lie in /tmp, which a booted host has its own of. */
  static async boot(name: string, shared: string): Promise<BootedHost> {
    const base = await baseImage(() => {});
    const dir = await mkdtemp(join(tmpdir(), `belay-${name}-`));
    for (const part of ["root", "up", "work"]) await mkdir(join(dir, part));
    const root = join(dir, "root");
    await run("mount", [
      "-t",
      "overlay",
      "overlay",
      "-o",
      `lowerdir=${base},upperdir=${dir}/up,workdir=${dir}/work`,
      root,
    ]);
    const nspawn = spawn(
      "systemd-nspawn",
      [
        ...["-D", root, "-M", name, "--register=no", "--keep-unit", "--boot", "--quiet", "--console=passive"],
        ...[`--bind=${shared}`, `--bind-ro=${process.execPath}`, `--bind-ro=${REPOSITORY}`],
      ],
      { stdio: "ignore", env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: "0" } },
    );
    try {
      const leader = await leaderOf(nspawn);
      const host = new BootedHost(dir, shared, nspawn, leader);
      await host.run(["systemctl", "is-system-running", "--wait"]).catch(() => "degraded is up, too");
      return host;
    } catch (error) {
      nspawn.kill("SIGKILL");
      await run("umount", ["-l", root]);
      throw error;
    }
  }

  /** Runs a command inside; rejects when it fails. Gives what it printed. */
  async run(argv: readonly string[]): Promise<string> {
    const { stdout } = await run(...this.#inside(argv));
    return stdout;
  }

  /** Starts a program inside and leaves it running. */
  spawn(argv: readonly string[]): ChildProcess {
    const [file, args] = this.#inside(argv);
    return spawn(file, args, {
      stdio: ["ignore", "ignore", process.env.AGENT_LOG === undefined ? "ignore" : "inherit"],
    });
  }

  /** Installs a unit and makes systemd read it. */
  async unit(name: string, text: string): Promise<void> {
    await writeFile(join(this.dir, "root", "etc", "systemd", "system", name), text);
    await this.run(["systemctl", "daemon-reload"]);
  }

  async show(unit: string, property: string): Promise<string> {
    return (await this.run(["systemctl", "show", "--value", "-p", property, unit])).trim();
  }

  /** Pulls the plug, and leaves nothing behind. */
  async end(): Promise<void> {
    if (this.#nspawn.exitCode === null && this.#nspawn.signalCode === null) {
      const ended = once(this.#nspawn, "exit");
      process.kill(this.#leader, "SIGKILL");
      await ended;
    }
    await run("umount", ["-l", join(this.dir, "root")]);
    await rm(this.dir, { recursive: true, force: true });
  }

  #inside(argv: readonly string[]): [string, string[]] {
    const enter = ["nsenter", "-t", String(this.#leader), "-m", "-u", "-i", "-n", "-p", "--"];
    return unhooked([...enter, ...argv]);
  }
}

/** The host's process 1, once its D-Bus answers. */
async function leaderOf(nspawn: ChildProcess): Promise<number> {
  const deadline = Date.now() + BOOT_TIMEOUT_MS;
  for (;;) {
    if (nspawn.exitCode !== null) throw new Error(`systemd-nspawn ended with ${nspawn.exitCode}`);
    if (Date.now() > deadline) throw new Error("the host does not come up");
    const leader = await childOf(nspawn.pid);
    if (leader !== null && existsSync(`/proc/${leader}/root/run/systemd/private`)) return leader;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
