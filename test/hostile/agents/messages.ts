import type { HostFacts } from "@belay/shared";
import fc from "fast-check";
import { altered, bent, type Json } from "../support/mutate.js";

export interface Said {
  readonly name: string;
  readonly frame: string | Buffer;
}

const TEXTS = [
  "__proto__",
  "constructor",
  "toString",
  "node-1",
  "auth-1",
  "evil-1",
  "../../etc",
  "\u0000",
  "\ud800",
  "💥".repeat(50),
  "x".repeat(100_000),
  "",
];
const NUMBERS: readonly unknown[] = [0, -1, 1.5, 1e308, 2 ** 53, 2 ** 64, null, "1", true, [], {}];
const TYPES = ["welcome", "step", "ack", "refused", "exec", "__proto__", "constructor", "hasOwnProperty", ""];

/** What a stolen agent says: each kind of message, its own and others', true and not, whole and not. */
export function agentMessages(me: string, run: string): fc.Arbitrary<Said> {
  const host = fc.constantFrom(me, "node-1", "auth-1", "nobody", "__proto__", "constructor");
  const step = fc
    .tuple(
      fc.constantFrom("hop-1.main.auth", "hop-1.main.node", "hop-1.main.prepare", "hop-1.main.backup"),
      host,
      fc.nat(9),
      fc.integer({ min: 1, max: 2 }),
    )
    .map(([stage, name, index, attempt]) => `${run}/${stage}/${name}/${index}/${attempt}`);
  const outcome = fc.oneof(
    fc.record({ status: fc.constant("done"), changed: fc.boolean(), result: fc.jsonValue() }),
    fc.constant({ status: "failed", retryable: false, error: { code: "evil", message: "x".repeat(4000) } }),
    fc.constant({ status: "reverted", error: { code: "evil", message: "no" } }),
  );
  const facts = host.map((name) => ({ type: "facts", facts: factsOf(name) }));
  const outcomes = fc
    .tuple(step, outcome)
    .map(([id, said]) => ({ type: "outcome", step: id, outcome: said, startedAt: 1, endedAt: 2 }));
  const progress = step.map((id) => ({
    type: "progress",
    step: id,
    note: "n".repeat(512),
    done: 1,
    total: 2,
    unit: "bytes",
  }));
  const hello = fc.tuple(host, fc.array(step, { maxLength: 50 })).map(([name, open]) => ({
    type: "hello",
    protocol: 2,
    host: name,
    agentVersion: "0.1.0",
    journal: "0f0f0f0f",
    open,
  }));
  const any = fc.oneof(
    facts,
    outcomes,
    progress,
    hello,
    step.map((id) => ({ type: "accepted", step: id })),
    fc.array(fc.constant("ab".repeat(32)), { maxLength: 20 }).map((authorities) => ({ type: "trusts", authorities })),
  );
  const text = fc.constantFrom(...TEXTS);
  const changed = fc
    .tuple(any, fc.nat(), text, fc.constantFrom(...NUMBERS))
    .map(([said, at, word, number]) => altered(said, at, word, number));
  const named = (name: string, arbitrary: fc.Arbitrary<unknown>): fc.Arbitrary<Said> =>
    arbitrary.map((said) => ({
      name,
      frame: typeof said === "string" || Buffer.isBuffer(said) ? said : JSON.stringify(said),
    }));
  return fc.oneof(
    named("facts, its own and others'", facts),
    named("outcomes of its own steps and of others'", outcomes),
    named("progress", progress),
    named("a second hello", hello),
    named("altered in one place", changed),
    named(
      "altered in three places",
      fc
        .tuple(changed, fc.nat(), fc.nat(), text)
        .map(([said, a, b, word]) => altered(altered(said, a, word, -1), b, word, {})),
    ),
    named(
      "altered by a bit",
      fc.tuple(any, fc.nat(), fc.nat(7)).map(([said, at, bit]) => bent(JSON.stringify(said), at, bit)),
    ),
    named(
      "cut",
      fc.tuple(any, fc.nat()).map(([said, at]) => JSON.stringify(said).slice(0, at % 200)),
    ),
    named(
      "of the other direction, or of none",
      fc.tuple(any, fc.constantFrom(...TYPES)).map(([said, type]) => ({ ...(said as Json), type })),
    ),
    named(
      "names of prototypes",
      fc
        .tuple(any, fc.constantFrom("__proto__", "constructor", "prototype"))
        .map(([said, key]) => JSON.stringify(said).replace(/^\{/, `{"${key}":{"polluted":true,"type":"hello"},`)),
    ),
    named(
      "the same key twice",
      fc
        .tuple(any, any)
        .map(([said, other]) => JSON.stringify(said).replace(/\}$/, `,${JSON.stringify(other).slice(1)}`)),
    ),
    named(
      "deeply nested",
      fc
        .tuple(fc.constantFrom(100, 5_000, 100_000), step)
        .map(
          ([depth, id]) =>
            `{"type":"outcome","step":"${id}","startedAt":1,"endedAt":2,"outcome":{"status":"done","changed":true,"result":${"[".repeat(depth)}${"]".repeat(depth)}}}`,
        ),
    ),
    named(
      "long",
      fc
        .tuple(any, fc.constantFrom(10_000, 60_000))
        .map(([said, length]) => ({ ...(said as Json), more: "m".repeat(length) })),
    ),
    named("no JSON", fc.oneof(fc.string(), fc.json(), fc.constantFrom("null", "[]", "0", '""', "{}", "{"))),
    named(
      "binary",
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    ),
  );
}

export function factsOf(host: string): HostFacts {
  return {
    host,
    at: 1,
    agentVersion: "6.6.6",
    os: "linux",
    arch: "amd64",
    edition: "oss",
    fips: false,
    installed: "6.6.6",
    running: "6.6.6",
    kept: [],
    service: { name: "teleport", state: "stopped", pid: null, restarts: 0 },
    healthy: false,
    ailments: ["evil"],
    disks: [],
  };
}
