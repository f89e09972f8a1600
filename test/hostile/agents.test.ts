import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t, { type Test } from "tap";
import { PATIENCE_MS, Scene } from "../e2e/scene.js";
import { agentMessages } from "./agents/messages.js";
import { RAW_ATTACKS, RawSocket, upgradeRequest } from "./agents/raw.js";

const COUNT = Number(process.env.BELAY_HOSTILE_AGENTS_COUNT ?? 100_000);
const SEED = Number(process.env.BELAY_HOSTILE_AGENTS_SEED ?? Date.now() % 2 ** 31);
const MAX_GROWTH_BYTES = 100 * 1024 * 1024;
/** Identities that a thief has: enough for each to stay below what one may say in a second. */
const STOLEN = 24;
const PER_CONNECTION = 25;
const AT_ONCE = 8;

t.setTimeout(2 * PATIENCE_MS);

/** belayd's own resident memory, as the kernel counts it. */
function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) * 1024;
}

class Siege {
  readonly scene: Scene;
  readonly pid: number;
  readonly tokens = new Map<string, string>();
  most = 0;
  #before = 0;
  #watching: NodeJS.Timeout | undefined;

  private constructor(scene: Scene, pid: number) {
    this.scene = scene;
    this.pid = pid;
  }

  static async begin(t: Test): Promise<Siege> {
    const scene = await Scene.open(t, {
      hosts: { "auth-1": ["auth"], "node-1": ["node"] },
      version: "5.4.2",
      releases: [{ version: "5.5.0" }],
    });
    const { pid } = scene.fleet.belayd;
    if (pid === null) throw new Error("belayd doesn't run");
    const siege = new Siege(scene, pid);
    for (let n = 1; n <= STOLEN; n += 1) siege.tokens.set(`evil-${n}`, (await scene.api.token(`evil-${n}`)).token);
    siege.#before = residentBytes(pid);
    siege.#watching = setInterval(() => {
      siege.most = Math.max(siege.most, residentBytes(pid));
    }, 100);
    t.teardown(() => clearInterval(siege.#watching));
    return siege;
  }

  get growth(): number {
    return this.most - this.#before;
  }

  async dial(host: string): Promise<RawSocket> {
    return RawSocket.open(this.scene.api.address, this.tokens.get(host) ?? "a-token-that-nobody-gave");
  }
}

function helloOf(host: string): string {
  return JSON.stringify({ type: "hello", protocol: 2, host, agentVersion: "6.6.6", journal: "0f0f0f0f", open: [] });
}

t.test("hostile agents: belayd goes on, and so does every agent beside them", async (t) => {
  const siege = await Siege.begin(t);
  const { scene } = siege;
  t.comment(`seed ${SEED}, ${COUNT} messages`);
  const run = await scene.start("5.5.0");
  let isOver = false;
  const led = scene.leadToEnd(run).finally(() => {
    isOver = true;
  });

  const names = [...siege.tokens.keys()];
  const sent = new Map<string, number>();
  let count = 0;
  let connection = 0;
  const attack = async () => {
    while (count < COUNT) {
      connection += 1;
      const me = names[connection % names.length] ?? "";
      const said = fc.sample(agentMessages(me, run), { numRuns: PER_CONNECTION, seed: SEED + connection });
      count += said.length;
      const raw = await siege.dial(me);
      raw.say(helloOf(connection % 10 === 0 ? "node-1" : me));
      for (const { name, frame } of said) {
        raw.frame(frame, { opcode: Buffer.isBuffer(frame) ? 2 : 1 });
        sent.set(name, (sent.get(name) ?? 0) + 1);
      }
      raw.socket.resume();
      await raw.flushed();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, attack));
  t.ok(count >= COUNT, `${count} messages on ${connection} connections`);
  for (const [name, times] of sent) t.ok(times > COUNT / 100, `${times} times: ${name}`);
  t.comment(`the upgrade beside them ${isOver ? "ended before the last message" : "goes on"}`);

  t.match(await led, { result: "done" }, "the honest hosts' upgrade");
  await scene.runs(t, { "auth-1": "5.5.0", "node-1": "5.5.0" });
  const ended = (await scene.events(run)).filter(({ type }) => type === "step-ended");
  t.same(
    ended.filter(({ outcome }) => (outcome as { status: string }).status !== "done"),
    [],
    "no step ended otherwise than its own host said",
  );
  await see(t, siege);
  const refused = (await scene.fleet.belayd.log()).split("agent refused").length - 1;
  t.ok(refused > COUNT / 4, `${refused} messages were heard, and refused by name`);
  t.equal(scene.fleet.belayd.pid, siege.pid);
  t.ok(scene.fleet.belayd.running, "it is the same process");
  t.ok(siege.growth <= MAX_GROWTH_BYTES, `its memory grew by ${(siege.growth / 2 ** 20).toFixed(1)} MiB at most`);
});

t.test("hostile sockets: broken frames, floods, halves, and nothing at all", async (t) => {
  const siege = await Siege.begin(t);
  const { scene } = siege;
  const names = [...siege.tokens.keys()];
  for (const [index, { name, run }] of RAW_ATTACKS.entries()) {
    const opened: RawSocket[] = [];
    for (let n = 0; n < 3; n += 1) {
      const me = names[(3 * index + n) % names.length] ?? "";
      const raw = await siege.dial(me);
      raw.say(helloOf(me));
      run(raw, helloOf(me));
      opened.push(raw);
    }
    await see(t, siege, name);
    for (const raw of opened) raw.end();
  }
  const strangers: [string, string][] = [
    ["half a request", "GET /v1/agent HTTP/1.1\r\nHost: x\r\n"],
    ["no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["headers without end", `GET /v1/agent HTTP/1.1\r\n${"x: y\r\n".repeat(20_000)}`],
    ["a token that nobody gave", upgradeRequest("a-token-that-nobody-gave")],
    ["nothing", ""],
  ];
  const left: RawSocket[] = [];
  for (const [name, text] of strangers) {
    for (let n = 0; n < 100; n += 1) {
      const raw = await RawSocket.knock(scene.api.address);
      raw.socket.write(text);
      raw.socket.resume();
      left.push(raw);
    }
    await see(t, siege, `${name}, from a hundred sockets at once`);
    for (const raw of left.splice(0)) raw.end();
  }
  t.ok(scene.fleet.belayd.running, "it is the same process");
  t.ok(siege.growth <= MAX_GROWTH_BYTES, `its memory grew by ${(siege.growth / 2 ** 20).toFixed(1)} MiB at most`);
});

/** What belayd says of the honest hosts, after what was done meanwhile, is what they say of themselves. */
async function see(t: Test, { scene }: Siege, after = "all of it"): Promise<void> {
  const seen = async () => {
    const hosts = (await scene.api.hosts()).filter(({ host }) => host === "auth-1" || host === "node-1");
    return hosts.map(({ host, present, facts }) => [host, present, facts?.host, facts?.service.name, facts?.healthy]);
  };
  const right = ["auth-1", "node-1"].map((host) => [host, true, host, "teleport", true]);
  // An honest agent that had to dial again is back within a moment; one that was thrown out for good is not.
  for (let tries = 0; tries < 100 && !isDeepStrictEqual(await seen(), right); tries += 1) await wait(100);
  t.same(await seen(), right, `after ${after}: the honest hosts are there, and as they say`);
}
