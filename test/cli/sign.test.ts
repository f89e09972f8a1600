import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Outside } from "@belay/controller/cli/outside";
import type { Plan } from "@belay/controller/plan/plan";
import { planUpgrade } from "@belay/controller/plan/planner";
import { sealPlan } from "@belay/controller/plan/seal";
import { parseStatement, type SignedStatement, verifySignature } from "@belay/shared";
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

t.test("programs and settings that are not Belay's own are pointed at", async (t) => {
  const { id: _, approvals: __, ...content } = plan;
  const programs = { ...content.programs, node: [...(content.programs.node ?? []), { kind: "noop" }] };
  const result = { ...content, programs, vars: { ...content.vars, data: "/srv/elsewhere" } };
  const { rootOf } = await import("@belay/controller/plan/approvals/tree");
  const shown = sealPlan({ ...result, approvals: rootOf({ id: "", ...result }) });
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
