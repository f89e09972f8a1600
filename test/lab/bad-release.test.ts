import type { RunView } from "@belay/controller/api/contract";
import t, { type Test } from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { LabScene, PATIENCE_MS } from "./scene.js";
import { livesOf } from "./witness.js";

t.setTimeout(PATIENCE_MS);

const HOST = "node-1";
const VARS = { startTimeout: "20s" };

t.test(
  "releases that crash, hang or ignore HUP, a stale PID file, a unit changed by hand: each ends healthy (I8, I10)",
  { timeout: PATIENCE_MS, skip: whyNoHosts() ?? false },
  async (t) => {
    const scene = await LabScene.open(t, "bad", {
      hosts: 6,
      version: "5.4.2",
      releases: [
        { version: "5.4.3", behaviour: { kind: "crash-after", afterMs: 1_000 } },
        { version: "5.4.4", behaviour: { kind: "crash-after", afterMs: 59_000 } },
        { version: "5.4.5", behaviour: "never-ready" },
        { version: "5.4.6", behaviour: "ignores-hup" },
        { version: "5.4.7" },
        { version: "5.4.8" },
      ],
      policy: { settle: "5s", vars: VARS },
    });
    const { api } = scene;
    const machine = scene.machine(HOST);

    await failsAndGoesBack(t, scene, "5.4.3", "service-crashed");
    await failsAndGoesBack(t, scene, "5.4.5", "unhealthy");
    // Who settles for less than a minute would have let it pass.
    await scene.policy({ settle: "70s", vars: VARS });
    await failsAndGoesBack(t, scene, "5.4.4", "service-crashed");
    await scene.policy({ settle: "5s", vars: VARS });

    // From one that obeys HUP to one that doesn't, and on from there: by a restart, when nothing comes of the signal.
    for (const version of ["5.4.6", "5.4.7"]) {
      t.equal((await scene.leadToEnd(await scene.start(version, [HOST]))).result, "done", version);
      await scene.runs(t, { [HOST]: version });
    }

    const stale = await scene.start("5.4.8", [HOST]);
    await scene.leadToGate(stale, "hop-1.main.node");
    await machine.shell("echo 999999 >/run/teleport.pid");
    await api.approve(stale, "hop-1.main.node");
    // Signalling what a stale file names would hit nobody, or somebody else.
    t.equal((await scene.leadToEnd(stale)).result, "done", "a stale PID file");
    await scene.runs(t, { [HOST]: "5.4.8" });
    const lives = await livesOf(machine);
    t.same(lives.slice(-3), ["5.4.6", "5.4.7", "5.4.8"], "each once");

    await scene.addRelease({ version: "5.4.9" });
    const drifted = await scene.start("5.4.9", [HOST]);
    await scene.leadToGate(drifted, "hop-1.main.node");
    const unit = "/etc/systemd/system/teleport.service";
    const dropIn = "/run/systemd/system/teleport.service.d/by-hand.conf";
    await machine.shell(`cp -p ${unit} ${unit}.was; sed -i '/^ExecStart=/d' ${unit}`);
    await api.approve(drifted, "hop-1.main.node");
    await refusesDrift(t, scene, drifted, unit);
    // One that systemd would take is no better: nobody who approved the plan knew of it.
    await machine.shell(`mv ${unit}.was ${unit}
      mkdir -p ${dropIn.replace(/[^/]*$/, "")} && printf '[Service]\\nEnvironment=NEW_WORD=yes\\n' > ${dropIn}`);
    await api.command(drifted, "retry");
    await refusesDrift(t, scene, drifted, dropIn);
    await machine.shell(`rm ${dropIn}`);
    await api.command(drifted, "retry");
    t.equal((await scene.leadToEnd(drifted)).result, "done", "put back as it was, the unit is the plan's again");
    await scene.runs(t, { [HOST]: "5.4.9" });

    await scene.addRelease({ version: "5.4.10" });
    await scene.seeDefinition(HOST, () =>
      machine.shell(`sed -i 's/^LimitNOFILE/Environment=NEW_WORD=yes\\nLimitNOFILE/' ${unit}`),
    );
    const knowing = await scene.start("5.4.10", [HOST]);
    t.equal(
      (await scene.leadToEnd(knowing)).result,
      "done",
      "a change from before the plan is part of it, and is read",
    );
    await scene.runs(t, { [HOST]: "5.4.10" });
    // A reload keeps the sessions, and with them the environment that the process was started with: the next restart has it.
    const shown = await machine.shell("systemctl show teleport -p NeedDaemonReload -p Environment");
    t.match(shown, /^NeedDaemonReload=no$/m);
    t.match(shown, /^Environment=NEW_WORD=yes$/m);

    const others = scene.lab.fleet.filter(({ name }) => name !== HOST);
    await scene.runs(t, Object.fromEntries(others.map(({ name }) => [name, "5.4.2"])));
  },
);

/** Nothing was touched, and the run says which file to look at. */
async function refusesDrift(t: Test, scene: LabScene, run: string, file: string): Promise<void> {
  const { gate } = await scene.see(run, `drift in ${file}`, (view) => {
    const { cause } = view.gate ?? {};
    return view.gate?.kind === "failure" && cause?.message.includes(file) === true;
  });
  t.match(gate?.cause, { code: "drift", context: { host: HOST } });
  const machine = scene.machine(HOST);
  t.same((await livesOf(machine)).at(-1), "5.4.8", "the new version was never started");
  const shown = await machine.shell("systemctl is-active teleport; readlink /opt/belay/teleport/current");
  t.match(shown, /^active\n.*5\.4\.8/);
}

/** The upgrade of the one host stops at a failure gate, and its agent has gone back by itself. */
async function failsAndGoesBack(t: Test, scene: LabScene, version: string, error: string): Promise<void> {
  const run = await scene.start(version, [HOST]);
  const view: RunView = await scene.leadToFailure(run);
  t.match(view.gate?.cause, { code: "canary-failed", context: { host: HOST, error } }, `${version}: why it stopped`);
  await scene.runs(t, { [HOST]: "5.4.2" });
  t.same((await livesOf(scene.machine(HOST))).slice(-3), ["5.4.2", version, "5.4.2"], `${version}: tried, and undone`);
  await scene.abort(run);
}
