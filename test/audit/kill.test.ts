import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { logInFolder } from "@belay/controller/audit/files";
import { verifyLog } from "@belay/controller/audit/verify";
import { isConsistent } from "@belay/shared";
import t from "tap";
import { randomFrom } from "../support/random.js";
import { unhooked } from "../support/unhooked.js";
import { folder, openLog } from "./scene.js";

const APPENDER = fileURLToPath(new URL("appender.ts", import.meta.url));
const KILLS = Number(process.env.AUDIT_KILLS ?? 20);
const SEED = Number(process.env.AUDIT_SEED ?? Date.now() % 1_000_000);

/** It only ends what hangs. */
const PATIENCE_MS = 10 * 60_000;
t.setTimeout(PATIENCE_MS);

interface Said {
  readonly entries: Map<number, string>;
  readonly checkpoints: { size: number; root: Buffer }[];
}

/** Lets one life append, kills it, and notes what it had acknowledged. */
async function live(dir: string, from: number, lifeMs: number, said: Said): Promise<void> {
  const child = spawn(...unhooked([process.execPath, "--import=tsx", APPENDER, dir, String(from)]), {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const first = once(lines, "line");
  lines.on("line", (line) => {
    const [kind, number, what = ""] = line.split(" ");
    if (kind === "entry") said.entries.set(Number(number), what);
    else said.checkpoints.push({ size: Number(number), root: Buffer.from(what, "hex") });
  });
  await first;
  await sleep(lifeMs);
  child.kill("SIGKILL");
  await once(child, "exit");
}

t.test(
  "I14: killed while it appends, a log keeps what it acknowledged, and no checkpoint is contradicted",
  { timeout: PATIENCE_MS },
  async (t) => {
    t.comment(`seed ${SEED}, ${KILLS} kills (AUDIT_SEED, AUDIT_KILLS)`);
    const random = randomFrom(SEED);
    const dir = await folder(t);
    const said: Said = { entries: new Map(), checkpoints: [] };
    for (let kill = 0; kill < KILLS; kill += 1) {
      await live(dir, kill * 100_000, Math.floor(random() * 120), said);
      const verdict = await verifyLog(await logInFolder(join(dir, "audit")), { key: null, witnesses: [] });
      // What a crash leaves beside the log, before anybody has opened it again.
      if (verdict.findings.length > 0) t.fail(`kill ${kill}: ${JSON.stringify(verdict.findings)}`);
    }
    const log = await openLog(dir);
    let lost = 0;
    for (const [seq, what] of said.entries) {
      const entry = await log.entry(seq);
      if (entry?.about.run !== `20261124-101500-${what}`) lost += 1;
    }
    t.equal(lost, 0, `of ${said.entries.size} acknowledged entries`);
    let contradicted = 0;
    for (const older of said.checkpoints) {
      const { newest, proof } = await log.proofFrom(older.size);
      if (!isConsistent(older, newest.checkpoint, proof)) contradicted += 1;
    }
    t.equal(contradicted, 0, `of ${said.checkpoints.length} checkpoints`);
    t.ok(said.entries.size > KILLS && said.checkpoints.length > KILLS);
    await log.close();
    t.match(await verifyLog(await logInFolder(join(dir, "audit")), { key: null, witnesses: [] }), {
      findings: [],
      pending: 0,
      size: log.size,
    });
  },
);
