import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { randomFrom } from "../../support/random.js";
import { type Forgotten, watchCalls } from "./calls.js";
import type { FileSystem } from "./disk.js";
import { LogMachine } from "./log-machine.js";
import { Machine } from "./machine.js";
import { PowerSwitch } from "./power-switch.js";
import { buildReleases } from "./releases.js";

/**
 * Cuts the power of one machine again and again, and prints one line of JSON for each thing that is wrong, one now and then, so
 * that whoever waits can tell slow from stuck, and one at the end. It runs in a mount namespace of its own, below a folder that is its own tmpfs: whatever happens to it, everything is
 * gone with it.
 */
export interface WorkerReport {
  cuts: number;
  complaints: number;
  /** Cuts that met a host as it was being adopted, or taken out of Belay's hands. */
  adoptions: number;
  seconds: number;
}

/**
 * So many cuts hit the same disks, before they are made anew. A log's first start is worth more cuts than its hundredth, and where a
 * host's names lie is decided when it is laid out.
 */
const CUTS_A_LIFE = { hosts: 50, "audit-log": 12 };
const RELEASES = 5;
const CUTS_A_WORD = 5;

const { values } = parseArgs({
  options: {
    dir: { type: "string", default: "" },
    fs: { type: "string", default: "ext4" },
    cuts: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    disks: { type: "string", default: "1" },
    forget: { type: "string" },
    of: { type: "string", default: "hosts" },
    "stop-after": { type: "string", default: "5" },
    verbose: { type: "boolean", default: false },
  },
});
const random = randomFrom(Number(values.seed));
const dir = join(values.dir, "machine");
const cuts = Number(values.cuts);
let complaints = 0;
let done = 0;
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const complain = (what: string) => {
  complaints += 1;
  say({ complaint: what, cut: done, at: machine.lastCall, disks: values.disks, fs: values.fs });
};

mkdirSync(join(values.dir, "tools"));
const power = PowerSwitch.make(join(values.dir, "tools"));
const fs = values.fs as FileSystem;
const of = values.of === "audit-log" ? "audit-log" : "hosts";
const machine = of === "hosts" ? await machineOfHosts() : new LogMachine(fs, dir, { power, random, complain });
await watchCalls(dir, machine, (values.forget ?? null) as Forgotten | null);
const begun = performance.now();
while (done < cuts && complaints < Number(values["stop-after"])) {
  if (done % CUTS_A_LIFE[of] === 0) {
    if (done > 0) await machine.end();
    await machine.begin();
  }
  await machine.cycle();
  done += 1;
  if (done % CUTS_A_WORD === 0) say({ alive: done });
  if (values.verbose) say({ cut: done, at: machine.lastCall });
}
await machine.end();
const seconds = (performance.now() - begun) / 1000;
const adoptions = machine instanceof Machine ? machine.adoptions : 0;
const report: WorkerReport = { cuts: done, complaints, adoptions, seconds };
say(report);
await power.end();

async function machineOfHosts(): Promise<Machine> {
  const releases = await buildReleases(RELEASES, join(values.dir, "tools"));
  return new Machine(fs, values.disks === "2" ? 2 : 1, dir, { power, releases, random, complain });
}
