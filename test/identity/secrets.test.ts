import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allowedBy, parseConfig } from "@belay/agent";
import t from "tap";
import { IdentityScene } from "./scene.js";

t.test("secrets in backups: no step may name a host's identity, by whatever path", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "belay-identity-"));
  t.teardown(() => rm(dir, { recursive: true }));
  await mkdir(join(dir, "identity"));
  await symlink(join(dir, "identity"), join(dir, "link"));
  const text = `controller: https://b:1\nhost: node-1\nstateDir: ${dir}\ndirectories: [${tmpdir()}]\n`;
  const allowed = allowedBy(parseConfig(text, "agent.yaml"), new Map());
  const paths = ["identity", "identity/current.json", "identity/../identity/joining.json", "link/current.json", "link"];
  for (const path of paths) {
    await t.rejects(allowed.path(join(dir, path)), { code: "path-refused", message: /identity/ }, path);
  }
  await t.rejects(allowed.link(join(dir, "identity", "current.json")), { code: "path-refused" });
  await t.rejects(allowed.link(join(dir, "identity")), { code: "path-refused" });
  await t.resolves(allowed.path(join(dir, "backups/a")), "of the agent's memory, backups alone are for steps");
  await t.rejects(allowed.path(join(dir, "identity-2")), { code: "path-refused" });
});

t.test("secrets in logs and databases: neither a token nor a key is in anything that belayd writes", async (t) => {
  const scene = await IdentityScene.open(t);
  const token = await scene.token("node-1");
  const secret = token.split(".").at(-1) ?? "";
  const host = await scene.host("node-1", token);
  await host.identity.join();
  const thief = await scene.host("node-1", token);
  const refused = await thief.identity.join().catch((error: unknown) => JSON.stringify(error));
  t.match(refused, /token-used/);
  t.notMatch(refused, new RegExp(secret));
  const data = join(scene.http.dir, "data");
  const key = host.identity.held?.key.split("\n")[1] ?? "";
  t.ok(secret.length > 40 && key.length > 40);
  const files = (await readdir(data, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  for (const file of files) {
    const bytes = await readFile(join(file.parentPath, file.name), "latin1");
    t.notOk(bytes.includes(secret) || bytes.includes(key), file.name);
  }
  t.ok(files.some(({ name }) => name === "belay.db"));
  t.notMatch(JSON.stringify(scene.events), new RegExp(`${secret}|${token}`));
});
