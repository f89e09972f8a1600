import { spawnSync } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readBundle, writeBundle } from "@belay/controller/audit/tiles";
import t, { type Test } from "tap";
import { extract } from "tar";
import { start } from "../cli/belay.js";
import { HttpScene } from "../http/scene.js";
import { folder } from "./scene.js";

/** It only ends what hangs. */
t.setTimeout(120_000);

const VERIFY = fileURLToPath(new URL("../../packages/controller/bin/belay-audit-verify.js", import.meta.url));

/** belayd with a few entries, and `belay` as root's. */
async function scene(t: Test) {
  const http = await HttpScene.open(t, "audit: { checkpointEverySeconds: 0.1 }\n");
  for (let round = 0; round < 8; round += 1) {
    await http.call("POST", "/v1/hosts/node-1/quarantine", { body: { reason: `round ${round}` } });
  }
  const out = await folder(t);
  const belay = async (...args: string[]) => {
    const env = { BELAY_SERVER: http.daemon.address, BELAY_TOKEN: http.token };
    return start(["audit", ...args], null, env).ended;
  };
  return { http, out, belay };
}

function verify(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [VERIFY, ...args], {
    encoding: "utf8",
    env: { PATH: process.env.PATH },
  });
  return { status, text: stdout + stderr };
}

t.test("list and show, for people and for programs", async (t) => {
  const { belay } = await scene(t);
  const list = await belay("list", "--action", "host-quarantine", "--limit", "3", "--since", "1h");
  t.equal(list.code, 0, list.err);
  t.match(list.out, /ENTRY +WHEN +WHO +ACTION/);
  t.equal((list.out.match(/host-quarantine/g) ?? []).length, 3);
  t.match(list.out, /root +host-quarantine +done +host=node-1 reason=round 7/);
  t.match(list.out, /older ones: --before \d+/);
  const page = JSON.parse((await belay("list", "--host", "node-1", "--json")).out) as { entries: { seq: number }[] };
  t.equal(page.entries.length, 16);
  const shown = await belay("show", String(page.entries[0]?.seq));
  t.match(
    shown.out,
    /who +root \(.+\)\nfrom +127\.0\.0\.1, at http 127\.0\.0\.1:\d+\naction +host-quarantine, done \(asked in entry \d+\)/,
  );
  t.equal((await belay("show", "99999")).code, 1);
  t.match((await belay("list", "--since", "yesterday")).err, /yesterday is no time/);
});

t.test("an export is verified by a program of its own, which names what was changed", async (t) => {
  const { http, out, belay } = await scene(t);
  const target = join(out, "copy");
  t.match(await belay("export", target), { code: 0, out: /audit log written/ });
  t.equal((await belay("export", target)).code, 1, "nothing is written over");
  t.match(verify(target), { status: 0, text: /result +whole/ });
  const key = (await readFile(join(target, "key"), "utf8")).trim();
  const note = await readFile(join(target, "checkpoint"), "utf8");
  await writeFile(join(out, "node-7.checkpoint"), note);
  t.match(verify(target, "--key", key, "--witness", join(out, "node-7.checkpoint")), {
    status: 0,
    text: /the one given\nwitnesses +1 agree\nresult +whole/,
  });
  const size = Number(note.split("\n")[1]);
  const bundle = join(target, `tile/entries/000.p/${size}`);
  const { entries } = readBundle(await readFile(bundle));
  const forged = Buffer.from(String(entries[5]).replace(/"root"/, '"nina"'));
  await writeFile(bundle, writeBundle(entries.with(5, forged)));
  t.match(verify(target), {
    status: 1,
    text: /NOT WHOLE, from entry 5 on\n.*entry 5 is not what its hash was made of/,
  });
  t.match(JSON.parse(verify(target, "--json").text), { findings: [{ code: "entry-changed", entry: 5 }] });
  t.match(await belay("verify", target), { code: 1, out: /NOT WHOLE/ });
  t.match(verify(join(out, "nothing")), { status: 2, text: /audit-unreadable/ });
  t.match(verify(), { status: 2, text: /one folder is named/ });
  t.match(verify(target, "--key", "nonsense"), { status: 2, text: /verifier-malformed/ });
  t.match(verify(target, "--witness", bundle), { status: 2, text: /witness-unreadable/ });
  await http.daemon.stop();
  t.match(verify(join(http.dir, "data", "audit"), "--witness", join(out, "node-7.checkpoint")), { status: 0 });
});

t.test("belayd's own log is verified over its API, and a tar holds the same", async (t) => {
  const { out, belay } = await scene(t);
  t.match(await belay("verify"), {
    code: 0,
    out: /entries +\d+\nroot .*\nkey +the one beside the log.*\n.*\nresult +whole/,
  });
  const tar = join(out, "audit.tar");
  t.equal((await belay("export", tar)).code, 0);
  await extract({ file: tar, cwd: out });
  t.equal(verify(out).status, 0);
  await rm(join(out, "checkpoint"));
  t.match(verify(out), { status: 1, text: /there is no checkpoint/ });
});
