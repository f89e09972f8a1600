import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ownedPath } from "@belay/agent";
import type { FactProbe, Step } from "@belay/shared";
import t from "tap";
import { ApprovedPlan, newApprover } from "../support/approved.js";
import { World } from "./support/world.js";

const REAL = { timeout: 120_000 };
const NOT_ROOT = process.getuid?.() === 0 ? false : "only root can give a file away";
const NOBODY = 65_534;

t.test("what anybody else may change is nobody's word, nor is what lies behind it", { skip: NOT_ROOT }, async (t) => {
  const dir = t.testdir({ a: { b: { file: "" } }, open: { file: "" } });
  const file = join(dir, "a", "b", "file");
  const refused = async (path: string, why: string) => t.rejects(ownedPath(path, "no-word"), { code: "no-word" }, why);
  t.equal(await ownedPath(file, "no-word"), file);
  symlinkSync(join(dir, "a"), join(dir, "link"));
  t.equal(await ownedPath(join(dir, "link", "b", "file"), "no-word"), file, "over a link");
  await refused(join(dir, "nothing"), "what isn't there");
  chmodSync(file, 0o664);
  await refused(file, "a file for a group");
  chmodSync(file, 0o644);
  chownSync(file, NOBODY, 0);
  await refused(file, "somebody else's");
  chownSync(file, 0, 0);
  chmodSync(join(dir, "a"), 0o777);
  await refused(file, "another folder could be put there");
  await refused(join(dir, "link", "b", "file"), "over a link, too");
  chmodSync(join(dir, "a"), 0o1777);
  t.equal(await ownedPath(file, "no-word"), file, "but not in a folder like /tmp");
  chownSync(join(dir, "a", "b"), NOBODY, 0);
  await refused(file, "unless what is in there is somebody's");
});

t.test(
  "a probe that nobody approved starts no program but those of fetched versions and of agent.yaml",
  REAL,
  async (t) => {
    const world = await World.make(t);
    const maria = newApprover("maria");
    const signers = join(world.dir, "approvers");
    writeFileSync(signers, `${maria.line}\n`, { mode: 0o644 });
    const ran = join(world.dir, "ran");
    const program = (path: string, words: string) => {
      mkdirSync(join(path, ".."), { recursive: true });
      writeFileSync(path, `#!/bin/sh\necho "$0" >> ${ran}\necho ${words}\n`, { mode: 0o755 });
    };
    // Root's own, but no versions that Belay fetched: somebody chose these paths.
    program(join(world.dir, "data", "9.9.9", "tool"), "tool v9.9.9");
    program(join(world.dir, "bin", "tool"), "tool v9.9.9");
    program(join(world.dir, "bin", "svc"), "svc v5.4.2 Enterprise");
    world.more = `approve: { by: approvers, fleet: acme, signers: ${signers}, programs: [${join(world.dir, "bin", "svc")}] }`;
    world.initially = "stopped";
    const fetched = await world.release("6.2.31");
    const plan = new ApprovedPlan("run-1", [{ host: "host-1", op: fetched }]);
    const facts = (more: Partial<FactProbe>) => ({ ...world.probe(), version: [], checks: [], ...more });
    world.controller.probe = facts({ entry: { dir: join(world.dir, "bin"), programs: ["tool"], below: "" } });
    await world.start();
    const banner = (program: string) => ({ program, editions: [{ says: "Enterprise", edition: "ent" }], fips: "fips" });
    const ask = (more: Partial<FactProbe>) => world.controller.step({ kind: "facts", probe: facts(more) });
    const data = join(world.dir, "data");
    const link = join(world.dir, "elsewhere");
    symlinkSync(join(data, "9.9.9"), link);
    await ask({ entry: { dir: join(world.dir, "bin"), programs: ["tool"], below: "" } });
    await ask({ versionsDir: data, entry: { dir: join(data, "9.9.9"), programs: ["tool"], below: "" } });
    await ask({ versionsDir: data, link, banner: banner(join(link, "tool")) });
    t.notOk(existsSync(ran), "nothing was started");

    const named = await ask({ entry: { dir: join(world.dir, "bin"), programs: ["svc"], below: "" } });
    t.match(named, { status: "done", result: { installed: "5.4.2" } }, "what the owner names is asked");
    t.equal(readFileSync(ran, "utf8"), `${join(world.dir, "bin", "svc")}\n`);

    const step: Step = plan.step(0, [plan.sign(maria)]);
    const from = world.controller.told.length;
    world.controller.socket?.send(JSON.stringify(step));
    t.match((await world.controller.outcome(step.step, from)).outcome, { status: "done", changed: true });
    world.linkTo("6.2.31");
    program(join(world.versionsDir, "6.2.31", "added"), "Enterprise");
    await ask({ banner: banner(join(world.link, "added")) });
    t.equal(readFileSync(ran, "utf8").split("\n").length, 2, "no program of the release");
    const own = join(world.versionsDir, "6.2.31", "svc");
    renameSync(own, `${own}-kept`);
    program(own, "Enterprise");
    t.match(await ask({ banner: banner(join(world.link, "svc")) }), { status: "done", result: { edition: "ent" } });
    t.equal(readFileSync(ran, "utf8").split("\n")[1], own, "it was asked");
  },
);
