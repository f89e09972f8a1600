import { execFile, execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { RunView } from "@belay/controller/api/contract";
import t, { type Test } from "tap";
import { until } from "../support/real-fleet/index.js";
import { PATIENCE_MS, Scene } from "./scene.js";

/** Hosts that believe two of their approvers, and a belayd that can't make them do anything alone. */
t.setTimeout(2 * PATIENCE_MS);

const BELAY = fileURLToPath(new URL("../../packages/controller/bin/belay.js", import.meta.url));
const PEOPLE = [
  ["maria", ["-t", "ed25519"]],
  ["tom", ["-t", "rsa", "-b", "3072"]],
  ["eve", ["-t", "ecdsa"]],
] as const;

async function open(t: Test) {
  const keys = t.testdir();
  for (const [name, kind] of PEOPLE) {
    execFileSync("ssh-keygen", ["-q", ...kind, "-N", "", "-C", name, "-f", join(keys, name)]);
  }
  const signers = (names: readonly string[]) =>
    names.map((name) => `${name} namespaces="belay-gate" ${readFileSync(join(keys, `${name}.pub`), "utf8")}`).join("");
  const scene = await Scene.open(t, {
    hosts: { "auth-1": ["auth"], "proxy-1": ["proxy"], "node-1": ["node"] },
    version: "5.4.2",
    releases: [{ version: "5.4.2" }, { version: "6.2.31" }],
    gates: { default: { approvals: 2, timeout: "1h" } },
    more: { policy: { approvals: "signed" } },
    belayd: { approvers: "../approvers-of-belayd" },
    agent: (dir) => ({
      approve: { by: "approvers", fleet: "acme", signers: join(dir, "approvers"), threshold: 2, maxAge: "1h" },
    }),
    async prepare(dir) {
      writeFileSync(join(dir, "approvers"), signers(["maria", "tom"]), { mode: 0o644 });
      writeFileSync(join(dir, "approvers-of-belayd"), signers(["maria", "tom"]), { mode: 0o644 });
    },
  });
  const { api } = scene;
  const run = promisify(execFile);
  /** The real command line, as one person. */
  const belay = async (name: string, ...args: string[]) => {
    const env = {
      ...process.env,
      BELAY_SERVER: api.address,
      BELAY_TOKEN: await api.tokenOf(name, ["operator", "approver"]),
    };
    try {
      const { stdout, stderr } = await run(process.execPath, [BELAY, ...args], { env });
      return { code: 0, text: stdout + stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, text: stdout + stderr };
    }
  };
  const sign = (name: string, run: string, gate: string) =>
    belay(name, "gate", "approve", run, gate, "--sign", join(keys, name), "--yes", "--reason", "read it");
  /** Two people sign at every gate, up to the end. */
  const signAll = async (run: string): Promise<RunView> => {
    for (;;) {
      const view = await scene.see(
        run,
        "a gate or its end",
        ({ gate, status }) => status === "ended" || gate?.status === "open",
      );
      const { gate } = view;
      if (view.status === "ended" || gate === null || gate.kind === "failure") return view;
      for (const name of ["maria", "tom"]) {
        const { code, text } = await sign(name, run, gate.gate);
        if (code !== 0 && !text.includes("already")) t.fail(text);
      }
      await scene.see(run, `gate ${gate.gate} passed`, (now) => now.status === "ended" || now.gate?.gate !== gate.gate);
    }
  };
  return { scene, keys, signers, belay, sign, signAll };
}

t.test("a whole upgrade, and the way back, by what two people signed", async (t) => {
  const { scene, keys, belay, sign, signAll } = await open(t);
  const { api, fleet } = scene;
  const plan = await scene.plan("6.2.31");
  t.match(plan.approvals, { leaves: 21, root: /^[0-9a-f]{64}$/ });
  const { id: run } = await api.start(plan.id);
  const first = "hop-1.main.preflight";
  await scene.see(run, "its first gate", ({ gate }) => gate?.gate === first);

  t.match((await belay("maria", "gate", "approve", run, first)).text, "signature-missing", "a word is not enough");
  t.match((await sign("eve", run, first)).text, "approval-unknown-signer", "nor a stranger's key");
  t.match((await belay("maria", "gate", "approve", run, first, "--break-glass", "--reason", "hurry")).code, 1);
  const { code, text } = await sign("maria", run, first);
  t.equal(code, 0, text);
  const artifact = plan.releases["6.2.31"]?.[0]?.sha256 ?? "none";
  for (const shown of [plan.id, artifact, "lets happen", "1 more of 2"]) t.match(text, shown);
  t.match(
    (await belay("tom", "gate", "approve", run, first, "--sign", join(keys, "maria"), "--yes")).text,
    "approval-not-yours",
  );
  await fleet.belayd.stop();
  fleet.belayd.start();
  await fleet.untilUp();
  await fleet.untilPresent();
  t.same(await scene.opsOn(run, "node-1"), [], "with one signature nothing is asked of any host");

  const view = await signAll(run);
  t.equal(view.result, "done", JSON.stringify(view.failures));
  await scene.runs(t, { "auth-1": "6.2.31", "proxy-1": "6.2.31", "node-1": "6.2.31" });

  const out = mkdtempSync(join(fleet.dir, "export-"));
  t.equal((await belay("maria", "gate", "show", run, "hop-1.main.auth", "--export", out)).code, 0);
  t.same(
    readdirSync(out).sort(),
    [1, 2].flatMap((n) => [`hop-1.main.auth.${n}.json`, `hop-1.main.auth.${n}.json.sig`]),
  );
  const check = ["-Y", "verify", "-n", "belay-gate", "-f", join(fleet.dir, "approvers"), "-I", "tom"];
  const statement = readFileSync(join(out, "hop-1.main.auth.2.json"));
  const verify = (input: Buffer) =>
    spawnSync("ssh-keygen", [...check, "-s", join(out, "hop-1.main.auth.2.json.sig")], { input }).status;
  t.equal(verify(statement), 0, "ssh-keygen verifies by hand what was signed");
  t.not(verify(Buffer.concat([statement, Buffer.from(" ")])), 0);

  const back = await api.rollback(run, "run");
  const backRun = back.run ?? "";
  await scene.see(backRun, "its first gate", ({ gate }) => gate?.status === "open");
  const returned = await signAll(backRun);
  t.equal(returned.result, "done", JSON.stringify(returned.failures));
  await scene.runs(t, { "auth-1": "5.4.2", "proxy-1": "5.4.2", "node-1": "5.4.2" });
});

t.test("a gate that belayd passed with less than a host asks for is passed in vain", async (t) => {
  const { scene, signers, sign } = await open(t);
  const { fleet, api } = scene;
  writeFileSync(join(fleet.dir, "approvers-of-belayd"), signers(["maria", "tom", "eve"]));
  const run = await scene.start("6.2.31");
  const first = "hop-1.main.preflight";
  await scene.see(run, "its first gate", ({ gate }) => gate?.gate === first);
  for (const name of ["maria", "eve"]) t.equal((await sign(name, run, first)).code, 0);
  const view = await scene.see(run, "a failure gate", ({ gate }) => gate?.kind === "failure");
  t.ok(view.failures.length > 0);
  for (const { error } of view.failures) t.equal(error.code, "approval-unknown-signer");
  await until(
    async () => (await api.hosts()).every(({ facts }) => facts?.running === "5.4.2") || "not yet",
    "all hosts run what they ran",
    30_000,
  );
  t.same(await scene.started("node-1"), ["5.4.2"]);

  // What is missing is signed afterwards, and the run goes on.
  const { code, text } = await sign("tom", run, first);
  t.equal(code, 0, text);
  await api.command(run, "retry");
  await scene.see(run, "the next gate", ({ gate }) => gate?.gate === "hop-1.main.auth");
});
