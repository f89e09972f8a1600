import { parseFleet } from "@belay/controller/inventory/parse";
import { BelayError } from "@belay/shared";
import t from "tap";

/** The file that the README shows, brackets unquoted as people write them. */
const EXAMPLE = `
fleet: acme
product: teleport
environment: production
clusters:
  - name: main
    ha: shrink
    hosts:
      - { name: auth-1, roles: [auth] }
      - { name: auth-2, roles: [auth] }
      - { name: proxy-1, roles: [proxy] }
      - { name: all-in-one, roles: [node, auth, proxy] }
      - { name: node-[001:200], roles: [node] }
  - { name: eu, trusts: main, ha: rolling, hosts: [ { name: eu-1, roles: [auth] } ] }
  - { name: cloud, managed: { address: mytenant.teleport.sh }, hosts: [ { name: n-1, roles: [node] } ] }
gates:
  default: { approvals: 1, timeout: 24h, onTimeout: hold }
  auth: { approvals: 2, group: sre }
  clusters:
    eu: { node: { timeout: 30m, onTimeout: proceed } }
rollout:
  proxy: { canary: 1, batch: "50%" }
  node: { canary: 1, batch: [1, 5, "20%"], settle: 10s, budget: { batch: 1, stage: "5%", run: 20 } }
offline: quarantine
vars: { data: /srv/teleport }
`;

t.test("reads a whole fleet, with defaults where nothing is said", async (t) => {
  const fleet = parseFleet(EXAMPLE, "fleet.yaml");
  const [main, eu, cloud] = fleet.clusters;
  t.equal(main?.hosts.length, 204);
  t.same(main?.hosts[3], { name: "all-in-one", roles: ["auth", "proxy", "node"], vars: {} });
  t.same(main?.hosts.at(4)?.name, "node-001");
  t.same(main?.hosts.at(-1)?.name, "node-200");
  t.same([eu?.trusts, eu?.ha, cloud?.managed], ["main", "rolling", { address: "mytenant.teleport.sh" }]);
  t.same(fleet.gates, {
    default: { approvals: 1, timeoutMs: 86_400_000, onTimeout: "hold" },
    byKind: { auth: { approvals: 2, group: "sre" } },
    byCluster: { main: {}, eu: { node: { timeoutMs: 1_800_000, onTimeout: "proceed" } }, cloud: {} },
  });
  t.match(fleet.rollout, {
    auth: { canary: 0, batch: [1], budget: { batch: 0, stage: 0 } },
    proxy: { canary: 1, batch: ["50%"], settleMs: 10_000, attempts: 3, stepTimeoutMs: 1_800_000 },
    node: { canary: 1, batch: [1, 5, "20%"], budget: { batch: 1, stage: "5%" } },
    parallel: 50,
    budgetRun: 20,
  });
  t.same([fleet.environment, fleet.offline, fleet.vars], ["production", "quarantine", { data: "/srv/teleport" }]);
  t.ok(Object.isFrozen(fleet.clusters[0]?.hosts[0]), "nothing writes to what planning reads");
});

t.test("a cluster's own gates win over what the fleet says of it", async (t) => {
  const fleet = parseFleet(
    `
fleet: f
clusters:
  - { name: a, gates: { proxy: { approvals: 3 } }, hosts: [{ name: h, roles: [auth] }] }
gates: { clusters: { a: { proxy: { approvals: 2 }, node: { approvals: 4 } } } }
`,
    "f.yaml",
  );
  t.same(fleet.gates.byCluster.a, { proxy: { approvals: 3 }, node: { approvals: 4 } });
});

t.test("ranges", async (t) => {
  const names = (pattern: string) =>
    parseFleet(oneCluster(`{ name: ${pattern}, roles: [auth] }`), "f.yaml").clusters[0]?.hosts.map((host) => host.name);
  t.same(names("n-[8:11]"), ["n-8", "n-9", "n-10", "n-11"]);
  t.same(names("n-[08:11]"), ["n-08", "n-09", "n-10", "n-11"]);
  t.same(names("r[1:2]-n[1:2]"), ["r1-n1", "r1-n2", "r2-n1", "r2-n2"]);
  t.same(names('"quoted-[1:2]"'), ["quoted-1", "quoted-2"]);
});

/** Each is one mistake: what is written, the code, and where the message must point. */
const MISTAKES: readonly [what: string, text: string, code: string, message: RegExp][] = [
  ["nothing at all", "", "fleet-invalid", /the file is empty/],
  ["broken YAML", "fleet: [", "fleet-invalid", /^f\.yaml:1:\d+: /],
  ["a key twice", "fleet: a\nfleet: b", "fleet-invalid", /^f\.yaml:2:1: .*unique/],
  ["no clusters", "fleet: a", "fleet-invalid", /clusters: at least one cluster/],
  ["no name", "clusters: [{ name: a, hosts: [{ name: h, roles: [auth] }] }]", "fleet-invalid", /fleet: is missing/],
  [
    "an unknown field",
    oneCluster("{ name: h, rolse: [auth], roles: [auth] }"),
    "fleet-invalid",
    /f\.yaml:5:\d+: clusters\[0\]\.hosts\[0\]\.rolse: .*did you mean "roles"\?/,
  ],
  [
    "an unknown role",
    oneCluster("{ name: h, roles: [auht] }"),
    "role-unknown",
    /roles\[0\]: must be auth, proxy, node, not "auht"; did you mean "auth"\?/,
  ],
  ["no roles", oneCluster("{ name: h }"), "fleet-invalid", /roles: is missing/],
  ["roles that are none", oneCluster("{ name: h, roles: [] }"), "fleet-invalid", /at least one role/],
  ["roles that are no list", oneCluster("{ name: h, roles: auth }"), "fleet-invalid", /roles: must be a list/],
  [
    "a host twice",
    oneCluster("{ name: h, roles: [auth] }\n      - { name: h, roles: [node] }"),
    "host-duplicate",
    /f\.yaml:6:\d+: .*"h" is declared already/,
  ],
  [
    "a host twice by range",
    oneCluster("{ name: h-[1:3], roles: [auth] }\n      - { name: h-2, roles: [node] }"),
    "host-duplicate",
    /"h-2" is declared already/,
  ],
  ["no auth", oneCluster("{ name: h, roles: [proxy] }"), "cluster-without-auth", /cluster "a" has no auth/],
  [
    "auth in a managed cluster",
    "fleet: f\nclusters: [{ name: a, managed: { address: x }, hosts: [{ name: h, roles: [auth] }] }]",
    "fleet-invalid",
    /the auth of a managed cluster/,
  ],
  [
    "trust in nobody",
    oneCluster("{ name: h, roles: [auth] }", "trusts: b"),
    "trust-unknown",
    /trusts: there is no cluster "b"/,
  ],
  ["trust in itself", oneCluster("{ name: h, roles: [auth] }", "trusts: a"), "trust-cycle", /a -> a/],
  ["a host name in capitals", oneCluster("{ name: Auth-1, roles: [auth] }"), "fleet-invalid", /"Auth-1" is no name/],
  ["a range backwards", oneCluster("{ name: h-[5:1], roles: [auth] }"), "fleet-invalid", /ends before it begins/],
  [
    "a range without end",
    oneCluster("{ name: h-[1:999999999], roles: [auth] }"),
    "fleet-invalid",
    /more than 100000 hosts/,
  ],
  [
    "ranges that multiply",
    oneCluster("{ name: h-[1:9999]-[1:9999], roles: [auth] }"),
    "fleet-invalid",
    /more than 100000 hosts/,
  ],
  ["a range with letters", oneCluster('{ name: "h-[a:b]", roles: [auth] }'), "fleet-invalid", /"\[a:b\]" is no range/],
  [
    "a duration without unit",
    policy("gates: { default: { timeout: 10 } }"),
    "fleet-invalid",
    /gates\.default\.timeout: must be a duration/,
  ],
  [
    "no approvals",
    policy("gates: { auth: { approvals: 0 } }"),
    "fleet-invalid",
    /gates\.auth\.approvals: must be a whole number from 1/,
  ],
  ["an unknown gate", policy("gates: { proxys: {} }"), "fleet-invalid", /gates\.proxys: .*did you mean "proxy"/],
  ["a gate of no cluster", policy("gates: { clusters: { b: {} } }"), "fleet-invalid", /there is no cluster "b"/],
  [
    "an unknown word",
    policy("gates: { default: { onTimeout: wait } }"),
    "fleet-invalid",
    /must be hold, deny, proceed, rollback/,
  ],
  [
    "a batch of none",
    policy("rollout: { node: { batch: 0 } }"),
    "fleet-invalid",
    /rollout\.node\.batch: must be a count/,
  ],
  ["no batches", policy("rollout: { node: { batch: [] } }"), "fleet-invalid", /at least one batch size/],
  ["more than all", policy('rollout: { node: { batch: "101%" } }'), "fleet-invalid", /must be a count or a share/],
  ["batches of auth", policy("rollout: { auth: { batch: 2 } }"), "fleet-invalid", /one at a time/],
  [
    "two budgets of the run",
    policy("rollout: { node: { budget: { run: 1 } }, proxy: { budget: { run: 2 } } }"),
    "fleet-invalid",
    /more than once/,
  ],
  ["offline what", policy("offline: ignore"), "fleet-invalid", /offline: must be hold, quarantine/],
  ["a variable with a strange name", policy("vars: { a-b: 1 }"), "fleet-invalid", /"a-b" is no variable/],
  ["an alias", policy("vars: { a: &x b, c: *x }"), "fleet-invalid", /aliases/],
  [
    "two clusters of a name",
    "fleet: f\nclusters:\n  - { name: a, hosts: [{ name: h, roles: [auth] }] }\n  - { name: a, hosts: [{ name: i, roles: [auth] }] }",
    "fleet-invalid",
    /f\.yaml:4:\d+: .*a cluster "a" already/,
  ],
];

for (const [what, text, code, message] of MISTAKES) {
  t.test(`refuses ${what}`, async (t) => {
    const error = refusal(text);
    t.equal(error.code, code, error.message);
    t.match(error.message, message);
    t.ok(error.hint, "it says what to do");
  });
}

t.test("a cycle of trust is named once, in full", async (t) => {
  const cluster = (name: string, trusts: string) =>
    `  - { name: ${name}, trusts: ${trusts}, hosts: [{ name: ${name}-1, roles: [auth] }] }`;
  const error = refusal(`fleet: f\nclusters:\n${[cluster("a", "b"), cluster("b", "c"), cluster("c", "b")].join("\n")}`);
  t.equal(error.code, "trust-cycle");
  t.match(error.message, /b -> c -> b/);
  t.match(error.context?.problems, { length: 1 });
});

t.test("all problems are reported together, each with its own place and code", async (t) => {
  const error = refusal(`fleet: f
clusters:
  - name: a
    trusts: nobody
    hosts:
      - { name: h, roles: [proxy] }
      - { name: h, roles: [proxy] }
  - name: b
    hosts:
      - { name: i, roles: [bard] }
`);
  t.equal(error.code, "fleet-invalid", "several codes make the common one");
  const problems = error.context?.problems as { code: string; where: string }[];
  t.same(problems.map((problem) => problem.code).sort(), [
    "cluster-without-auth",
    "host-duplicate",
    "role-unknown",
    "trust-unknown",
  ]);
  t.same(problems.find((problem) => problem.code === "role-unknown")?.where, "f.yaml:10:28");
});

function refusal(text: string): BelayError {
  try {
    parseFleet(text, "f.yaml");
  } catch (error) {
    if (error instanceof BelayError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

function oneCluster(host: string, more = "ha: shrink"): string {
  return `fleet: f\nclusters:\n  - name: a\n    hosts:\n      - ${host}\n    ${more}\n`;
}

function policy(text: string): string {
  return `${oneCluster("{ name: h, roles: [auth] }")}${text}\n`;
}
