import type { RunView } from "@belay/controller/api/contract";
import t, { type Test } from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { isAtFailure } from "../support/real-fleet/index.js";
import { LabScene, PATIENCE_MS } from "./scene.js";
import { empty, type Filling, fill, ROOM, SmallFolder } from "./small-disk.js";
import { diaryOf } from "./witness.js";

t.setTimeout(PATIENCE_MS);

/** Versions, backups and journal lie on it; a preflight asks for 64 MiB below the backups. */
const DISK = { at: "/opt/belay/teleport", mebibytes: 160 };
const SMALL = ["proxy-1", "node-1"] as const;
const PADDING_BYTES = 8_000_000;
/** State of a node's own, which its backups hold. */
const PROC = "/var/lib/teleport/proc";
const DATABASE = `${PROC}/sqlite.db`;

t.test(
  "a disk without bytes, then without inodes, at each op: the old version goes on, and a retry succeeds once there is room",
  { timeout: PATIENCE_MS, skip: whyNoHosts() ?? false },
  async (t) => {
    const scene = await LabScene.open(t, "disk", {
      hosts: 6,
      version: "5.4.2",
      releases: [
        { version: "5.5.0", paddingBytes: PADDING_BYTES },
        { version: "5.6.0", paddingBytes: PADDING_BYTES },
      ],
      policy: { settle: "2s" },
      machines: Object.fromEntries(SMALL.map((name) => [name, { disk: DISK }])),
    });
    for (const host of SMALL) await moveState(scene, host);
    await fillsUp(t, scene, { from: "5.4.2", to: "5.5.0", filling: "bytes" });
    const run = await fillsUp(t, scene, { from: "5.5.0", to: "5.6.0", filling: "inodes" });
    await fillsUpAtRestore(t, scene, run, "5.6.0");
  },
);

interface Story {
  readonly from: string;
  readonly to: string;
  readonly filling: Filling;
}

/** One run of the root cluster, in which a disk is full at preflight, at fetch, at the backup, and at the swap. */
async function fillsUp(t: Test, scene: LabScene, { from, to, filling }: Story): Promise<string> {
  const { api } = scene;
  const plan = async () => {
    const answer = await api.plan({ to, clusters: ["main"] });
    if (!answer.ok) throw new Error(`blocked: ${JSON.stringify(answer.blocked)}`);
    return answer.plan.id;
  };
  const failsAt = (stage: string) => (view: RunView) => isAtFailure(view) && view.gate.stage === `hop-1.main.${stage}`;
  const told = (view: RunView, host: string, stage: string) => {
    const failure = view.failures.at(-1);
    t.match(failure, { host, stage: `hop-1.main.${stage}` }, `${filling} at ${stage}`);
    t.match(failure?.error.message, ROOM, "it says what is missing");
  };

  await fill(scene, "node-1", filling);
  const { id: early } = await api.start(await plan());
  told(await scene.see(early, "a failure gate at preflight", failsAt("preflight")), "node-1", "preflight");
  await scene.abort(early);
  await empty(scene, "node-1");

  // Preflight has let proxy-1 pass, and waits for auth-2, when proxy-1's disk fills.
  const late = await plan();
  await scene.machine("auth-2").must(["systemctl", "stop", "belay-agent"]);
  await scene.untilPresent("auth-2", false);
  const { id: run } = await api.start(late);
  await scene.see(run, "the others through preflight", ({ stages }) => stages[0]?.hosts.ok === 3);
  await fill(scene, "proxy-1", filling);
  await scene.machine("auth-2").must(["systemctl", "start", "belay-agent"]);
  told(await scene.see(run, "a failure gate at fetch", failsAt("fetch")), "proxy-1", "fetch");
  await empty(scene, "proxy-1");

  await fill(scene, "node-1", filling);
  await api.command(run, "retry");
  told(await scene.see(run, "a failure gate at backup", failsAt("backup")), "node-1", "backup");
  t.same(await api.backups(run, "node-1"), [], "half a backup is none");
  await empty(scene, "node-1");

  await api.command(run, "retry");
  await scene.leadToGate(run, "hop-1.main.node");
  await fill(scene, "node-1", filling);
  await api.approve(run, "hop-1.main.node");
  told(await scene.see(run, "a failure gate at the swap", failsAt("node")), "node-1", "node");
  await scene.runs(t, { "node-1": from });
  const tried = (await diaryOf(scene.machine("node-1"))).some(({ version }) => version === to);
  t.notOk(tried, "what can't be written down is not begun (I7)");
  await empty(scene, "node-1");

  await api.command(run, "retry");
  t.equal((await scene.leadToEnd(run)).result, "done");
  await scene.runs(t, Object.fromEntries(["auth-1", "auth-2", "proxy-1", "node-1"].map((name) => [name, to])));
  for (const host of SMALL) {
    t.match(
      await api.backups(run, host),
      [{ version: from, verifiedAt: Number }],
      "with room there is a backup, read back",
    );
  }
  return run;
}

/** What a run has kept of a node is put back, onto a disk that has no room for it at first. */
async function fillsUpAtRestore(t: Test, scene: LabScene, run: string, version: string): Promise<void> {
  const { api } = scene;
  const machine = scene.machine("node-1");
  const folder = await SmallFolder.make(scene, "node-1", { path: PROC, units: ["belay-agent", "teleport"] });
  await scene.untilPresent("node-1", true);
  await scene.runs(t, { "node-1": version });
  const [backup] = await api.backups(run, "node-1");
  await machine.must(["sqlite3", DATABASE, "CREATE TABLE since (t)"]);
  const tables = () => machine.must(["sqlite3", DATABASE, ".tables"]);
  const before = await tables();

  // Nothing is kept aside, so that the restore is what meets the disk.
  const answer = await api.restore("node-1", backup?.backup ?? "", { safetyBackup: false });
  const restore = answer.run ?? "";
  const stage = "hop-1.main.node";
  await scene.leadToGate(restore, stage);
  let last = "";
  for (const filling of ["bytes", "inodes"] as const) {
    await folder.fill(filling);
    if (last === "") await api.approve(restore, stage);
    else await api.command(restore, "retry");
    const failed = await scene.see(restore, `a failure gate for want of ${filling}`, (view) => {
      return isAtFailure(view) && view.gate.gate !== last;
    });
    last = failed.gate?.gate ?? "";
    const failure = failed.failures.at(-1);
    t.match(failure, { host: "node-1", stage, error: { code: "disk-full" } }, `${filling} at the restore`);
    t.match(failure?.error.message, ROOM);
    t.match(failure?.error.message, PROC, "it says where");
    await folder.empty();
    t.equal(await tables(), before, "nothing is put back by halves");
  }
  await api.command(restore, "retry");
  t.equal((await scene.leadToEnd(restore)).result, "done");
  t.notMatch(await tables(), "since", "what was kept is back, whole");
  await scene.runs(t, { "node-1": version });
}

/** The agent's journal and backups go onto the small disk, too. */
async function moveState(scene: LabScene, host: string): Promise<void> {
  await scene.machine(host).shell(`
    systemctl stop belay-agent
    cp -a /var/lib/belay-agent ${DISK.at}/state
    mount --bind ${DISK.at}/state /var/lib/belay-agent
    systemctl start belay-agent
  `);
  await scene.untilPresent(host, true);
}
