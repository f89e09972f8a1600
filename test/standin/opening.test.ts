import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { MODULES_FROM } from "../support/standin/program.js";
import type { Release } from "../support/standin/src/release.js";
import type { Ask, Opened } from "./opener.js";

/** One in seven of these was lost while nobody waited for the other. */
const ROUNDS = 100;
const PROGRAM = fileURLToPath(new URL("opener.ts", import.meta.url));
const release: Release = {
  version: "5.4.2",
  commit: "0000000",
  behaviour: { kind: "good" },
  modulesFrom: MODULES_FROM,
};

t.setTimeout(120_000);
t.test("two auths that make their SQLite at the same moment both come in", async (t) => {
  const dir = t.testdir();
  const auths = [0, 1].map(() => fork(PROGRAM, [], { execArgv: ["--import=tsx"] }));
  t.teardown(() => {
    for (const auth of auths) auth.kill();
  });
  const failed: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const answers = await Promise.all(auths.map((auth) => open(auth, { folder: join(dir, `${round}`), release })));
    failed.push(...answers.flatMap(({ error }) => error ?? []));
  }
  t.same(failed, [], `${ROUNDS} states, opened by two at once`);
});

async function open(auth: ChildProcess, ask: Ask): Promise<Opened> {
  const answer = once(auth, "message");
  auth.send(ask);
  return (await answer)[0] as Opened;
}
