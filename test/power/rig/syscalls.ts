import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { OpOf, Outcome } from "@belay/shared";
import { AGENT_BIN, type Mode, World } from "../../agent/support/world.js";
import { ByName } from "./by-name.js";

/** Every system call by which the agent changes a file system, and those that begin and end its work on a file. */
const CALLS = [
  ...[
    "openat",
    "close",
    "write",
    "writev",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "copy_file_range",
    "sendfile",
  ],
  ...["rename", "renameat", "renameat2", "symlink", "symlinkat", "link", "linkat", "unlink", "unlinkat"],
  ...["mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat"],
].join(",");
const SNAPSHOT = "snap";

/** One swap, killed at each call that it makes between two records of its journal. */
export interface Attack {
  name: string;
  op: Partial<OpOf<"swap">>;
  /** How the new version behaves. */
  mode: Mode;
  snapshot: boolean;
  /** It was installed without Belay, and is adopted. */
  adopts?: boolean;
  /** From the writing of the first record to that of the last. */
  from: string;
  to: string;
  ends: "done" | "reverted";
}

export const ATTACKS: readonly Attack[] = [
  {
    name: "a restart with a snapshot",
    op: { how: "restart" },
    mode: "ok",
    snapshot: true,
    from: "begun",
    to: "started",
    ends: "done",
  },
  {
    name: "a reload",
    op: { how: "reload", startTimeoutMs: 5_000 },
    mode: "ok",
    snapshot: false,
    from: "begun",
    to: "started",
    ends: "done",
  },
  {
    name: "a way back that restores a snapshot",
    op: { how: "restart", startTimeoutMs: 10_000 },
    mode: "crash",
    snapshot: true,
    from: "reverting",
    to: "back-started",
    ends: "reverted",
  },
  {
    name: "an adoption",
    op: { how: "restart" },
    mode: "ok",
    snapshot: false,
    adopts: true,
    from: "begun",
    to: "stopping",
    ends: "done",
  },
  {
    name: "a way back that undoes an adoption",
    op: { how: "restart", startTimeoutMs: 10_000 },
    mode: "crash",
    snapshot: false,
    adopts: true,
    from: "reverting",
    to: "back-started",
    ends: "reverted",
  },
];

/** Why no system call can be made to kill here, in words; null: it can. */
export function whyNoSyscallKills(): string | null {
  const tried = spawnSync("strace", ["-e", "inject=fsync:signal=KILL:when=9", "true"], { encoding: "utf8" });
  if (tried.error !== undefined) return "needs the program strace";
  return tried.status === 0 ? null : `strace may not trace here: ${tried.stderr.trim()}`;
}

export interface AttackResult {
  calls: number;
  kills: number;
  complaints: string[];
}

/** Kills at every `stride`th call of the attack. Each killed agent's successor is the next one's victim. */
export async function killAtEachCall(
  attack: Attack,
  options: { stride: number; heard?: (line: string) => void },
): Promise<AttackResult> {
  const ends: (() => Promise<void>)[] = [];
  const scene = new Scene(await World.make({ teardown: (end) => void ends.push(end) }), attack);
  const result: AttackResult = { calls: 0, kills: 0, complaints: [] };
  try {
    await scene.begin();
    const calls = await scene.watch();
    const first = calls.findIndex((call) => call.includes(`\\"phase\\":\\"${attack.from}\\"`));
    const last = calls.findIndex((call) => call.includes(`\\"phase\\":\\"${attack.to}\\"`));
    if (first === -1 || last < first) throw new Error(`${attack.name} makes no such records: ${calls.join("\n")}`);
    // The call after the last record is its sync: up to then nobody has been promised it.
    result.calls = last + 2 - first;
    for (let index = first; index < last + 2; index += options.stride) {
      const { call, complaints } = await scene.killAt(nth(calls, index));
      if (call !== null) result.kills += 1;
      const where = `${attack.name}, killed at ${call?.slice(0, 120) ?? "none: it made fewer calls"}`;
      result.complaints.push(...complaints.map((each) => `${where}: ${each}`));
      options.heard?.([where, ...complaints.map((each) => `  WRONG: ${each}`)].join("\n"));
    }
  } finally {
    for (const end of ends) await end();
  }
  return result;
}

/** The how-manieth of which call: strace counts each kind by itself. */
interface Call {
  name: string;
  when: number;
}

function nth(calls: readonly string[], index: number): Call {
  const name = nameOf(calls[index] ?? "");
  return { name, when: calls.slice(0, index + 1).filter((call) => nameOf(call) === name).length };
}

function nameOf(call: string): string {
  return call.slice(0, call.indexOf("("));
}

class Scene {
  readonly #world: World;
  readonly #attack: Attack;
  readonly #byName: ByName | null;
  #installed = "5.0.0";
  #victim: ChildProcess | null = null;

  constructor(world: World, attack: Attack) {
    this.#world = world;
    this.#attack = attack;
    this.#byName = attack.adopts ? new ByName(world) : null;
  }

  async begin(): Promise<void> {
    const world = this.#world;
    if (this.#byName !== null) this.#byName.layOut("5.0.0", "6.0.0", this.#attack.mode);
    else {
      world.install("5.0.0");
      world.install("6.0.0", this.#attack.mode);
      world.linkTo("5.0.0");
    }
    world.initially = "running";
    await this.#startAgent();
    await world.controller.step(world.startOp());
  }

  /** Lets one swap through, and gives the calls it makes on the way, in order. */
  async watch(): Promise<string[]> {
    const { tracer, said } = await this.#trace([`--trace=${CALLS}`]);
    const { op } = await this.#next();
    const complaints = this.#judge(op, await this.#world.controller.step(op), 0);
    tracer.kill("SIGTERM");
    await once(tracer, "close");
    if (complaints.length > 0) throw new Error(`not even without a kill: ${complaints.join("; ")}`);
    return callsIn(said());
  }

  /**
   * Kills the agent as it enters one of its calls, starts another, and looks at how that ends the step. Call null: it didn't
   * make that many of them this time, and ended the step itself.
   */
  async killAt({ name, when }: Call): Promise<{ call: string | null; complaints: string[] }> {
    const { controller } = this.#world;
    const victim = this.#victim as ChildProcess;
    const { tracer, said } = await this.#trace([`--trace=${CALLS}`, `--inject=${name}:signal=KILL:when=${when}`]);
    const { op, starts } = await this.#next();
    const step = controller.id();
    const told = controller.told.length;
    const died = once(victim, "exit");
    controller.send(op, { step });
    const survived = await Promise.race([died.then(() => null), controller.outcome(step, told)]);
    if (survived !== null) {
      tracer.kill("SIGTERM");
      await once(tracer, "close");
      return { call: null, complaints: this.#judge(op, survived.outcome, starts) };
    }
    const left = this.#byName?.ailments(op, null) ?? [];
    await this.#startAgent();
    // What the dead agent never wrote down, the controller sends again (I7).
    controller.send(op, { step });
    const { outcome } = await controller.outcome(step, told);
    return { call: callsIn(said()).at(-1) ?? "?", complaints: [...left, ...this.#judge(op, outcome, starts)] };
  }

  async #startAgent(): Promise<void> {
    const { controller } = this.#world;
    controller.socket = null;
    // One thread for the disk: its calls have an order, and a number.
    this.#victim = this.#world.spawn([AGENT_BIN], { UV_THREADPOOL_SIZE: "1" });
    await controller.connected();
  }

  async #next(): Promise<{ op: OpOf<"swap">; starts: number }> {
    const world = this.#world;
    if (existsSync(world.link)) await this.#byName?.forget(this.#installed);
    const to = this.#installed === "5.0.0" ? "6.0.0" : "5.0.0";
    const items = [{ kind: "file" as const, path: join(world.home, "data"), optional: false }];
    // Each swap is one of a run of its own, and only what was undone gives its snapshot's place away.
    rmSync(join(world.dir, "backups", SNAPSHOT, "held-by"), { force: true });
    const spec = { id: SNAPSHOT, dir: join(world.dir, "backups"), version: this.#installed, items };
    const snapshot = this.#attack.snapshot ? spec : null;
    const entry = this.#byName === null ? {} : { entry: this.#byName.entry };
    return {
      op: world.swapOp(this.#installed, to, { settleMs: 100, ...entry, ...this.#attack.op, snapshot }),
      starts: world.startsOf(to),
    };
  }

  #judge(op: OpOf<"swap">, outcome: Outcome, starts: number): string[] {
    const world = this.#world;
    const complaints: string[] = [];
    if (outcome.status !== this.#attack.ends) complaints.push(`it ends as ${JSON.stringify(outcome)}`);
    this.#installed = outcome.status === "done" ? op.to : op.from;
    const linked = existsSync(world.link) ? basename(readlinkSync(world.link)) : null;
    const expected = this.#byName !== null && outcome.status === "reverted" ? null : this.#installed;
    if (linked !== expected) complaints.push(`${outcome.status}, and the link leads to ${linked}`);
    if (outcome.status !== "failed") complaints.push(...(this.#byName?.ailments(op, this.#attack.ends) ?? []));
    if (world.startsOf(op.to) > starts + 1)
      complaints.push(`${op.to} was started ${world.startsOf(op.to) - starts} times`);
    if (world.data() !== `written by ${this.#installed}`) complaints.push(`the data are ${world.data()}`);
    return complaints;
  }

  /**
   * Follows the threads that work on the disk, and of their calls those that have to do with the swap's own files: all else,
   * the looks at /proc above all, changes nothing and would only blur the count.
   */
  async #trace(args: string[]): Promise<{ tracer: ChildProcess; said: () => string }> {
    const pid = this.#victim?.pid ?? 0;
    const threads = readdirSync(`/proc/${pid}/task`).filter((thread) => thread !== `${pid}`);
    const pids = threads.flatMap((thread) => ["-p", thread]);
    const paths = this.#paths().flatMap((path) => ["-P", path]);
    const options = ["-s", "300", ...args, ...paths, ...pids];
    const tracer = spawn("strace", options, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    await new Promise<void>((resolve, reject) => {
      tracer.on("error", reject);
      tracer.on("exit", () => reject(new Error(`strace: ${said}`)));
      tracer.stderr.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        if (said.split(" attached\n").length > threads.length) resolve();
      });
    });
    return { tracer, said: () => said };
  }

  #paths(): string[] {
    const { dir, stateDir, home, link } = this.#world;
    const [services, backups] = [join(stateDir, "services"), join(dir, "backups")];
    const partial = join(backups, `.${SNAPSHOT}.partial`);
    return [
      ...[join(stateDir, "journal"), services, join(services, "svc.json"), join(services, ".svc.json.belay-new")],
      ...[dir, link, join(dir, ".current.belay-new"), join(dir, ".current.belay-back")],
      ...[backups, partial, `${partial}-old`, join(backups, SNAPSHOT), join(partial, "0-data")],
      ...[join(partial, "manifest.json"), join(partial, ".manifest.json.belay-new")],
      ...[join(partial, "held-by"), join(backups, SNAPSHOT, "held-by")],
      ...[home, join(home, "data"), join(home, ".data.belay-restore")],
      ...(this.#byName?.paths() ?? []),
    ];
  }
}

function callsIn(trace: string): string[] {
  return trace
    .split("\n")
    .map((line) => line.replace(/^\[pid +\d+\] /, ""))
    .filter((line) => /^[a-z0-9_]+\(/.test(line));
}
