import { readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { installRelease } from "../support/fleet-on-disk/index.js";
import { releaseFiles } from "../support/standin/build-release.js";
import { isAtFailure, PATIENCE_MS, Scene, SETTLE } from "./scene.js";

t.setTimeout(PATIENCE_MS);

t.test(
  "a host that somebody changed by hand is left alone, and a new plan is asked for",
  { timeout: PATIENCE_MS },
  async (t) => {
    const scene = await Scene.open(t, {
      hosts: { "auth-1": ["auth"], "node-1": ["node"], "node-2": ["node"] },
      version: "5.4.2",
      releases: [{ version: "5.5.0" }],
      // Even a budget that would bear it doesn't: what differs in one host may differ in all.
      rollout: { node: { ...SETTLE, canary: 0, batch: [1], budget: { batch: 1, stage: 2, run: 5 } } },
    });
    const { api } = scene;
    const { install, agent } = scene.host("node-1");

    const plan = await scene.plan("5.5.0");
    await installRelease(install, "5.4.9", await releaseFiles({ version: "5.4.9" }));
    const { id: early } = await api.start(plan.id);
    const atStart = await scene.leadToFailure(early);
    t.match(atStart.gate, { stage: "hop-1.main.preflight", cause: { code: "drift", context: { host: "node-1" } } });
    t.match(atStart.gate.cause?.message, /5\.4\.2.*5\.4\.9/, "says what differs");
    t.match(atStart.gate.cause?.hint, /plan anew/);
    t.same(await scene.opsOn(early, "node-1"), ["preflight"]);
    t.same(await readdir(join(install, "versions")), ["5.4.2", "5.4.9"], "nothing was fetched");
    t.notOk((await readdir(agent.stateDir)).includes("backups"), "nor backed up");
    t.equal(await readlink(join(install, "current")), "versions/5.4.9");
    t.same(await scene.started("node-1"), ["5.4.2"]);
    await api.command(early, "retry");
    const again = await scene.see(
      early,
      "the same again",
      ({ gate }) => gate !== null && gate.gate !== atStart.gate.gate,
    );
    t.equal(again.gate?.cause?.code, "drift", "a retry doesn't talk it away");
    await api.command(early, "abort");
    await scene.see(early, "its end", ({ result }) => result === "aborted");

    // The new plan takes the host as it is. Then somebody is at it between gate and swap.
    const late = await scene.start("5.5.0");
    await scene.leadToGate(late, "hop-1.main.node");
    await installRelease(install, "5.4.7", await releaseFiles({ version: "5.4.7" }));
    await api.approve(late, "hop-1.main.node");
    const atSwap = await scene.see(late, "a failure gate", isAtFailure);
    t.match(atSwap.gate, { stage: "hop-1.main.node", cause: { code: "drift", context: { host: "node-1" } } });
    t.equal(await readlink(join(install, "current")), "versions/5.4.7", "the link is as it was found");
    t.same(await scene.started("node-1"), ["5.4.2"], "the service was not touched");
    t.same(await scene.started("node-2"), ["5.4.2"], "and nothing goes on behind it");
    await api.command(late, "abort");
    const end = await scene.see(late, "its end", ({ status }) => status === "ended");
    t.equal(end.result, "aborted");
    t.match(
      (await api.recap(late)).hosts.find(({ host }) => host === "node-1"),
      { failed: 1, changed: 2 },
    );
    await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.4.2", "node-2": "5.4.2" });
  },
);
