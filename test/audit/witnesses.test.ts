import { cp } from "node:fs/promises";
import type { AuditLog } from "@belay/controller/audit/log";
import { Witnesses } from "@belay/controller/audit/witnesses";
import { type Hello, isConsistent, type LogCheckpoint, readCheckpoint, type Witnessed } from "@belay/shared";
import { pino } from "pino";
import t, { type Test } from "tap";
import { entry, fill, folder, openLog } from "./scene.js";

const HELLO: Hello = { type: "hello", protocol: 2, host: "x", agentVersion: "0", journal: "12345678", open: [] };

interface Scene {
  readonly dir: string;
  readonly log: AuditLog;
  readonly witnesses: Witnesses;
  readonly broadcast: LogCheckpoint[];
  readonly sent: { host: string; message: LogCheckpoint }[];
  readonly outdone: string[];
}

async function scene(t: Test, dir?: string): Promise<Scene> {
  const place = dir ?? (await folder(t));
  const log = await openLog(place);
  t.teardown(() => log.close());
  const [broadcast, sent, outdone]: [LogCheckpoint[], Scene["sent"][number][], string[]] = [[], [], []];
  const witnesses = new Witnesses(
    log,
    {
      send: (host, message) => sent.push({ host, message }) > 0,
      broadcast: (message) => void broadcast.push(message),
    },
    (host, size) => void outdone.push(`${host} ${size}`),
    pino({ level: "silent" }),
  );
  return { dir: place, log, witnesses, broadcast, sent, outdone };
}

function hello(host: string, witnessed?: Hello["witnessed"]): Hello {
  return witnessed === undefined ? { ...HELLO, host } : { ...HELLO, host, witnessed };
}

function refusal(log: AuditLog, known: string | null): Witnessed {
  const refused = { code: "log-rewound", message: "it ends too early" };
  return { type: "witnessed", log: log.origin, size: 1, refused, known };
}

async function recorded(log: AuditLog, action: string): Promise<string[]> {
  const hosts: string[] = [];
  for await (const one of log.backwards()) if (one.action === action) hosts.push(String(one.about.host));
  return hosts;
}

t.test("a new checkpoint is one frame for all, with the proof from the one before", async (t) => {
  const { log, witnesses, broadcast, sent } = await scene(t);
  const older = log.newest.checkpoint;
  await fill(log, 300);
  await log.publish();
  await witnesses.settled();
  t.equal(broadcast.length, 1);
  t.same(sent, []);
  const [message] = broadcast;
  const newer = readCheckpoint(message?.note ?? "").checkpoint;
  t.equal(message?.from, older.size);
  const proof = (message?.proof ?? []).map((hash) => Buffer.from(hash, "base64"));
  t.ok(isConsistent(older, newer, proof));
});

t.test("whoever comes, or lacks one, gets its own proof; thousands of one size cost one", async (t) => {
  const { log, witnesses, sent } = await scene(t);
  await fill(log, 50);
  await log.publish();
  const older = log.newest.checkpoint;
  await fill(log, 50);
  await log.publish();
  for (let host = 0; host < 2_000; host += 1) {
    witnesses.met(`host-${host}`, hello(`host-${host}`, { log: log.origin, size: older.size }));
  }
  witnesses.met("new", hello("new"));
  witnesses.met("elsewhere", hello("elsewhere", { log: "belay-audit-ffffffff", size: 7 }));
  witnesses.said("asks", { type: "witnessed", log: log.origin, size: 1, refused: null, known: null });
  witnesses.said("asks", { type: "witnessed", log: log.origin, size: 1_000, refused: null, known: null });
  await witnesses.settled();
  t.equal(sent.length, 2_003);
  t.equal(new Set(sent.slice(0, 2_000).map(({ message }) => message)).size, 1, "one message, made once");
  t.same(
    sent.slice(1_999).map(({ host, message }) => [host, message.from]),
    [
      ["host-1999", older.size],
      ["new", 0],
      ["elsewhere", 0],
      ["asks", 1],
    ],
  );
});

t.test("a refusal is on record once for each host, and proves nothing but by our own signature", async (t) => {
  const { dir, log, witnesses, outdone } = await scene(t);
  const copy = await folder(t);
  await cp(dir, copy, { recursive: true });
  const elsewhere = await openLog(copy);
  t.teardown(() => elsewhere.close());
  await elsewhere.append(entry(7));
  await elsewhere.publish();
  const strange = await openLog(await folder(t));
  t.teardown(() => strange.close());
  await fill(strange, 10);
  await strange.publish();

  witnesses.said("liar", refusal(log, strange.newest.note));
  witnesses.said("liar", refusal(log, strange.newest.note));
  witnesses.said("noise", refusal(log, "no note"));
  witnesses.said("mute", refusal(log, null));
  witnesses.said("late", refusal(log, log.newest.note));
  await log.append(entry(1));
  await new Promise((resolve) => setImmediate(resolve));
  t.same(outdone, []);
  witnesses.said("ahead", refusal(log, elsewhere.newest.note));
  // Longer than the other one by now: it is the past that differs.
  await fill(log, 5);
  await log.publish();
  witnesses.said("forked", refusal(log, elsewhere.newest.note));
  while (outdone.length < 2) await new Promise((resolve) => setImmediate(resolve));
  t.same(outdone, ["ahead 2", "forked 2"]);
  // Entries get to the disk in the order in which they came.
  await log.append(entry(2));
  t.same((await recorded(log, "witness-refused")).sort(), ["ahead", "forked", "late", "liar", "mute", "noise"]);
});

t.test("a host that has seen more than there is, is on record", async (t) => {
  const { log, witnesses } = await scene(t);
  witnesses.met("ahead", hello("ahead", { log: log.origin, size: 40 }));
  witnesses.met("ahead", hello("ahead", { log: log.origin, size: 41 }));
  await log.append(entry(1));
  t.same(await recorded(log, "witness-ahead"), ["ahead"]);
});
