import { execFileSync } from "node:child_process";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  isConsistent,
  type LogCheckpoint,
  leafHash,
  MerkleTree,
  proveConsistency,
  readCheckpoint,
  signCheckpoint,
  verifierOf,
  type Witnessed,
  writeVerifier,
} from "@belay/shared";
import t, { type Test } from "tap";
import { World } from "./support/world.js";

const AGENT_BIN = fileURLToPath(new URL("../../packages/agent/bin/belay-agent.js", import.meta.url));
const LOG = "belay-audit-0a1b2c3d";

/** An audit log of numbered entries; `from` this one on they are others than those of another log. */
class FakeLog {
  readonly leaves: Buffer[] = [];
  readonly name: string;
  key: KeyObject;

  constructor(key = newKey(), name = LOG) {
    this.key = key;
    this.name = name;
  }

  grow(to: number, word = "entry"): this {
    while (this.leaves.length < to) this.leaves.push(leafHash(`${word} ${this.leaves.length}`));
    return this;
  }

  fork(at: number): FakeLog {
    const fork = new FakeLog(this.key, this.name);
    fork.leaves.push(...this.leaves.slice(0, at));
    return fork;
  }

  note(size = this.leaves.length, more: { nextKey?: string; keys?: KeyObject[] } = {}): string {
    const { root } = new MerkleTree(this.leaves.slice(0, size));
    return signCheckpoint({ origin: this.name, size, root, nextKey: more.nextKey ?? null }, more.keys ?? [this.key]);
  }

  async message(from: number, note = this.note()): Promise<LogCheckpoint> {
    const { size } = readCheckpoint(note).checkpoint;
    const proof = await proveConsistency(from, size, async (height, index) => {
      return new MerkleTree(this.leaves.slice(index * 2 ** height, (index + 1) * 2 ** height)).root;
    });
    return {
      type: "checkpoint",
      note,
      key: writeVerifier(verifierOf(this.name, this.key)),
      from,
      proof: proof.map((hash) => hash.toString("base64")),
    };
  }
}

function newKey(): KeyObject {
  return generateKeyPairSync("ed25519").privateKey;
}

/** An agent that has taken the first five entries of a log. */
async function witness(t: Test, more = ""): Promise<{ world: World; log: FakeLog }> {
  const world = await World.make(t);
  world.more = more;
  await world.start();
  const log = new FakeLog().grow(5);
  await show(world, await log.message(0));
  await seen(world, log.note());
  return { world, log };
}

async function show(world: World, message: LogCheckpoint): Promise<void> {
  (await world.controller.connected()).send(JSON.stringify(message));
}

/** What the agent said to it. One that was taken is not answered. */
async function refusal(world: World, message: LogCheckpoint): Promise<Witnessed> {
  const before = world.controller.all("witnessed").length;
  await show(world, message);
  return world.controller.until(() => world.controller.all("witnessed")[before]);
}

async function remembered(world: World, log = LOG): Promise<string | null> {
  return readFile(join(world.stateDir, "witness", `${log}.checkpoint`), "utf8").catch(() => null);
}

async function seen(world: World, note: string, log = LOG): Promise<void> {
  while ((await remembered(world, log)) !== note) await new Promise((resolve) => setTimeout(resolve, 10));
}

t.test("a checkpoint is remembered, and one that continues it takes its place", async (t) => {
  const { world, log } = await witness(t);
  log.grow(12);
  await show(world, await log.message(5));
  await seen(world, log.note());
  await show(world, await log.message(5));
  log.grow(13);
  await show(world, await log.message(12));
  await seen(world, log.note());
  await world.stop();
  t.same(
    world.controller.all("witnessed").map(({ refused, size }) => ({ refused, size })),
    [],
    "the same once more is no news",
  );
});

t.test("an agent says what it has seen when it comes, also after a restart, and asks for what it lacks", async (t) => {
  const { world, log } = await witness(t);
  log.grow(20);
  t.match(await refusal(world, await log.message(9)), { log: LOG, size: 5, refused: null });
  await show(world, await log.message(5));
  await seen(world, log.note());
  await world.stop();
  const before = world.controller.all("hello").length;
  await world.start();
  const hello = await world.controller.until(() => world.controller.all("hello")[before]);
  t.same(hello.witnessed, { log: LOG, size: 20 });
});

t.test("a fork, a rewind and another's signature are refused, told, and kept", async (t) => {
  const { world, log } = await witness(t);
  const good = log.note();
  const fork = log.fork(3).grow(9, "rewritten");
  const same = log.fork(4).grow(5, "rewritten");
  const strange = new FakeLog().grow(9);
  const cases = [
    { message: await fork.message(5), code: "log-forked" },
    { message: await same.message(5), code: "log-forked" },
    { message: await log.message(0, log.note(4)), code: "log-rewound" },
    { message: await strange.message(5), code: "checkpoint-unsigned" },
    { message: { ...(await log.message(5)), note: good.replace("\n5\n", "\n6\n") }, code: "checkpoint-unsigned" },
    { message: { ...(await log.message(5)), note: "no note" }, code: "checkpoint-malformed" },
  ];
  for (const { message, code } of cases) {
    const answer = await refusal(world, message);
    t.equal(answer.refused?.code, code);
    t.equal(answer.known, good, "what it contradicts goes with it, signed");
  }
  t.equal(await remembered(world), good);
  const kept = await readdir(join(world.stateDir, "witness", "refused"));
  t.equal(kept.length, cases.length);
  const notes = await Promise.all(
    kept.map((file) => readFile(join(world.stateDir, "witness", "refused", file), "utf8")),
  );
  t.ok(notes.includes(fork.note()));
});

t.test("evidence does not fill the disk", async (t) => {
  const { world, log } = await witness(t);
  for (let size = 6; size < 50; size += 1) await refusal(world, await log.fork(2).grow(size, `try ${size}`).message(5));
  t.equal((await readdir(join(world.stateDir, "witness", "refused"))).length, 32);
});

t.test("a key is changed by the one before, and by nobody else", async (t) => {
  const { world, log } = await witness(t);
  const before = log.key;
  log.key = newKey();
  log.grow(6);
  const nextKey = writeVerifier(verifierOf(LOG, log.key));
  const alone = log.note(6, { nextKey, keys: [log.key] });
  t.equal((await refusal(world, await log.message(5, alone))).refused?.code, "checkpoint-unsigned");
  const vouched = log.note(6, { nextKey, keys: [log.key, before] });
  await show(world, await log.message(5, vouched));
  await seen(world, vouched);
  await world.stop();
  await world.start();
  log.grow(7);
  await show(world, await log.message(6));
  await seen(world, log.note());
  const old = log.note(7, { keys: [before] });
  t.equal(
    (await refusal(world, await log.message(7, old))).refused?.code,
    "checkpoint-unsigned",
    "the old key is over",
  );
});

t.test("the key in agent.yaml is the only one that begins", async (t) => {
  const key = newKey();
  const world = await World.make(t);
  world.more = `audit: { key: ${writeVerifier(verifierOf(LOG, key))} }`;
  await world.start();
  const other = new FakeLog().grow(5);
  t.equal((await refusal(world, await other.message(0))).refused?.code, "checkpoint-unsigned");
  t.equal(await remembered(world), null);
  const log = new FakeLog(key).grow(5);
  await show(world, await log.message(0));
  await seen(world, log.note());
});

const keyLine = (log: FakeLog) => `audit: { key: ${writeVerifier(verifierOf(log.name, log.key))} }`;

t.test("a new log under the same key is refused, told and kept, and makes nothing forgotten", async (t) => {
  const { world, log } = await witness(t);
  const anew = new FakeLog(log.key, "belay-audit-99999999").grow(7);
  const answer = await refusal(world, await anew.message(0));
  t.match(answer, { refused: { code: "log-replaced" }, known: log.note(), log: LOG, size: 5 });
  await world.stop();
  await world.start();
  t.equal((await refusal(world, await anew.message(0))).refused?.code, "log-replaced", "also after a restart");
  t.equal(await remembered(world, anew.name), null);
  t.same(
    await Promise.all(
      (await readdir(join(world.stateDir, "witness", "refused"))).map((file) =>
        readFile(join(world.stateDir, "witness", "refused", file), "utf8"),
      ),
    ),
    [anew.note()],
  );
  log.grow(8);
  await show(world, await log.message(5));
  await seen(world, log.note());
});

t.test("a memory that is full is told", async (t) => {
  const { world, log } = await witness(t);
  await world.stop();
  for (let n = 1; n < 16; n += 1) {
    const other = new FakeLog(log.key, `belay-audit-${n}`).grow(1);
    await writeFile(join(world.stateDir, "witness", `${other.name}.checkpoint`), other.note());
  }
  const anew = new FakeLog(log.key, "belay-audit-99999999").grow(1);
  world.more = keyLine(anew);
  await world.start();
  t.equal((await refusal(world, await anew.message(0))).refused?.code, "witness-full");
});

t.test("a new log is taken when agent.yaml names it, and the end of the one before is kept", async (t) => {
  const { world, log } = await witness(t);
  const anew = new FakeLog(log.key, "belay-audit-99999999").grow(1);
  await world.stop();
  world.more = keyLine(anew);
  await world.start();
  await show(world, await anew.message(0));
  await seen(world, anew.note(), anew.name);
  t.equal(await remembered(world), log.note());
  t.equal((await refusal(world, await log.message(5))).refused?.code, "log-replaced", "the one before is over");
  await world.stop();
  const print = (...more: string[]) =>
    execFileSync(process.execPath, [AGENT_BIN, "checkpoint", "--config", world.configFile, ...more], {
      encoding: "utf8",
      env: { PATH: process.env.PATH },
      stdio: "pipe",
    });
  await writeFile(world.configFile, world.config());
  t.equal(print(), anew.note());
  t.equal(print("--all"), `${log.note()}\n${anew.note()}`);
});

t.test("belay-agent checkpoint prints the newest, as --witness reads it", async (t) => {
  const { world, log } = await witness(t);
  await world.stop();
  await writeFile(world.configFile, world.config());
  const said = execFileSync(process.execPath, [AGENT_BIN, "checkpoint", "--config", world.configFile], {
    encoding: "utf8",
    env: { PATH: process.env.PATH },
  });
  t.equal(said, log.note());
  const empty = await mkdtemp(join(tmpdir(), "belay-witness-"));
  t.teardown(() => rm(empty, { recursive: true }));
  await writeFile(world.configFile, world.config().replace(world.stateDir, empty));
  t.throws(
    () => execFileSync(process.execPath, [AGENT_BIN, "checkpoint", "--config", world.configFile], { stdio: "pipe" }),
    /seen no checkpoint/,
  );
});

t.test("what the tests show is what the proof says", async (t) => {
  const log = new FakeLog().grow(9);
  const { proof } = await log.message(5);
  const at = (size: number) => ({ size, root: new MerkleTree(log.leaves.slice(0, size)).root });
  t.ok(
    isConsistent(
      at(5),
      at(9),
      proof.map((hash) => Buffer.from(hash, "base64")),
    ),
  );
});
