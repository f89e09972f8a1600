import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, rmdirSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { whyNoMounts } from "../../support/mounts.js";
import { unhooked } from "../../support/unhooked.js";
import type { Forgotten } from "./calls.js";
import type { FileSystem } from "./disk.js";
import { SILENCE_MS } from "./patience.js";

export interface Campaign {
  cuts: number;
  seed: number;
  fileSystems: readonly FileSystem[];
  /** What it is the power of: hosts that the agent upgrades, or the machine with belayd's audit log. */
  of?: "hosts" | "audit-log";
  forget?: Forgotten;
  /** Complaints after which a machine is given up. */
  stopAfter?: number;
  /** Machines at a time. */
  machines?: number;
  /** Called for everything that a machine tells. */
  heard?: (told: Told) => void;
}

/** A line of a worker. */
export interface Told {
  fs: FileSystem;
  disks: 1 | 2;
  seed: number;
  cuts: number;
  adoptions?: number;
  complaint?: string;
  at?: string;
}

export interface Result {
  cuts: Record<FileSystem, number>;
  /** Those of the cuts that met a host as it was being adopted, or taken out of Belay's hands. */
  adoptions: Record<FileSystem, number>;
  complaints: Told[];
  seconds: number;
}

const WORKER = fileURLToPath(new URL("./worker.ts", import.meta.url));
/** A machine lives this long, so that what it complains about is found again in little time. */
const CUTS_A_MACHINE = 250;

/** Why no power can be cut here, in words; null: it can. */
export function whyNoPowerCuts(): string | null {
  if (process.getuid?.() !== 0) return "needs root, for loop devices and mounts";
  if (!existsSync("/dev/loop-control")) return "needs loop devices (/dev/loop-control)";
  for (const program of ["gcc", "mkfs.ext4", "mkfs.xfs", "unshare"]) {
    if (spawnSync("which", [program]).status !== 0) return `needs the program ${program}`;
  }
  return whyNoMounts();
}

/**
 * Cuts power as often as asked, on machines with one disk and with two in turn: what was written to one disk is not made
 * durable by an fsync on another, which one disk alone would often hide. Rejects if a machine can't be run at all.
 */
export async function runCampaign(campaign: Campaign): Promise<Result> {
  const result: Result = { cuts: { ext4: 0, xfs: 0 }, adoptions: { ext4: 0, xfs: 0 }, complaints: [], seconds: 0 };
  const begun = performance.now();
  clearLeftovers();
  const jobs = [...jobsOf(campaign)];
  const lane = async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await runMachine(job, campaign, result);
  };
  const lanes = Math.min(campaign.machines ?? availableParallelism(), jobs.length);
  await Promise.all(Array.from({ length: lanes }, lane));
  result.seconds = (performance.now() - begun) / 1000;
  return result;
}

type Job = Pick<Told, "fs" | "disks" | "seed" | "cuts">;

function* jobsOf({ cuts, seed, fileSystems }: Campaign): Generator<Job> {
  let number = 0;
  const each = Math.ceil(cuts / fileSystems.length);
  for (let left = each; left > 0; left -= CUTS_A_MACHINE) {
    for (const fs of fileSystems) {
      // Twos of the same kind come after one another: the file system changes first.
      const disks = Math.floor(number / fileSystems.length) % 2 === 0 ? 2 : 1;
      yield { fs, disks, seed: seed + number, cuts: Math.min(left, CUTS_A_MACHINE) };
      number += 1;
    }
  }
}

/** In a mount namespace of its own, which takes everything in it along when it goes, whatever the reason. */
async function runMachine(job: Job, campaign: Campaign, result: Result): Promise<void> {
  const dir = join(tmpdir(), `${LEFTOVER}${process.pid}-${job.fs}-${job.seed}`);
  mkdirSync(dir, { recursive: true });
  const args = [
    "--dir",
    dir,
    "--fs",
    job.fs,
    "--disks",
    `${job.disks}`,
    "--seed",
    `${job.seed}`,
    "--cuts",
    `${job.cuts}`,
  ];
  if (campaign.of !== undefined) args.push("--of", campaign.of);
  if (campaign.forget !== undefined) args.push("--forget", campaign.forget);
  if (campaign.stopAfter !== undefined) args.push("--stop-after", `${campaign.stopAfter}`);
  const own = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    'mount -t tmpfs tmpfs "$0" && exec "$@"',
    dir,
  ];
  const [program, argv] = unhooked([...own, process.execPath, "--import=tsx", WORKER, ...args]);
  // One thread for each host's call under way, so that none waits for another's.
  const child = spawn(program, argv, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, UV_THREADPOOL_SIZE: "16" },
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-4_000);
  });
  let silence = setTimeout(() => child.kill("SIGKILL"), SILENCE_MS);
  let ended = false;
  for await (const line of createInterface({ input: child.stdout })) {
    clearTimeout(silence);
    silence = setTimeout(() => child.kill("SIGKILL"), SILENCE_MS);
    const word = JSON.parse(line) as Partial<Told> | { alive: number };
    if ("alive" in word) continue;
    const told = { ...job, ...word };
    if (told.complaint !== undefined) result.complaints.push(told);
    else {
      result.cuts[job.fs] += told.cuts;
      result.adoptions[job.fs] += told.adoptions ?? 0;
    }
    ended ||= told.complaint === undefined;
    campaign.heard?.(told);
  }
  clearTimeout(silence);
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  rmdirSync(dir);
  if (!ended)
    throw new Error(`a machine (${JSON.stringify(job)}) ended with ${child.exitCode ?? child.signalCode}: ${said}`);
}

const LEFTOVER = "belay-power-";

/** Folders of runs that were killed: empty, as the mounts in them went with their namespace. */
function clearLeftovers(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${LEFTOVER}(\\d+)-(ext4|xfs)-\\d+$`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmdirSync(join(tmpdir(), name));
  }
}
