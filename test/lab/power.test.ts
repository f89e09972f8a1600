import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { LabScene, PATIENCE_MS } from "./scene.js";
import { diaryOf, livesOf } from "./witness.js";

t.setTimeout(PATIENCE_MS);

const CUT_MS = 60_000;
/** Longer than the settle time takes to see that a version has started, so that what is done to it comes in the middle. */
const SETTLE = "8s";

t.test(
  "belayd killed in auth's swap, a network cut for a minute, a host without power: the run ends as if nothing was (I5, I7, I14)",
  { timeout: PATIENCE_MS, skip: whyNoHosts() ?? false },
  async (t) => {
    const scene = await LabScene.open(t, "power", {
      hosts: 6,
      version: "5.4.2",
      releases: [{ version: "6.2.31" }],
      policy: { settle: SETTLE },
    });
    const { api, lab } = scene;
    const run = await scene.start("6.2.31");

    await scene.leadToGate(run, "hop-1.main.auth");
    await api.approve(run, "hop-1.main.auth");
    await scene.untilStarted("auth-1", "6.2.31");
    t.equal(
      await lab.machine("auth-2").shell("systemctl is-active teleport || true"),
      "inactive\n",
      "one auth alone crosses (I5)",
    );
    const before = (await scene.events(run)).length;
    await scene.killBelayd();
    t.ok((await scene.events(run)).length >= before, "nothing that was recorded is lost");

    await scene.leadToGate(run, "hop-1.main.proxy");
    await scene.runs(t, { "auth-1": "6.2.31", "auth-2": "6.2.31" });
    t.same(await livesOf(lab.machine("auth-1")), ["5.4.2", "6.2.31"], "auth crossed once (I7)");
    await api.approve(run, "hop-1.main.proxy");
    await scene.untilStarted("proxy-1", "6.2.31");
    await lab.machine("proxy-1").leaveNetwork();
    await scene.untilPresent("proxy-1", false);
    t.match(
      (await api.why(run)).waits.map(({ code }) => code),
      [/.+/],
      "the run says what it waits for",
    );
    await sleep(CUT_MS);
    await lab.machine("proxy-1").joinNetwork();

    await scene.leadToGate(run, "hop-1.main.node");
    await scene.runs(t, { "proxy-1": "6.2.31" });
    await api.approve(run, "hop-1.main.node");
    await scene.untilStarted("node-1", "6.2.31");
    await lab.machine("node-1").powerOff();
    await scene.untilPresent("node-1", false);
    await lab.machine("node-1").boot();

    t.equal((await scene.leadToEnd(run)).result, "done");
    await scene.allRun(t, "6.2.31");
    for (const name of ["auth-1", "auth-2", "proxy-1", "node-1"]) {
      const diary = await diaryOf(lab.machine(name));
      t.notOk(
        diary.some(({ event }) => event === "refused"),
        `${name} was never refused`,
      );
    }
    const backups = await api.backups(run, "auth-1");
    t.ok(backups.length > 0 && backups.every(({ verifiedAt }) => verifiedAt !== null), "its backup was read back (I4)");
    const corrupted = await lab.control.must([
      ...["env", "ETCDCTL_API=3", "etcdctl", `--endpoints=http://${lab.control.address}:2379`],
      ...["get", "--print-value-only", "/teleport/meta/corrupted"],
    ]);
    t.equal(corrupted, "", "two majors never met on auth's state");
  },
);
