import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Edge } from "@belay/controller/audit/edge";
import { type AuditEntry, readEntry, writeEntry } from "@belay/controller/audit/entry";
import { logInFolder } from "@belay/controller/audit/files";
import { readBundle, tilePath, writeBundle } from "@belay/controller/audit/tiles";
import { type LogFiles, verifyLog } from "@belay/controller/audit/verify";
import {
  readCheckpoint,
  type SignedCheckpoint,
  signCheckpoint,
  type Verifier,
  verifierOf,
  writeVerifier,
} from "@belay/shared";
import fc from "fast-check";
import t from "tap";
import { entry, fill, folder, logInMemory, openLog } from "./scene.js";

const COUNT = Number(process.env.AUDIT_ATTACKS ?? 10_000);
/** It only ends what hangs. */
const PATIENCE_MS = 5 * 60_000;
t.setTimeout(PATIENCE_MS);
const ORIGIN = "belay-audit-0a1b2c3d";
const keys = generateKeyPairSync("ed25519").privateKey;
const key = verifierOf(ORIGIN, keys);

interface MadeLog {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly entries: readonly AuditEntry[];
  readonly newest: SignedCheckpoint;
}

/** A log of these entries as belayd would have laid it out, signed by this key. */
function lay(entries: readonly AuditEntry[], signer: KeyObject = keys): MadeLog {
  const edge = new Edge(0, [], []);
  const files = new Map<string, Buffer>();
  const full = entries.flatMap((one) => edge.add(writeEntry(one)));
  for (const { tile, bytes } of [...full, ...edge.partials()]) files.set(tilePath(tile), bytes);
  const root = edge.root ?? Buffer.alloc(32);
  const note = signCheckpoint({ origin: ORIGIN, size: entries.length, root, nextKey: null }, [signer]);
  files.set("checkpoint", Buffer.from(note));
  files.set("key", Buffer.from(`${writeVerifier(key)}\n`));
  return { files, entries, newest: readCheckpoint(note) };
}

function entries(count: number): AuditEntry[] {
  return Array.from({ length: count }, (_, seq) => ({ seq, at: 1_700_000_000_000 + seq * 1_000, ...entry(seq) }));
}

const SIZES = [1, 2, 7, 32, 61, 300, 513];
const logs = SIZES.map((size) => lay(entries(size)));
/** Mostly small ones: what there is to break in a log is in them, and in one of three bundles a little more. */
const WEIGHTS = [1, 2, 6, 20, 20, 2, 1];

interface Attack {
  readonly name: string;
  /** Whether the files alone give it away, or only what a witness remembers does. */
  readonly witness?: true;
  /** The attacked copy; null: there is nothing to attack here, or nothing came of it. */
  apply(log: MadeLog, pick: (below: number) => number): Map<string, Buffer> | null;
}

function paths({ files }: MadeLog): string[] {
  return [...files.keys()].filter((path) => path !== "key");
}

function bent(bytes: Buffer, pick: (below: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  const at = pick(copy.length);
  copy[at] = (copy[at] ?? 0) ^ (1 << pick(8));
  return copy;
}

const attacks: readonly Attack[] = [
  {
    name: "a bit of a file is flipped",
    apply: ({ files }, pick) => {
      const of = ["checkpoint", ...files.keys()].filter((path) => path !== "key");
      const path = of[pick(of.length)] ?? "";
      return new Map(files).set(path, bent(files.get(path) ?? Buffer.alloc(0), pick));
    },
  },
  {
    name: "a file is removed",
    apply: (log, pick) => {
      const files = new Map(log.files);
      files.delete(paths(log)[pick(paths(log).length)] ?? "");
      return files;
    },
  },
  {
    name: "a file is cut short",
    apply: (log, pick) => {
      const path = paths(log)[pick(paths(log).length)] ?? "";
      const bytes = log.files.get(path) ?? Buffer.alloc(0);
      return new Map(log.files).set(path, bytes.subarray(0, pick(bytes.length)));
    },
  },
  {
    name: "bytes are put in",
    apply: (log, pick) => {
      const path = paths(log)[pick(paths(log).length)] ?? "";
      const bytes = log.files.get(path) ?? Buffer.alloc(0);
      const at = pick(bytes.length + 1);
      const more = Buffer.from(Array.from({ length: 1 + pick(40) }, () => pick(256)));
      return new Map(log.files).set(path, Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)]));
    },
  },
  {
    name: "an entry is changed, and nothing else",
    apply: (log, pick) => {
      const seq = pick(log.entries.length);
      return withBundle(log, seq, (bundle, place) => bundle.with(place, writeEntry(changed(log, seq, pick))));
    },
  },
  {
    name: "an entry is deleted from its bundle",
    apply: (log, pick) => withBundle(log, pick(log.entries.length), (bundle, place) => bundle.toSpliced(place, 1)),
  },
  {
    name: "two entries of a bundle change places",
    apply: (log, pick) => {
      const seq = pick(log.entries.length);
      return withBundle(log, seq, (bundle, place) => {
        const other = pick(bundle.length);
        const [here, there] = [bundle[place], bundle[other]];
        return here === undefined || there === undefined ? bundle : bundle.with(place, there).with(other, here);
      });
    },
  },
  {
    name: "an entry is changed, and every hash and the root with it",
    apply: (log, pick) => {
      const seq = pick(log.entries.length);
      const forged = lay(log.entries.with(seq, changed(log, seq, pick)));
      return new Map(forged.files).set("checkpoint", checkpointOf(log));
    },
  },
  {
    name: "an entry is deleted, all that follow renumbered, every hash with them",
    apply: (log, pick) => {
      if (log.entries.length < 2) return null;
      const left = log.entries.toSpliced(pick(log.entries.length), 1).map((one, seq) => ({ ...one, seq }));
      return new Map(lay(left).files).set("checkpoint", checkpointOf(log));
    },
  },
  {
    name: "all of it is made anew, and signed by another key",
    apply: (log, pick) => {
      const seq = pick(log.entries.length);
      const signer = generateKeyPairSync("ed25519").privateKey;
      return new Map(lay(log.entries.with(seq, changed(log, seq, pick)), signer).files);
    },
  },
  {
    name: "another size is written over the signed one",
    apply: (log, pick) => {
      const size = pick(log.entries.length + 40);
      if (size === log.entries.length) return null;
      const text = checkpointOf(log).toString("utf8").replace(`\n${log.entries.length}\n`, `\n${size}\n`);
      return new Map(log.files).set("checkpoint", Buffer.from(text));
    },
  },
  {
    name: "cut back to a state that was signed earlier",
    witness: true,
    apply: (log, pick) =>
      log.entries.length < 2 ? null : new Map(lay(log.entries.slice(0, 1 + pick(log.entries.length - 1))).files),
  },
  {
    name: "forked with the real key, as long as it was or longer",
    witness: true,
    apply: (log, pick) => {
      const seq = pick(log.entries.length);
      const forged = log.entries.with(seq, changed(log, seq, pick));
      const more = entries(forged.length + pick(5)).slice(forged.length);
      return new Map(lay([...forged, ...more]).files);
    },
  },
];

function checkpointOf(log: MadeLog): Buffer {
  return log.files.get("checkpoint") ?? Buffer.alloc(0);
}

function changed(log: MadeLog, seq: number, pick: (below: number) => number): AuditEntry {
  const old = log.entries[seq] as AuditEntry;
  const ways: AuditEntry[] = [
    { ...old, who: { ...old.who, name: `mi${pick(1_000)}` } },
    { ...old, about: { ...old.about, reason: `because ${pick(1_000)}` } },
    { ...old, action: "run-abort" },
    { ...old, from: null },
  ];
  return ways[pick(ways.length)] as AuditEntry;
}

function withBundle(
  log: MadeLog,
  seq: number,
  change: (bundle: readonly Buffer[], place: number) => readonly Buffer[],
): Map<string, Buffer> | null {
  const index = Math.floor(seq / 256);
  const width = Math.min(256, log.entries.length - index * 256);
  const path = tilePath({ level: "entries", index, width });
  const bundle = readBundle(log.files.get(path) ?? Buffer.alloc(0)).entries;
  return new Map(log.files).set(path, writeBundle(change(bundle, seq - index * 256)));
}

function isSame(left: ReadonlyMap<string, Buffer>, right: ReadonlyMap<string, Buffer>): boolean {
  return left.size === right.size && [...left].every(([path, bytes]) => right.get(path)?.equals(bytes) === true);
}

async function findings(
  files: LogFiles,
  witnesses: readonly SignedCheckpoint[],
  by: Verifier = key,
): Promise<string[]> {
  return (await verifyLog(files, { key: by, witnesses })).findings.map(({ code }) => code);
}

t.test("the logs are whole before they are attacked, and witnesses bear it out", async (t) => {
  for (const log of logs) {
    const older = [1, Math.ceil(log.entries.length / 2)].map((size) => lay(log.entries.slice(0, size)).newest);
    t.same(await findings(logInMemory(log.files), [...older, log.newest]), []);
  }
});

t.test(`${COUNT} attacks on a log, every one detected`, { timeout: PATIENCE_MS }, async (t) => {
  const seed = Number(process.env.AUDIT_SEED ?? Date.now() % 2 ** 31);
  t.comment(`seed ${seed} (AUDIT_SEED), attacks ${COUNT} (AUDIT_ATTACKS)`);
  const weighted = logs.map((log, index) => ({ arbitrary: fc.constant(log), weight: WEIGHTS[index] ?? 1 }));
  const tried = new Map<string, number>();
  const property = fc.asyncProperty(
    fc.oneof(...weighted),
    fc.constantFrom(...attacks),
    fc.infiniteStream(fc.nat()),
    async (log, attack, numbers) => {
      const pick = (below: number) => (below <= 1 ? 0 : (numbers.next().value as number) % below);
      const files = attack.apply(log, pick);
      fc.pre(files !== null && !isSame(files, log.files));
      const witnesses = attack.witness ? [log.newest] : [];
      const found = await findings(logInMemory(files as Map<string, Buffer>), witnesses);
      tried.set(attack.name, (tried.get(attack.name) ?? 0) + 1);
      if (found.length === 0) throw new Error(`not detected: ${attack.name}, of ${log.entries.length} entries`);
    },
  );
  const result = await fc.check(property, { seed, numRuns: COUNT, maxSkipsPerRun: 10, endOnFailure: true });
  t.notOk(
    result.failed,
    result.failed ? `${result.errorInstance} counterexample ${result.counterexample}` : "all detected",
  );
  t.equal(tried.size, attacks.length, "every kind was tried");
  t.comment([...tried].map(([name, count]) => `${count} ${name}`).join("; "));
});

t.test("what only a witness can tell is not seen without one", async (t) => {
  const log = logs[4] as MadeLog;
  const shorter = lay(log.entries.slice(0, 40));
  t.same(await findings(logInMemory(shorter.files), []), []);
  t.same(await findings(logInMemory(shorter.files), [log.newest]), ["rewound"]);
  t.same(await findings(logInMemory(log.files), [shorter.newest]), []);
  const forged = lay(log.entries.with(3, { ...(log.entries[3] as AuditEntry), action: "run-abort" }));
  t.same(await findings(logInMemory(forged.files), []), []);
  t.same(await findings(logInMemory(forged.files), [log.newest]), ["forked"]);
  t.same(await findings(logInMemory(forged.files), [shorter.newest]), ["forked"], "also by an older one");
});

t.test("the first bad entry is named", async (t) => {
  const log = logs.at(-1) as MadeLog;
  const verdictOf = async (files: Map<string, Buffer> | null) =>
    (await verifyLog(logInMemory(files ?? new Map()), { key, witnesses: [] })).findings[0];
  const change = (seq: number) => writeEntry({ ...(log.entries[seq] as AuditEntry), action: "run-abort" });
  t.match(await verdictOf(withBundle(log, 300, (bundle, place) => bundle.with(place, change(300)))), {
    code: "entry-changed",
    entry: 300,
    message: /entry 300 /,
  });
  t.match(await verdictOf(withBundle(log, 511, (bundle, place) => bundle.toSpliced(place, 1))), {
    code: "entries-missing",
    entry: 511,
  });
  const { files } = lay(log.entries.with(300, readEntry(change(300))));
  const among = new Map(log.files);
  for (const path of ["tile/0/001", "tile/entries/001"]) among.set(path, files.get(path) as Buffer);
  t.match(await verdictOf(among), { code: "entry-among", entry: 256, message: /256 to 511/ });
});

t.test("a witness of another log, or one that nobody signed, is not taken for one of this", async (t) => {
  const log = logs[3] as MadeLog;
  const checkpoint = { size: 5, root: Buffer.alloc(32), nextKey: null };
  const other = readCheckpoint(signCheckpoint({ ...checkpoint, origin: "belay-audit-ffffffff" }, [keys]));
  const unsigned = readCheckpoint(
    signCheckpoint({ ...checkpoint, origin: ORIGIN }, [generateKeyPairSync("ed25519").privateKey]),
  );
  t.same(await findings(logInMemory(log.files), [other, unsigned]), ["witness-of-another-log", "witness-unsigned"]);
});

t.test("belayd's own folder: what is left over is looked at too", async (t) => {
  const dir = await folder(t);
  const log = await openLog(dir);
  await fill(log, 9);
  await log.publish();
  await fill(log, 9);
  await log.publish();
  await log.close();
  const audit = join(dir, "audit");
  t.match(await verifyLog(await logInFolder(audit), { key: null, witnesses: [log.newest] }), {
    findings: [],
    witnessed: 1,
    keyGiven: false,
  });
  const left = join(audit, "tile/0/000.p/10");
  await writeFile(
    left,
    bent(await readFile(left), () => 3),
  );
  t.same(await findings(await logInFolder(audit), [], verifierOf(log.origin, keys)), [
    "signature-wrong",
    "leftover-differs",
  ]);
});
