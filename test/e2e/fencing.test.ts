import { execFileSync } from "node:child_process";
import { cp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { parse, stringify } from "yaml";
import { PortClaim } from "../support/fleet-on-disk/ports.js";
import { APPROVER, OPERATOR } from "../support/real-fleet/api.js";
import { Api, Program, until } from "../support/real-fleet/index.js";
import { PATIENCE_MS, refusalOf, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

const BELAYD = "packages/controller/bin/belayd.js";
/** A lease's life (execute/lease.ts), and a little. */
const LEASE_MS = 31_000;
const HOSTS = { "auth-1": ["auth"], "node-1": ["node"] } as const;
const BEGINNING = { hosts: HOSTS, version: "5.4.2", releases: [{ version: "5.5.0" }, { version: "5.6.0" }] } as const;

/** Hosts' owners, or an address that moves: agents dial another belayd from now on. */
async function dial(scene: Scene, address: string): Promise<void> {
  for (const name of Object.keys(HOSTS)) {
    await scene.agent(name).stop();
    const { config } = scene.host(name).agent;
    const yaml = parse(await readFile(config, "utf8")) as object;
    await writeFile(config, stringify({ ...yaml, controller: address }));
    scene.agent(name).start();
  }
}

/** Makes those who act in these stories known to belayd, and so to every copy of its database. */
async function tokens(api: Api): Promise<[string, string][]> {
  return Promise.all([OPERATOR, APPROVER].map(async (name) => [name, await api.tokenOf(name)] as [string, string]));
}

async function logged(program: Program, what: RegExp): Promise<void> {
  await until(async () => what.test(await program.log()) || "not yet", `${what} in the log of ${program.name}`, 30_000);
}

t.test(
  "I13: a belayd that slept while another took over acts on nothing any more",
  { timeout: PATIENCE_MS },
  async (t) => {
    const scene = await Scene.open(t, BEGINNING);
    const { api, fleet } = scene;
    const run = await scene.start("5.5.0");
    const gate = await scene.see(run, "an open gate", (view) => view.gate?.status === "open");
    const people = await tokens(api);
    const { pid } = fleet.belayd;
    if (pid === null) throw new TypeError("it runs");

    process.kill(pid, "SIGSTOP");
    t.teardown(() => process.kill(pid, "SIGCONT"));
    const asleepSince = Date.now();
    const second = join(fleet.dir, "second");
    await cp(join(fleet.dir, "belayd"), second, { recursive: true });
    const ports = new PortClaim();
    const port = await ports.next();
    const config = join(second, "belayd.yaml");
    const yaml = parse(await readFile(config, "utf8")) as object;
    await writeFile(config, stringify({ ...yaml, listen: `127.0.0.1:${port}` }));
    const other = new Program("the second belayd", BELAYD, ["--config", config], join(second, "second.log"));
    other.start();
    t.teardown(() => other.stop().finally(() => ports.release()));
    const address = `http://127.0.0.1:${port}`;
    // Whom the copied database knows.
    const there = new Api(
      address,
      fleet.apiToken,
      new Map(people.map(([name, token]) => [name, Promise.resolve(new Api(address, token))])),
    );
    await logged(other, /belayd is up/);
    await dial(scene, address);
    const end = await until(
      async () => {
        const view = await there.run(run);
        if (view.gate?.status === "open") await there.approve(run, view.gate.gate).catch(() => {});
        return view.status === "ended" || JSON.stringify(view.waits);
      },
      "the second belayd ends the run",
      120_000,
    ).then(() => there.run(run));
    t.equal(end.result, "done");
    await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.5.0" });

    await sleep(Math.max(0, asleepSince + LEASE_MS - Date.now()));
    const before = { auth: await scene.started("auth-1"), node: await scene.started("node-1") };
    process.kill(pid, "SIGCONT");
    const intended = async () => (await scene.events(run)).filter(({ type }) => type === "step-intended").length;
    const soFar = await intended();
    await dial(scene, fleet.api.address);
    await logged(fleet.belayd, /node-1 has taken steps under lease/);
    await logged(fleet.belayd, /auth-1 has taken steps under lease/);
    t.ok((await api.status()).superseded, "and says so to whoever asks how it is");
    await logged(fleet.belayd, /entries of this audit log, signed, which are not in it/);
    await api
      .approve(run, gate.gate?.gate ?? "")
      .catch((error: { code?: string }) => t.comment(`approval: ${error.code}`));
    t.match((await api.why(run)).waits, [{ code: "lease-lost" }]);
    const backups = await api.backups(run, "auth-1");
    const [backup] = backups;
    if (backup !== undefined)
      t.equal(await refusalOf(api.verifyBackup("auth-1", backup.backup)), "superseded", "an errand");
    await api.command(run, "abort").catch((error: { code?: string }) => t.comment(`abort: ${error.code}`));
    const answer = await api.plan({ to: "5.6.0" });
    if (answer.ok) t.match(await refusalOf(api.start(answer.plan.id)), /superseded|cluster-busy/);
    t.equal(await intended(), soFar, "nothing was even intended");
    t.same({ auth: await scene.started("auth-1"), node: await scene.started("node-1") }, before);

    await dial(scene, address);
    t.equal((await there.run(run)).result, "done");
    await until(
      async () => {
        const next = await there.plan({ to: "5.6.0" });
        return next.ok || JSON.stringify(next.blocked);
      },
      "the one that leads goes on leading",
      30_000,
    );
  },
);

t.test(
  "I13: an old copy of belayd's data is refused, says so, and has a way out",
  { timeout: PATIENCE_MS },
  async (t) => {
    const scene = await Scene.open(t, BEGINNING);
    const { api, fleet } = scene;
    const data = join(fleet.dir, "belayd", "data");
    await tokens(api);
    await fleet.belayd.stop();
    await cp(data, `${data}.old`, { recursive: true });
    fleet.belayd.start();
    await fleet.untilUp();
    await fleet.untilPresent();
    const run = await scene.start("5.5.0");
    t.equal((await scene.leadToEnd(run)).result, "done");

    await fleet.belayd.stop();
    await rename(data, `${data}.new`);
    await cp(`${data}.old`, data, { recursive: true });
    fleet.belayd.start();
    await fleet.untilUp();
    await fleet.untilPresent();
    await logged(fleet.belayd, /has taken steps under lease \d+/);
    await logged(fleet.belayd, /entries of this audit log, signed, which are not in it/);
    const plan = await scene.plan("5.6.0");
    t.equal(await refusalOf(api.start(plan.id)), "superseded");
    t.match((await api.status()).superseded, { why: /entries of this audit log, signed/, hosts: "all" });
    const trail = await api.audit("action=belayd-superseded");
    t.ok(trail.length >= 1, "on record");
    t.equal((await api.audit("action=witness-refused")).length > 0, true);
    const belayd = (...args: string[]) => {
      const program = fileURLToPath(new URL(`../../${BELAYD}`, import.meta.url));
      const argv = [program, ...args, "--config", join(fleet.dir, "belayd", "belayd.yaml")];
      return execFileSync(process.execPath, argv, { encoding: "utf8", stdio: "pipe", env: { PATH: process.env.PATH } });
    };
    const raise = () => belayd("raise-fence", "--above", "1000", "--reason", "restored from a backup");
    t.throws(raise, /store-in-use/, "not while it runs");
    await fleet.belayd.stop();
    // The log that hosts remember goes on in another copy: this one begins anew, under the same key, and the old one is kept.
    await rename(join(data, "audit"), join(data, "audit.before"));
    t.match(raise(), /leases above 1000/);
    fleet.belayd.start();
    await fleet.untilUp();
    await fleet.untilPresent();
    const again = await scene.start("5.6.0");
    t.equal((await scene.leadToEnd(again)).result, "done");
    await scene.runs(t, { "auth-1": "5.6.0", "node-1": "5.6.0" });
    t.match(await api.audit("action=fence-raised"), [{ about: { above: 1000, reason: "restored from a backup" } }]);
    await rm(`${data}.new`, { recursive: true });
  },
);
