import { AGENT_VERSION } from "@belay/agent";
import t from "tap";
import { AgentFleet } from "./agent-fleet.js";
import { refusalOf } from "./scene.js";

const PATIENCE_MS = 5 * 60_000;
t.setTimeout(PATIENCE_MS);

const HOSTS = { "a-1": ["auth", "proxy"], "n-1": ["node"], "n-2": ["node"], "n-3": ["node"] } as const;
const AGENTS = { product: "belay-agent" };
const all = (version: string) => Object.fromEntries(Object.keys(HOSTS).map((name) => [name, version]));

t.test("agents go to a new version batch by batch, and back again", { timeout: PATIENCE_MS }, async (t) => {
  const fleet = await AgentFleet.open(t, AGENT_VERSION, HOSTS);
  const { api } = fleet;
  await fleet.publish("0.2.0");
  await fleet.layOut("a-1", "0.0.9");
  const answer = await api.plan({ ...AGENTS, to: "0.2.0" });
  if (!answer.ok) throw new Error(JSON.stringify(answer.blocked));
  const { plan } = answer;
  const [hop] = plan.hops;
  t.same(
    hop?.stages.map(({ kind, batches, gate }) => [kind, batches.map(({ length }) => length), gate?.kind ?? null]),
    [
      ["preflight", [4], null],
      ["fetch", [4], null],
      ["node", [1, 2, 1], "node"],
      ["verify", [4], null],
    ],
  );
  t.match(
    await api.plan({ to: "0.2.0" }),
    { ok: false, blocked: [{ code: "release-unknown" }] },
    "no release of Teleport",
  );
  t.match(
    (await api.releases()).map(({ version }) => version),
    ["belay-agent@0.2.0"],
  );

  const { id: run } = await api.start(plan.id);
  await fleet.lead(run, "the gate of the agents", (view) => view.gate?.status === "open");
  t.same(await fleet.installed(), all(AGENT_VERSION), "nothing before the approval (I6)");
  t.equal(await refusalOf(api.start(plan.id)), "cluster-busy", "nobody else has these clusters meanwhile (I13)");
  const done = await fleet.lead(run, "its end", (view) => view.status === "ended");
  t.equal(done.result, "done");
  t.same(await fleet.installed(), all("0.2.0"));
  t.same(await fleet.kept("a-1"), [AGENT_VERSION, "0.2.0"], "what it came from stays, and nothing older");
  await fleet.untilPresent();
  t.match(await api.plan({ ...AGENTS, to: "0.2.0" }), { ok: true, changes: false }, "they say so themselves (I8)");
  t.match(await api.plan({ ...AGENTS, to: AGENT_VERSION }), { ok: false, blocked: [{ code: "release-unknown" }] });

  const back = await api.rollback(run, "run");
  const undone = await fleet.lead(back.run ?? "", "its end", (view) => view.status === "ended");
  t.equal(undone.result, "done");
  t.same(await fleet.installed(), all(AGENT_VERSION));
  t.match(await api.plan({ ...AGENTS, to: "0.2.0" }), { ok: false, blocked: [{ code: "release-suspect" }] });
});

t.test(
  "a version that doesn't come back stops at the canary, which is at work as before",
  { timeout: PATIENCE_MS },
  async (t) => {
    const fleet = await AgentFleet.open(t, AGENT_VERSION, HOSTS);
    const { api } = fleet;
    await fleet.publish("0.2.0", "ends");
    const answer = await api.plan({ ...AGENTS, to: "0.2.0", rollout: { canary: 1, batch: ["100%"] } });
    if (!answer.ok) throw new Error(JSON.stringify(answer.blocked));
    const { id: run } = await api.start(answer.plan.id);
    const failed = await fleet.lead(run, "a failure gate", (view) => view.gate?.kind === "failure");
    t.match(failed.failures, [{ host: "a-1", error: { code: "agent-not-back", message: /0\.2\.0 did not hold/ } }]);
    t.same(await fleet.installed(), all(AGENT_VERSION));
    await fleet.untilPresent();
    t.equal((await api.command(run, "abort")).result, "aborted");
    t.match(await api.plan({ ...AGENTS, to: "0.2.0" }), { ok: true, changes: true }, "all of them are where they were");
  },
);
