import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keptText, readSettings } from "@belay/controller/cli/settings";
import t from "tap";

t.test("flags win over the environment, that over the file, that over defaults", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "belay-cli-"));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const [flag, env, file] = [join(home, "flag"), join(home, "env"), join(home, "file")];
  for (const path of [flag, env, file]) await writeFile(path, `token-of-${path.slice(home.length + 1)}\n`);
  const none = { env: { BELAY_TOKEN: "t" }, home };
  t.same(await readSettings({}, none), { server: "http://127.0.0.1:7440", token: "t" });

  await mkdir(join(home, ".config/belay"), { recursive: true });
  const config = join(home, ".config/belay/config.yaml");
  await writeFile(config, `server: http://localhost:1/\ntokenFile: ${file}\n`);
  const bare = { env: {}, home };
  t.same(await readSettings({}, bare), { server: "http://localhost:1", token: "token-of-file" });

  const full = { ...bare, env: { BELAY_SERVER: "https://belay.example", BELAY_TOKEN_FILE: env } };
  t.same(await readSettings({}, full), { server: "https://belay.example", token: "token-of-env" });
  const flags = { server: "http://[::1]:2", tokenFile: flag };
  t.same(await readSettings(flags, full), { server: "http://[::1]:2", token: "token-of-flag" });

  await writeFile(config, "sever: http://localhost:1\n");
  await t.rejects(readSettings({}, bare), { code: "config-invalid", message: /config\.yaml: / });
});

t.test("what can't be right is refused, with what to do", async (t) => {
  const outside = { env: { BELAY_TOKEN: "t" }, home: "/nonexistent" };
  await t.rejects(readSettings({ server: "localhost:7440" }, outside), { code: "server-invalid" });
  await t.rejects(readSettings({ server: "http://belay.example:7440" }, outside), { code: "server-refused" });
  await t.rejects(readSettings({ server: "http://127.0.0.1.example.com" }, outside), { code: "server-refused" });
  await t.rejects(readSettings({ tokenFile: "/nonexistent/token" }, outside), { code: "token-unreadable" });
  await t.rejects(readSettings({}, { ...outside, env: {} }), { code: "token-missing" });
});

t.test("the token that is kept goes to the server that it was given for, and to no other", async (t) => {
  const home = t.testdir({ ".config": { belay: { token: `${keptText("secret", "https://belay.example")}\n` } } });
  const outside = { env: {}, home };
  t.same(await readSettings({ server: "https://belay.example/" }, outside), {
    server: "https://belay.example",
    token: "secret",
  });
  for (const server of ["https://evil.example", "https://belay.example:8443", "https://belay.example.evil.example"]) {
    await t.rejects(readSettings({ server }, outside), { code: "token-elsewhere", message: "https://belay.example/" });
  }
  await t.rejects(readSettings({}, outside), { code: "token-elsewhere" }, "nor to the default one");
  const bare = t.testdir({ ".config": { belay: { token: "secret\n" } } });
  await t.rejects(readSettings({}, { env: {}, home: bare }), { code: "token-elsewhere", message: /no server/ });
});
