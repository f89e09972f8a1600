import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Role } from "@belay/controller/people/roles";
import { type Running, whatRuns } from "../../test/support/fleet-on-disk/index.js";
import { RealFleet } from "../../test/support/real-fleet/index.js";
import { buildRelease } from "../../test/support/standin/build-release.js";
import { approveAll, type Signing } from "./approver.js";
import { type Approver, makeApprovers } from "./approvers.js";
import { Belay } from "./belay.js";
import { CLUSTERS, FROM, STOP, TO } from "./fleet.js";
import { heading, say, since } from "./screen.js";

const HELP = `npm run demo -- [options]

Upgrades a root and a leaf cluster (11 hosts) from ${FROM} to ${TO} on this machine: real belayd, real agents, real
processes being swapped, gates that you approve.

  --yes     approve every gate
  --bad     the ${STOP} release crashes after 5 s on proxies: see it reverted, and the run stop at a failure gate
  --dir D   where it all lies (a new folder below the temporary folder)
  --help`;

const { values } = parseArgs({
  options: {
    yes: { type: "boolean", default: false },
    bad: { type: "boolean", default: false },
    dir: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  say(HELP);
  process.exit(0);
}

const started = Date.now();
const dir = values.dir ?? (await mkdtemp(join(tmpdir(), "belay-demo-")));

heading(`A fleet of ${CLUSTERS.flatMap((cluster) => cluster.hosts).length} hosts at ${FROM}, in ${dir}`);
const releaseDir = join(dir, "releases");
const releases = await Promise.all([
  buildRelease({ version: FROM, out: releaseDir }),
  buildRelease({
    version: STOP,
    out: releaseDir,
    ...(values.bad ? { behaviour: "crash-after" as const, onlyRoles: ["proxy" as const] } : {}),
  }),
  buildRelease({ version: TO, out: releaseDir }),
]);
// A crash after 5 s is seen only by those who watch longer than that.
const settle = values.bad ? "6s" : "500ms";
// With --yes two others approve what the demo starts; without, one person sees both sides.
const { people, file: approvers } = await makeApprovers(dir, values.yes ? ["maria", "tom"] : ["you"]);
const fleet = await RealFleet.start({
  dir,
  clusters: CLUSTERS,
  version: FROM,
  releases: releases.slice(0, 1),
  fleet: {
    policy: { approvals: "signed" },
    gates: {
      default: { approvals: people.length, timeout: "1h", onTimeout: "hold", requesterMayApprove: !values.yes },
    },
    rollout: rollout(settle),
  },
  certificates: true,
  belayd: { approvers },
  // No host does anything that they have not signed, whatever belayd says.
  agent: { approve: { by: "approvers", fleet: "acme", signers: approvers, threshold: people.length } },
});

let exitCode = 1;
try {
  exitCode = await upgrade();
} catch (error) {
  say(`\nThe demo failed: ${(error as Error).message}`);
} finally {
  heading("Stopping");
  await fleet.stop();
  say(`Everything this demo started has ended. Its folder is kept for a look: ${dir}`);
  say(`Took ${since(started)}.`);
}
process.exit(exitCode);

async function upgrade(): Promise<number> {
  const belay = await belayOf("you", ["operator", "approver"]);
  say(`up after ${since(started)}: belayd at ${fleet.api.address}, ${fleet.layout.hosts.length} agents connected\n`);
  say("From another terminal, with these set, `npx belay` looks at the same fleet:");
  say(`  export BELAY_SERVER=${fleet.api.address} BELAY_TOKEN_FILE=${belay.tokenFile}`);
  const [{ key } = { key: "" }] = people;
  if (!values.yes) say(`  export BELAY_SIGNING_KEY=${key}`);
  say("");
  for (const release of releases.slice(1)) await belay.show(["release", "add", release.file]);
  await belay.show(["host", "list"]);

  heading("The plan");
  const plan = await belay.show(["plan", "--to", TO], [2]);
  const id = /plan ([0-9a-f]{12})/.exec(plan)?.[1];
  if (id === undefined) throw new Error("belay plan named no plan");

  heading("The run");
  const approver = values.yes ? approveAll(fleet.api, await Promise.all(people.map(signing))) : null;
  const watch = ["run", "start", id, "--watch", ...(values.yes ? [] : ["--prompt"])];
  const code = await belay.live([...watch, ...(values.bad ? ["--exit-at-failure"] : [])]);
  await approver?.stop();

  const failed = values.bad ? await showFailure(belay) : false;
  heading("What every host runs, asked one by one");
  await belay.show(["host", "list"]);
  const running = await whatRuns(fleet.layout);
  for (const { host, version, ready } of running) {
    say(`  ${host.padEnd(12)} ${version ?? "nothing"}  ${ready === 200 ? "ready" : "NOT READY"}`);
  }
  return judge(running, code, failed);
}

async function signing({ name, key }: Approver): Promise<Signing> {
  return { token: await fleet.api.tokenOf(name, ["approver"]), key };
}

/** The command line of one person, by a token of their own. */
async function belayOf(name: string, roles: readonly Role[]): Promise<Belay> {
  const file = join(dir, `${name}.token`);
  await writeFile(file, `${await fleet.api.tokenOf(name, roles)}\n`, { mode: 0o600 });
  const key = people.find((person) => person.name === name)?.key;
  return new Belay(fleet.api.address, file, dir, key === undefined ? {} : { BELAY_SIGNING_KEY: key });
}

/** Shows why the run waits; true if it does so at a failure gate. */
async function showFailure(belay: Belay): Promise<boolean> {
  heading("Why it waits");
  await belay.show(["why"]);
  await belay.show(["gate", "list"]);
  return (await fleet.api.openGates()).some(({ kind }) => kind === "failure");
}

/** 0 when the fleet is where this demo should leave it. */
function judge(running: readonly Running[], code: number, failed: boolean): number {
  const healthy = running.every(({ ready }) => ready === 200);
  const bad = running.filter(({ host, version }) => host.includes("proxy") && version !== FROM).length;
  if (values.bad) return healthy && failed && bad === 0 ? 0 : 1;
  return code === 0 && healthy && running.every(({ version }) => version === TO) ? 0 : 1;
}

function rollout(settle: string) {
  const patient = { settle, budget: { batch: 0, stage: 0 } };
  return {
    auth: patient,
    proxy: { canary: 1, batch: "50%", ...patient },
    node: { canary: 1, batch: [5, "20%"], ...patient },
  };
}
