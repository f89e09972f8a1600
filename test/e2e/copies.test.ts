import { execFileSync } from "node:child_process";
import { appendFile, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { noAge } from "../agent/support/backups.js";
import { BUCKET, S3Server } from "../support/s3.js";
import { backendOf } from "./backend.js";
import { PATIENCE_MS, Scene } from "./scene.js";

t.setTimeout(PATIENCE_MS);

t.test(
  "a host that has lost its backups is restored from the encrypted copy in object storage",
  { timeout: PATIENCE_MS, skip: noAge },
  async (t) => {
    const keys = await mkdtemp(join(tmpdir(), "belay-e2e-keys-"));
    t.teardown(() => rm(keys, { recursive: true }));
    const identity = join(keys, "identity");
    execFileSync("age-keygen", ["-o", identity], { stdio: "ignore" });
    const recipient = execFileSync("age-keygen", ["-y", identity], { encoding: "utf8" }).trim();
    const server = await S3Server.open(t);
    const { endpoint, credentialsFile } = server;
    const scene = await Scene.open(t, {
      hosts: { "auth-1": ["auth"] },
      version: "5.4.2",
      releases: [{ version: "6.1.0" }],
      backups: { keep: 2, copy: "belayd", recipients: [recipient] },
      belayd: {
        backupStore: { kind: "s3", endpoint, bucket: BUCKET, prefix: "acme", pathStyle: true, credentialsFile },
      },
    });
    const { api, fleet } = scene;
    const host = scene.host("auth-1");

    const run = await scene.start("6.1.0");
    const atGate = await scene.leadToGate(run, "hop-1.main.auth");
    t.match(atGate.gate?.evidence?.backups, [{ verified: true, copies: [{ to: "belayd", encrypted: true }] }]);
    t.equal((await scene.leadToEnd(run)).result, "done");
    const backup = `${run}.hop-1.auth-1`;
    const listed = (await api.backups(run, "auth-1")).find((one) => one.backup === backup);
    t.match(listed?.copies, [{ encrypted: true, verifiedAt: Number }], "stored, and read back by its host");
    t.match(await objectsOf(server), [/acme\/auth-1\/.*\.hop-1\.auth-1\.tar\.age/]);
    t.ok((await api.verifyCopy("auth-1", backup)).copies[0]?.verifiedAt, "without a key, its bytes are compared");

    await rm(join(host.vars.backups ?? "", backup), { recursive: true });
    const answer = await api.restore("auth-1", backup);
    const restore = answer.run ?? JSON.stringify(answer);
    const stuck = await scene.leadToFailure(restore);
    t.match(stuck.failures.at(-1)?.error, { code: "identity-missing", hint: /identityFile/ });
    t.match(backendOf(host), { version: "6.1.0", formats: [6] }, "nothing was touched");
    t.equal(stuck.gate.stage, "hop-1.main.backup", "the key is asked for before the first stop (I4)");
    await scene.runs(t, { "auth-1": "6.1.0" });

    const agent = scene.agent("auth-1");
    await agent.stop();
    await appendFile(host.agent.config, `\nidentityFile: ${identity}\n`);
    agent.start();
    await api.command(restore, "retry");
    t.equal((await scene.leadToEnd(restore)).result, "done");
    await scene.runs(t, { "auth-1": "5.4.2" });
    t.match(backendOf(host), { version: "5.4.2", corrupted: null, formats: [5] }, "its state is back, from elsewhere");
    t.match(await api.verifyCopy("auth-1", backup), { backup }, "with its key, the host opens and reads the copy");

    const secrets = [(await readFile(identity, "utf8")).match(/AGE-SECRET-KEY-\S+/)?.[0] ?? "no key", "aws_secret"];
    const said = [
      await fleet.belayd.log(),
      await agent.log(),
      JSON.stringify([await scene.events(run), await scene.events(restore)]),
      await textsBelow(host.vars.backups ?? ""),
    ].join("\n");
    for (const secret of [...secrets, "Signature="])
      t.notOk(said.includes(secret), "no log, event or manifest holds a key");
  },
);

/** Names of the objects in the bucket, as the server keeps them. */
async function objectsOf({ dir }: S3Server): Promise<string[]> {
  const names = await readdir(join(dir, "data", BUCKET), { recursive: true });
  return [...new Set(names.flatMap((name) => /^(.*\.tar\.age)\._S3rver_object$/.exec(name)?.[1] ?? []))].sort();
}

/** All manifests below a folder. */
async function textsBelow(dir: string): Promise<string> {
  const names = (await readdir(dir, { recursive: true })).filter((name) => name.endsWith(".json"));
  const files = [];
  for (const name of names)
    if ((await stat(join(dir, name))).isFile()) files.push(await readFile(join(dir, name), "utf8"));
  if (files.length === 0) throw new Error(`no manifest below ${dir}`);
  return files.join("\n");
}
