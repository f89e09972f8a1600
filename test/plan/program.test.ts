import type { PlanInput } from "@belay/controller/plan/input";
import type { Plan } from "@belay/controller/plan/plan";
import { planUpgrade } from "@belay/controller/plan/planner";
import { indexPlan, opsFor, probeFor, stopOpsFor, versionBefore } from "@belay/controller/plan/program";
import { fill } from "@belay/controller/plan/template";
import { teleport } from "@belay/controller/products/teleport";
import { BelayError, decodeOp, type OpOf } from "@belay/shared";
import t from "tap";
import { factsOf, inputFor } from "../support/fleets.js";

const FLEET = `
fleet: acme
vars: { data: /srv/fleet, stopTimeout: 7s }
rollout: { node: { settle: 4s } }
clusters:
  - name: main
    vars: { data: /srv/cluster, diag: "http://127.0.0.1:3001" }
    hosts:
      - { name: auth-[1:2], roles: [auth] }
      - { name: all-1, roles: [auth, proxy, node] }
      - { name: proxy-1, roles: [proxy] }
      - { name: node-1, roles: [node], vars: { data: /srv/host, startTimeout: 90s } }
      - { name: node-2, roles: [node] }
`;
const input = inputFor(FLEET, "7.1.0");
const index = indexPlan(planned(input));
const at = (stage: string, host: string) => ({ run: "run-1", stage, host });

t.test("every program of the profile makes ops that an agent takes", async (t) => {
  const asked = new Set<string>();
  for (const stage of index.plan.hops.flatMap((hop) => hop.stages)) {
    asked.add(stage.program);
    for (const host of stage.batches.flat()) for (const op of opsFor(index, at(stage.id, host))) decodeOp(op);
    for (const host of stage.stop) t.match(stopOpsFor(index, at(stage.id, host)), [{ kind: "stop", timeoutMs: 7000 }]);
  }
  t.same(Object.keys(index.plan.programs).sort(), [...asked, "stop"].sort(), "and the plan holds no other");
});

t.test("a host's own variables win over its cluster's, those over the fleet's, those over the profile's", async (t) => {
  const dataOf = (host: string) => {
    const [backup] = opsFor(index, at("hop-1.main.backup", host)) as [OpOf<"backup">];
    return backup.spec.items
      .map((item) => ("path" in item ? item.path : ""))
      .find((path) => path.endsWith("host_uuid"));
  };
  t.same(["node-1", "node-2"].map(dataOf), ["/srv/host/host_uuid", "/srv/cluster/host_uuid"]);
  t.match(opsFor(index, at("hop-1.main.node", "node-1")), [{ startTimeoutMs: 90_000, settleMs: 4000 }]);
  t.match(opsFor(index, at("hop-1.main.node", "node-2")), [{ startTimeoutMs: 300_000, how: "reload" }]);
});

t.test("each op carries the precondition of its own hop", async (t) => {
  t.match(opsFor(index, at("hop-1.main.preflight", "node-1")), [{ expect: "5.4.2", healthy: true }]);
  t.match(opsFor(index, at("hop-2.main.preflight", "node-1")), [{ expect: "6.2.31" }]);
  t.match(opsFor(index, at("hop-2.main.node", "node-1")), [{ from: "6.2.31", to: "7.1.0", snapshot: null }]);
  t.match(opsFor(index, at("hop-2.main.verify", "node-1")), [
    { kind: "health", expect: "7.1.0" },
    { kind: "prune", keep: ["5.4.2", "6.2.31", "7.1.0"], keepBackups: 3 },
  ]);
  t.same(
    [0, 1, 2].map((hop) => versionBefore(index, "node-1", hop)),
    ["5.4.2", "6.2.31", "7.1.0"],
  );
});

t.test("a prune leaves alone what the run's own rollback may have to put back", async (t) => {
  const pruneOf = (host: string) => opsFor(index, at("hop-2.main.verify", host)).at(-1);
  t.match(pruneOf("node-1"), { neededBackups: ["run-1.hop-1.node-1", "run-1.hop-2.node-1"], keepBackups: 3 });
  const own = ["hop-1", "hop-2"].flatMap((hop) => [`run-1.${hop}.auth-1`, `run-1.${hop}.auth-1.cold`]);
  t.match(pruneOf("auth-1"), { neededBackups: own, keepBackups: 4 }, "an older agent goes by their number");
  const made = ["hop-1.main.backup", "hop-1.main.auth", "hop-2.main.backup", "hop-2.main.auth"]
    .flatMap((stage) => opsFor(index, at(stage, "auth-1")))
    .flatMap((op) => (op.kind === "backup" ? [op.spec.id] : op.kind === "swap" ? [op.snapshot?.id] : []));
  t.same(made, own, "which is all that it makes there");
});

t.test("a fetch names the artifact of the host's own platform, and how much it may unpack to", async (t) => {
  const facts = factsOf(input.fleet, "5.4.2", { "node-1": { arch: "arm64" } });
  const mixed = indexPlan(planned({ ...input, facts }));
  const [arm] = opsFor(mixed, at("hop-1.main.fetch", "node-1")) as [OpOf<"fetch">];
  const [amd] = opsFor(mixed, at("hop-1.main.fetch", "node-2")) as [OpOf<"fetch">];
  t.not(arm.sha256, amd.sha256);
  t.equal(arm.source, `/v1/artifacts/${arm.sha256}`);
  t.match(arm, { version: "6.2.31", size: 50_000, strip: 1 });
  t.ok(arm.maxUnpackedBytes > 5 * arm.size);
  t.match(opsFor(mixed, at("hop-1.main.preflight", "node-1")), [{ needs: [{ bytes: 300_000 }, {}] }]);
});

t.test("auth crossing a major: alone with a cold snapshot; the others start, and stay down if they fail", async (t) => {
  t.match(opsFor(index, at("hop-1.main.auth", "auth-1")), [
    {
      kind: "swap",
      how: "restart",
      revertTo: "running",
      snapshot: { id: "run-1.hop-1.auth-1.cold", version: "5.4.2" },
    },
  ]);
  t.match(opsFor(index, at("hop-1.main.auth-rest", "auth-2")), [{ how: "start", revertTo: "stopped", snapshot: null }]);
});

t.test("I7: an agent judges before the controller gives its step up", async (t) => {
  const quick = FLEET.replace("settle: 4s }", "settle: 4s, stepTimeout: 1m }, auth: { stepTimeout: 5s }");
  const short = indexPlan(planned(inputFor(quick, "6.2.31")));
  t.match(opsFor(short, at("hop-1.main.node", "node-2")), [
    { settleMs: 4000, stopTimeoutMs: 7000, startTimeoutMs: 49_000 },
  ]);
  t.match(opsFor(short, at("hop-1.main.auth", "auth-1")), [{ startTimeoutMs: 1000 }], "but never no time at all");
});

t.test("what is backed up and checked follows from all roles of a host", async (t) => {
  const paths = (host: string) => {
    const [backup] = opsFor(index, at("hop-1.main.backup", host)) as [OpOf<"backup">];
    return backup.spec.items.map((item) => ("path" in item ? item.path : item.kind));
  };
  t.ok(paths("auth-1").includes("/srv/cluster/backend/sqlite.db"));
  t.notOk(paths("proxy-1").includes("/srv/cluster/backend/sqlite.db"));
  for (const host of ["auth-1", "proxy-1", "node-2"])
    t.ok(paths(host).includes("/srv/cluster/proc/sqlite.db"), "I4: who it is");
  const [swap] = opsFor(index, at("hop-1.main.auth-rest", "all-1")) as [OpOf<"swap">];
  t.match(
    swap.checks.map((check) => ("url" in check ? check.url : check.kind)),
    ["process", "http://127.0.0.1:3001/readyz", "http://127.0.0.1:3001/metrics", "https://127.0.0.1:3080/webapi/ping"],
  );
  t.match(swap.checks.at(-1), { json: { pointer: "/server_version", equals: "6.2.31" } });
});

t.test("a backend that is no local file is backed up by the host's own commands", async (t) => {
  const vars = "vars: { backendBackup: etcd-save, backendRestore: etcd-load }\n";
  const plan = planned(inputFor(FLEET.replace(/vars: .*\n/, vars), "6.2.31"));
  const [backup] = opsFor(indexPlan(plan), at("hop-1.main.backup", "auth-1")) as [OpOf<"backup">];
  t.same(backup.spec.items[0], { kind: "command", command: "etcd-save", restore: "etcd-load" });
  t.notMatch(JSON.stringify(backup.spec.items), /backend\/sqlite/);
});

t.test("a backend that the host's owner named wins, and the sqlite file is out of it", async (t) => {
  const vars = "vars: { backendName: teleport-state, backendBackup: etcd-save, backendRestore: etcd-load }\n";
  const plan = planned(inputFor(FLEET.replace(/vars: .*\n/, vars), "6.2.31"));
  const items = (host: string) => {
    const [backup] = opsFor(indexPlan(plan), at("hop-1.main.backup", host)) as [OpOf<"backup">];
    return backup.spec.items;
  };
  t.same(items("auth-1")[0], { kind: "backend", backend: "teleport-state" });
  t.notMatch(JSON.stringify(items("auth-1")), /backend\/sqlite|etcd-save/);
  t.notMatch(JSON.stringify(items("node-2")), /teleport-state/, "only auth has a state of its own");
});

t.test("the probe of a declared host; nobody else has one", async (t) => {
  t.match(probeFor(input.fleet, "proxy-1", teleport), {
    service: "teleport",
    link: "/opt/belay/teleport/current",
    checks: [{ kind: "process" }, { status: 200 }, { url: "https://127.0.0.1:3080/webapi/ping" }],
  });
  t.equal(probeFor(input.fleet, "node-1", teleport)?.checks.length, 2);
  t.equal(probeFor(input.fleet, "stray", teleport), null);
});

t.test("what the plan does not hold", async (t) => {
  const codeOf = (act: () => unknown) => {
    try {
      act();
    } catch (error) {
      return error instanceof BelayError ? error.code : String(error);
    }
    return null;
  };
  t.equal(
    codeOf(() => opsFor(index, at("hop-9.main.node", "node-1"))),
    "stage-unknown",
  );
  t.equal(
    codeOf(() => opsFor(index, at("hop-1.main.node", "stray"))),
    "host-unknown",
  );
  t.equal(
    codeOf(() => opsFor(indexPlan({ ...index.plan, programs: {} }), at("hop-1.main.node", "node-1"))),
    "program-unknown",
  );
});

t.test("templates", async (t) => {
  const scope = {
    vars: { a: "x", b: "{a}/y", wait: "2s", none: "" },
    values: { n: 7, list: [1], nil: null },
    roles: ["auth"],
  };
  t.same(
    fill({ deep: [{ text: "<{b}>" }], n: "{n}", in: "n={n}", list: "{list}", nil: "{nil}", waitMs: "{waitMs}" }, scope),
    {
      deep: [{ text: "<x/y>" }],
      n: 7,
      in: "n=7",
      list: [1],
      nil: null,
      waitMs: 2000,
    },
  );
  const items = [
    { only: "auth", k: 1 },
    { only: "node", k: 2 },
    { given: "a", k: 3 },
    { given: "none", k: 4 },
    { absent: "none", k: 5 },
    { absent: "a", k: 6 },
  ];
  t.same(fill(items, scope), [{ k: 1 }, { k: 3 }, { k: 5 }]);
  t.throws(() => fill("{nothing}", scope), { code: "program-invalid" });
  t.throws(() => fill("{toString}", scope), { code: "program-invalid" });
});

t.test("what somebody could redefine unseen is part of each op that would meet it", async (t) => {
  const definition = "d".repeat(64);
  const { plan } = indexPlan(planned({ ...input, facts: factsOf(input.fleet, "5.4.2", { "node-1": { definition } }) }));
  t.equal(plan.hosts["node-1"]?.definition, definition);
  for (const stage of ["hop-1.main.preflight", "hop-1.main.node", "hop-2.main.preflight", "hop-2.main.node"]) {
    t.match(opsFor(indexPlan(plan), at(stage, "node-1")), [{ definition }], stage);
    t.notOk("definition" in (opsFor(indexPlan(plan), at(stage, "node-2"))[0] ?? {}), "of others nothing is known");
  }
});

function planned(from: PlanInput): Plan {
  const result = planUpgrade(from);
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  return result.plan;
}
