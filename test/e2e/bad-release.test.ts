import t from "tap";
import { PATIENCE_MS, Scene, SETTLE } from "./scene.js";

t.setTimeout(PATIENCE_MS);

t.test(
  "a release that crashes at once: canary, budget, skip, retry and abort (I9)",
  { timeout: PATIENCE_MS },
  async (t) => {
    const scene = await Scene.open(t, {
      hosts: { "auth-1": ["auth"], "node-1": ["node"], "node-2": ["node"], "node-3": ["node"], "node-4": ["node"] },
      version: "5.4.2",
      releases: [{ version: "5.5.0", behaviour: "crash-at-start", onlyRoles: ["node"] }],
      vars: { startTimeout: "6s" },
      rollout: { node: { ...SETTLE, canary: 1, batch: [1], budget: { batch: 1, stage: 1, run: 5 } } },
    });
    const run = await scene.start("5.5.0");

    const canary = await scene.leadToFailure(run);
    t.equal(canary.status, "waiting");
    t.equal(canary.gate.cause?.code, "canary-failed", "a canary always stops the run");
    t.match(canary.gate.cause?.context, { host: "node-1", error: "service-crashed" });
    t.match(await scene.api.why(run), { waits: [{ code: "failure-gate-open", gate: canary.gate.gate }] });
    await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.4.2", "node-2": "5.4.2" });
    t.same(await scene.lives("node-1"), ["5.4.2", "5.5.0", "5.4.2"], "the agent went back by itself");
    t.same(await scene.lives("node-2"), ["5.4.2"], "nothing was done behind the canary");

    await scene.api.command(run, "retry");
    const again = await scene.see(
      run,
      "the next failure gate",
      ({ gate }) => gate !== null && gate.gate !== canary.gate.gate,
    );
    t.equal(again.gate?.cause?.code, "canary-failed", "a bad release stays bad");
    t.same(await scene.lives("node-1"), ["5.4.2", "5.5.0", "5.4.2", "5.5.0", "5.4.2"], "retry tried once more");

    await scene.api.command(run, "skip");
    const spent = await scene.see(run, "the budget's gate", ({ gate }) => gate?.cause?.code === "budget-spent");
    t.match(spent.quarantined, [{ host: "node-1" }, { host: "node-2" }], "one by a person, one within the budget");
    t.same(spent.gate?.cause?.context, { scope: "stage", failures: 2, budget: 1, hosts: ["node-3"] });
    t.same(await scene.lives("node-4"), ["5.4.2"], "one failure more than the budget, and nothing goes on (I9)");

    const aborted = await scene.api.command(run, "abort");
    const end = await scene.see(run, "its end", ({ status }) => status === "ended");
    t.equal(end.result, "aborted", aborted.status);
    t.match(await scene.api.why(run), { waits: [{ code: "ended" }] });
    const nodes = { "node-1": "5.4.2", "node-2": "5.4.2", "node-3": "5.4.2", "node-4": "5.4.2" };
    await scene.runs(t, { "auth-1": "5.5.0", ...nodes });
    const recap = new Map((await scene.api.recap(run)).hosts.map((line) => [line.host, line]));
    t.match(recap.get("node-2"), { failed: 1, unreachable: 0, runs: "5.4.2" });
    t.match(recap.get("node-4"), { failed: 0, runs: "5.4.2" });
    t.match(recap.get("auth-1"), { failed: 0, runs: "5.5.0" });
  },
);

t.test(
  "crashes after a while, never ready, ignores HUP: each ends healthy (I8, I10)",
  { timeout: PATIENCE_MS },
  async (t) => {
    const scene = await Scene.open(t, {
      hosts: { "auth-1": ["auth"], "proxy-1": ["proxy"], "node-1": ["node"] },
      version: "5.4.2",
      releases: [
        { version: "5.5.0", behaviour: { kind: "crash-after", afterMs: 300 }, onlyRoles: ["auth"] },
        { version: "5.6.0", behaviour: "never-ready", onlyRoles: ["proxy"] },
        { version: "5.7.0", behaviour: "ignores-hup", onlyRoles: ["node"] },
        { version: "5.8.0" },
      ],
      rollout: { auth: { settle: "1500ms" } },
      vars: { startTimeout: "6s" },
    });

    const crashing = await scene.start("5.5.0");
    const crashed = await scene.leadToFailure(crashing);
    t.match(crashed.gate.cause, { code: "auth-failed", context: { host: "auth-1", error: "service-crashed" } });
    t.match(crashed.failures, [{ host: "auth-1", error: { code: "service-crashed" } }]);
    await scene.runs(t, { "auth-1": "5.4.2", "proxy-1": "5.4.2", "node-1": "5.4.2" });
    t.same(await scene.lives("auth-1"), ["5.4.2", "5.5.0", "5.4.2"]);
    t.same(await scene.started("proxy-1"), ["5.4.2"], "nothing goes on behind a failed auth");
    await scene.api.command(crashing, "abort");
    await scene.see(crashing, "its end", ({ result }) => result === "aborted");

    const unready = await scene.start("5.6.0");
    const waiting = await scene.leadToFailure(unready);
    t.match(waiting.gate.cause, { code: "canary-failed", context: { host: "proxy-1", error: "unhealthy" } });
    t.match(waiting.gate.cause?.message, /readyz/, "says what wasn't healthy");
    await scene.runs(t, { "auth-1": "5.6.0", "proxy-1": "5.4.2", "node-1": "5.4.2" });
    await scene.api.command(unready, "abort");
    await scene.see(unready, "its end", ({ result }) => result === "aborted");

    const deaf = await scene.start("5.7.0");
    t.equal((await scene.leadToEnd(deaf)).result, "done");
    const good = await scene.start("5.8.0");
    t.equal((await scene.leadToEnd(good)).result, "done", "a service that ignores HUP is restarted");
    await scene.runs(t, { "auth-1": "5.8.0", "proxy-1": "5.8.0", "node-1": "5.8.0" });
    t.same(await scene.started("node-1"), ["5.4.2", "5.7.0", "5.8.0"]);
  },
);
