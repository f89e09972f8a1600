import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Outside } from "@belay/controller/cli/outside";
import { PLAIN } from "@belay/controller/cli/render/style";
import { signingLines } from "@belay/controller/cli/signing/summary";
import { rootOf } from "@belay/controller/plan/approvals/tree";
import type { Plan, Stage } from "@belay/controller/plan/plan";
import { planUpgrade } from "@belay/controller/plan/planner";
import { sealPlan } from "@belay/controller/plan/seal";
import { type GateStatement, parseStatement, type SignedStatement, verifySignature } from "@belay/shared";
import t, { type Test } from "tap";
import { inputFor } from "../support/fleets.js";
import { belay } from "./belay.js";
import { FakeBelayd } from "./belayd.js";
import { gate, gatedRun, RUN, START } from "./samples.js";

const FLEET = `
fleet: acme
policy: { approvals: signed }
clusters: [{ name: main, hosts: [{ name: auth-1, roles: [auth] }, { name: "node-[1:20]", roles: [node] }] }]
`;
const GATE = "hop-1.main.auth";
const ROUTE = `POST /v1/gates/${RUN}/${GATE}/approve`;
const DAY_MS = 86_400_000;

function planned(): Plan {
  const result = planUpgrade(inputFor(FLEET, "6.2.31"));
  if (!result.ok) throw new Error(JSON.stringify(result.blocked));
  return result.plan;
}

const plan = planned();

/** As whoever has belayd's database would make it: id and root fit the content. */
function resealed(content: Partial<Plan>): Plan {
  const draft = unsealed({ ...plan, ...content });
  return sealPlan({ ...draft, approvals: rootOf({ id: "", ...draft }) });
}

function unsealed({ id: _, ...draft }: Plan): Omit<Plan, "id"> {
  return draft;
}

function statement({ id, fleet, approvals }: Plan): GateStatement {
  const { root, leaves } = approvals ?? { root: "", leaves: 0 };
  const what = { type: "belay-gate", format: 1, decision: "approve", fleet, plan: id, root, leaves } as const;
  return { ...what, run: RUN, gate: GATE, at: START, expires: START + DAY_MS };
}

/** The plan with the stages of its hop put otherwise. */
function restaged(change: (stages: readonly Stage[]) => readonly Stage[], more: Partial<Plan> = {}): Plan {
  return resealed({ hops: plan.hops.map((hop) => ({ ...hop, stages: change(hop.stages) })), ...more });
}

async function scene(t: Test, shown: Plan = plan, passphrase = "") {
  const key = join(t.testdir(), "key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", passphrase, "-C", "maria", "-f", key]);
  const view = gate({ run: RUN, gate: GATE, mustSign: true });
  const belayd = await FakeBelayd.start({
    [`GET /v1/gates/${RUN}/${GATE}`]: { ...view },
    [`GET /v1/runs/${RUN}`]: { ...gatedRun({ id: RUN, plan: plan.id }) },
    [`GET /v1/plans/${plan.id}`]: { ...shown },
    [ROUTE]: { ...view },
  });
  t.teardown(() => belayd.stop());
  const sent = () => belayd.askedOf(ROUTE).map(({ body }) => (body as { signed?: SignedStatement }).signed);
  const approve = (args: readonly string[], outside: Partial<Outside> = {}) =>
    belay(["gate", "approve", RUN, GATE, ...args], belayd, {}, outside);
  return { key, sent, approve };
}

const person = (...answers: string[]): Partial<Outside> => ({ canAsk: true, ask: async () => answers.shift() ?? null });

t.test("what is signed was found here, was shown, and says which run, gate and plan, and for how long", async (t) => {
  const { key, sent, approve } = await scene(t);
  const { code, out, err } = await approve(["--sign", key, "--expires", "4h"], person("y"));
  t.equal(code, 0, err);
  const artifact = plan.releases["6.2.31"]?.[0];
  for (const shown of [
    "POINT OF NO RETURN",
    "acme (production), teleport, upgrade",
    "hop-1: 5.4.2 -> 6.2.31",
    "main: 21 hosts",
    artifact?.sha256 ?? "none",
    "the programs are those of this belay",
    plan.id,
    plan.approvals?.root ?? "none",
    "4h00m, for this run alone",
  ]) {
    t.ok(out.includes(shown), shown);
  }
  const [signed] = sent();
  if (signed === undefined) throw new Error("nothing was sent");
  const at = START + 90_000;
  const { id, approvals } = plan;
  t.same(parseStatement(signed.statement), {
    type: "belay-gate",
    format: 1,
    fleet: "acme",
    plan: id,
    root: approvals?.root,
    leaves: approvals?.leaves,
    run: RUN,
    gate: GATE,
    decision: "approve",
    at,
    expires: at + DAY_MS / 6,
  });
  const blob = Buffer.from(readFileSync(`${key}.pub`, "utf8").split(" ")[1] ?? "", "base64");
  t.ok(verifySignature(signed.statement, signed.signature, "belay-gate").blob.equals(blob));
});

t.test("a belayd that shows one plan and names another gets no signature", async (t) => {
  const { id: _, ...content } = plan;
  const bad = { ...content, vars: { ...content.vars, data: "/srv/elsewhere" } };
  const forged: [string, Plan][] = [
    ["content that is not the id's", { ...bad, id: plan.id }],
    ["a root that is not the content's", sealPlan(bad)],
    ["a root of nothing", sealPlan({ ...content, approvals: { root: "00".repeat(32), leaves: 1 } })],
  ];
  for (const [what, shown] of forged) {
    const { key, sent, approve } = await scene(t, shown);
    const { code, err } = await approve(["--sign", key, "--yes"]);
    t.equal(code, 1, what);
    t.match(err, "plan-forged", what);
    t.same(sent(), [], what);
  }
});

t.test("a plan that can be read in two ways, or that the linter refuses, gets no signature", async (t) => {
  const of = (stages: readonly Stage[], id: string) => stages.filter((stage) => stage.id === id);
  const shadow = { ...(plan.programs["auth-first"]?.[0] ?? { kind: "swap" }), to: "9.9.9" };
  const programs = { ...plan.programs, shadow: [shadow] };
  const node = plan.hosts["node-1"];
  const twisted: [string, Plan, string][] = [
    [
      "two stages of one id: one is shown, the other is done",
      restaged(
        (stages) => stages.flatMap((stage) => (stage.id === GATE ? [stage, { ...stage, program: "shadow" }] : [stage])),
        {
          programs,
        },
      ),
      "two stages of this id",
    ],
    [
      "a gate that is there again further back",
      restaged((stages) =>
        stages.map((stage) =>
          stage.kind === "verify" ? { ...stage, gate: of(stages, GATE)[0]?.gate ?? null } : stage,
        ),
      ),
      "its gate is called",
    ],
    [
      "two hops of one id",
      resealed({ hops: [...plan.hops, ...plan.hops.map((hop) => ({ ...hop, stages: [] }))] }),
      "two hops",
    ],
    [
      "a host twice in one list",
      restaged((stages) =>
        stages.map((stage) => (stage.kind === "node" ? { ...stage, batches: [...stage.batches, ["node-1"]] } : stage)),
      ),
      "twice in one stage",
    ],
    [
      "a host whose name reads as another's",
      resealed({ hosts: { ...plan.hosts, ...(node === undefined ? {} : { "node-1\u200b": node }) } }),
      "no host's name",
    ],
    ["no backups", restaged((stages) => stages.filter(({ kind }) => kind !== "backup")), "before its backup"],
  ];
  for (const [what, shown, why] of twisted) {
    const { key, sent, approve } = await scene(t, shown);
    const { code, err } = await approve(["--sign", key, "--yes"]);
    t.equal(code, 1, what);
    t.match(err, "plan-broken", what);
    t.match(err, why, what);
    t.same(sent(), [], what);
  }
});

t.test(
  "what a signature would cover besides versions is shown: targets, bytes, copies, variables, hosts",
  async (t) => {
    const node = (name: string) => ({ ...plan.hosts[name], vars: { data: `/srv/${name === "node-3" ? "b" : "a"}` } });
    const { data: _, ...vars } = plan.vars;
    const hop = plan.hops[0];
    const programs = Object.fromEntries(
      Object.entries(plan.programs).map(([name, ops]) => [
        name,
        name === "node" ? ops.map((op) => ({ ...op, sha256: null })) : ops,
      ]),
    );
    const { backup: __, ...kept } = programs;
    // What no approver gets to see, for want of a root: only the lines are looked at.
    const odd = sealPlan({
      ...unsealed(plan),
      vars: { ...vars, colour: "\u001b[8mhidden\u202e" },
      programs: kept,
      hosts: {
        ...plan.hosts,
        ...Object.fromEntries(["node-1", "node-2", "node-3"].map((name) => [name, node(name)])),
      } as Plan["hosts"],
      hops: [{ ...(hop as Plan["hops"][number]), targets: { "node-20": "6.2.30" } }],
    });
    const lines = signingLines(odd, statement(odd), START, { style: PLAIN, allHosts: false });
    const text = lines.join("\n");
    const nodes = Array.from({ length: 20 }, (_, at) => `node-${at + 1}`);
    const digest = execFileSync("sh", ["-c", "LC_ALL=C sort | sha256sum"], {
      input: ["auth-1", ...nodes].map((name) => `${name}\n`).join(""),
      encoding: "utf8",
    }).slice(0, 64);
    for (const shown of [
      "hop-1: to 6.2.30 instead: node-20",
      "hop-1: 6.2.31 as it lies on the host, whatever its digest: node-1, ",
      "hop-1: 6.2.30 as it lies on the host, whatever its digest: node-20",
      "NOT the programs of this belay: node",
      "LEFT OUT of the programs of this belay: backup",
      "NOT SET: data",
      "colour=\\u{1b}[8mhidden\\u{202e}",
      "data=/srv/a on node-1, node-2",
      "data=/srv/b on node-3",
      `and 11 more (sha256 ${digest})`,
    ]) {
      t.ok(text.includes(shown), shown);
    }
    const whole = signingLines(odd, statement(odd), START, { style: PLAIN, allHosts: true }).join("\n");
    for (const name of nodes) t.ok(new RegExp(`hosts .*${name}\\b`).test(whole), name);
    const copy = { sha256: "ab".repeat(32), bytes: 77, encrypted: false };
    const restoring = restaged((stages) =>
      stages.map((stage) =>
        stage.id === GATE
          ? { ...stage, restores: { "auth-1": "old.hop-1.auth-1" }, copies: { "auth-1": copy } }
          : stage,
      ),
    );
    t.match(
      signingLines(restoring, statement(restoring), START, { style: PLAIN, allHosts: false }).join("\n"),
      `auth-1 puts old.hop-1.auth-1 back, or the copy ${copy.sha256} of 77 bytes`,
    );
  },
);

t.test("programs and settings that are not Belay's own are pointed at", async (t) => {
  const { id: _, approvals: __, ...content } = plan;
  const programs = { ...content.programs, node: [...(content.programs.node ?? []), { kind: "noop" }] };
  const result = { ...content, programs, vars: { ...content.vars, data: "/srv/elsewhere" } };
  const shown = resealed(result);
  const { key, approve } = await scene(t, shown);
  const { out } = await approve(["--sign", key], person("n"));
  t.match(out, "NOT the programs of this belay: node");
  t.match(out, "data=/srv/elsewhere");
});

t.test("nothing is signed unless somebody says so", async (t) => {
  const { key, sent, approve } = await scene(t);
  t.match((await approve(["--sign", key])).err, "confirmation-missing");
  t.equal((await approve(["--sign", key], person("no"))).code, 0);
  t.match((await approve(["--sign", `${key}-missing`, "--yes"])).err, "signing-key-missing");
  t.match((await approve(["--sign", "--yes"])).err, "signing-key-missing");
  t.match((await approve(["--sign", key, "--yes", "--expires", "soon"])).err, "usage");
  t.same(sent(), []);
});

t.test("a key with a passphrase, in an agent or on hardware signs through ssh-keygen", async (t) => {
  const { key, sent, approve } = await scene(t, plan, "a passphrase");
  const asked: { argv: readonly string[]; input: string }[] = [];
  const plain = join(dirname(key), "plain");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", plain]);
  const run: Outside["run"] = async (argv, input) => {
    asked.push({ argv, input });
    const output = execFileSync("ssh-keygen", [...argv.slice(1, -1), plain], {
      input,
      encoding: "utf8",
      stdio: "pipe",
    });
    return { code: 0, output };
  };
  for (const file of [key, `${key}.pub`]) {
    t.equal((await approve(["--sign", file, "--yes"], { run })).code, 0);
    t.same(asked.at(-1)?.argv, ["ssh-keygen", "-Y", "sign", "-n", "belay-gate", "-f", file]);
    t.equal(sent().at(-1)?.statement, asked.at(-1)?.input);
  }
  const failing = await approve(["--sign", key, "--yes"], { run: async () => ({ code: 255, output: "" }) });
  t.match(failing.err, "signing-failed");
  const lying = await approve(["--sign", key, "--yes"], { run: async () => ({ code: 0, output: "no signature" }) });
  t.match(lying.err, "ssh-malformed");
  t.equal(sent().length, 2);
});

t.test("what was signed is written where it was asked for, over nothing that is there", async (t) => {
  const signed = { statement: "what was signed", signature: "by whom" };
  const decisions = [{ decision: "approve" as const, by: "maria", groups: [], reason: "", at: START, signed }];
  const dir = join(t.testdir(), "out");
  const show = async (name: string) => {
    const belayd = await FakeBelayd.start({
      [`GET /v1/gates/${RUN}/${GATE}`]: { ...gate({ run: RUN, gate: name, decisions: decisions as never }) },
      [`GET /v1/runs/${RUN}`]: { ...gatedRun({ id: RUN, plan: plan.id }) },
    });
    t.teardown(() => belayd.stop());
    return belay(["gate", "show", RUN, GATE, "--export", dir], belayd);
  };
  t.equal((await show(GATE)).code, 0);
  t.same(readdirSync(dir).sort(), [`${GATE}.1.json`, `${GATE}.1.json.sig`]);
  t.match((await show(GATE)).err, "file-exists");
  for (const name of ["../evil", "/tmp/evil", "a/../../evil", ".evil", "a\nb"]) {
    t.match((await show(name)).err, "gate-invalid", name);
  }
  t.same(readdirSync(dirname(dir)), ["out"]);
});
