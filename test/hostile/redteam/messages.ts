import { createHash, generateKeyPairSync } from "node:crypto";
import { canonicalJson, type Op, type SignedStatement, type Step, signCheckpoint, verifierOf } from "@belay/shared";
import fc from "fast-check";
import { altered, bent, type Json } from "../support/mutate.js";
import { welcome } from "./line.js";
import { HARMLESS_STEPS, type Loot, probeOf, type Spoils } from "./loot.js";

/** One frame as a stolen belayd sends it, and what kind of attack it is. */
export interface Attack {
  readonly name: string;
  readonly frame: string;
}

/** What is tried in place of any text: paths that lead out, names that are more than names. */
const tricks = (dir: string): readonly string[] => [
  "..",
  "../../etc/shadow",
  `${dir}/srv/../etc`,
  `${dir}/srv/way-out`,
  `${dir}/srv/way-out/hooks.d/drain`,
  `${dir}//srv//..//etc//shadow`,
  `${dir}/srv/versions/../../etc/approvers`,
  `${dir}/etc/approvers`,
  `${dir}/state`,
  `${dir}/state/journal`,
  `${dir}/srv/bin`,
  `${dir}/srv/bin/tool`,
  "/",
  "/etc/shadow",
  "/proc/self/cwd",
  "/proc/self/root/etc",
  "/proc/self/environ",
  "/dev/stdin",
  "/etc/passwd\0.tar.gz",
  "\u202e/etc",
  "/ｅｔｃ/shadow",
  "~root/.ssh/authorized_keys",
  "$(touch /tmp/x)",
  "`id`",
  "; rm -rf /",
  "| sh",
  "--config=/etc/shadow",
  "-oProxyCommand=id",
  "file:///etc/shadow",
  "http://169.254.169.254/latest/meta-data",
  "http://10.0.0.1:80/",
  "http://127.0.0.1@evil.example/",
  "http://127.0.0.1.evil.example/",
  "http://[::ffff:10.0.0.1]/",
  "https://evil.example/",
  "@run@",
  "__proto__",
  "constructor",
  "belay-agent",
  "tidy",
  "svc",
  "5.0.0",
  "6.0.0",
  "",
  "x".repeat(5000),
];

const numbers: readonly unknown[] = [
  0,
  -1,
  -0,
  1.5,
  1e308,
  2 ** 31,
  2 ** 53,
  2 ** 64,
  -(2 ** 53),
  null,
  "1",
  true,
  [],
  {},
];

/** Unlisted types, and those of the other direction: none of them may be more than a broken connection (CVE-2020-11651). */
const TYPES = [
  "exec",
  "run",
  "shell",
  "_prep_auth_info",
  "_send_pub",
  "hello",
  "facts",
  "outcome",
  "__proto__",
  "toString",
  "",
];

export function attacks(loot: Loot, dir: string): fc.Arbitrary<Attack> {
  const trick = fc.constantFrom(...tricks(dir));
  const spoils = fc.constantFrom(...loot.all);
  const approval = spoils.chain(({ approvals }) => fc.constantFrom(...approvals));
  /** A step of the host's own or another's, with the approvals that there are for it. */
  const stolen = spoils.chain((each) => fc.nat(each.plan.steps.length - 1).map((at) => stepOf(each, at)));
  const named = (name: string, arbitrary: fc.Arbitrary<unknown>): fc.Arbitrary<Attack> =>
    arbitrary.map((said) => ({ name, frame: typeof said === "string" ? said : JSON.stringify(said) }));
  const anyOp = fc.constantFrom(...loot.ops);
  const changed = (value: fc.Arbitrary<unknown>) =>
    fc
      .tuple(value, fc.nat(), trick, fc.constantFrom(...numbers))
      .map(([json, at, text, number]) => altered(json, at, text, number));
  const { plan: noops, approvals: enough } = loot.harmless;
  const approved = fc
    .tuple(fc.nat(HARMLESS_STEPS - 1), fc.integer({ min: 1, max: 9 }))
    .map(([at, attempt]) => noops.step(at, enough, { attempt }));
  const sameId = (step: Step, more: Partial<Step>): Step => ({ ...step, ...more });
  const bare = fc
    .tuple(anyOp, fc.uuid(), fc.boolean(), fc.nat(20))
    .map(([op, id, check, deadline]): Step => unproven(op, id, check, deadline + 1));
  const words = ["type", "step", "op", "kind", "proof", "leaf", "check", "__proto__"];
  return fc.oneof(
    named("short of one approval, or of a gate's, or out of order", stolen),
    named(
      "another's approvals",
      fc.tuple(stolen, fc.array(approval, { maxLength: 5 })).map(([step, approvals]) => withProof(step, { approvals })),
    ),
    named(
      "another plan's place",
      fc
        .tuple(stolen, stolen)
        .map(([step, other]) => withProof(step, { ...other.proof, approvals: step.proof?.approvals ?? [] })),
    ),
    named(
      "replayed",
      fc
        .tuple(fc.nat(3), fc.integer({ min: 1, max: 999 }))
        .map(([, attempt]) => loot.done.plan.step(0, loot.done.approvals, { attempt })),
    ),
    named(
      "replayed with another op, or as another step",
      fc.tuple(anyOp, fc.integer({ min: 1, max: 99 }), trick, fc.boolean()).map(([op, attempt, text, asAnother]) => {
        const step = loot.done.plan.step(0, loot.done.approvals, { attempt: attempt + 1000 });
        return asAnother ? { ...step, step: `${text}/${step.step}` } : { ...step, op };
      }),
    ),
    named(
      "another op than was approved",
      fc.tuple(stolen, anyOp).map(([step, op]) => sameId(step, { op })),
    ),
    named(
      "an approved one, turned into another",
      fc.tuple(approved, anyOp, fc.boolean()).map(([step, op, check]) => sameId(step, { op, check })),
    ),
    named("an approved one, altered in one place", changed(approved)),
    named(
      "another host's, for this one",
      fc.tuple(stolen, fc.constantFrom("host-1", "host-2")).map(([step, host]) => forHost(step, host)),
    ),
    named(
      "altered by a bit",
      fc.tuple(stolen, fc.nat(), fc.nat(7)).map(([step, at, bit]) => bent(JSON.stringify(step), at, bit)),
    ),
    named("altered in one place", changed(stolen)),
    named(
      "a statement told otherwise",
      fc.tuple(stolen, fc.nat(), trick).map(([step, at, text]) => restated(step, at, text)),
    ),
    named(
      "a statement made up",
      fc.tuple(stolen, fc.nat(), approval).map(([step, at, { signature }]) => madeUp(step, at, signature)),
    ),
    named("nobody's approval", bare),
    named("nobody's approval, and paths that lead out", changed(changed(bare))),
    named(
      "looks that would do more",
      fc.tuple(lures(dir), bare).map(([probe, step]) => ({ ...step, check: false, op: lured(step, probe) })),
    ),
    named(
      "looks that would do more, altered",
      changed(fc.tuple(lures(dir), bare).map(([probe, step]) => ({ ...step, op: lured(step, probe) }))),
    ),
    named(
      "numbers out of range",
      fc
        .tuple(stolen, fc.constantFrom(...numbers), fc.constantFrom("fence", "deadlineMs", "step", "check"))
        .map(([step, number, key]) => ({ ...step, [key]: number })),
    ),
    named(
      "unlisted types of messages",
      fc.tuple(fc.constantFrom(...TYPES), fc.jsonValue(), bare).map(([type, more, step]) => ({ ...step, more, type })),
    ),
    named(
      "unlisted ops",
      fc
        .tuple(bare, trick, fc.jsonValue())
        .map(([step, kind, args]) => ({ ...step, op: { kind, args, argv: ["/bin/sh", "-c", "id"] } })),
    ),
    named(
      "no messages",
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.constantFrom(...words).map((word) => `{"${word}":`.repeat(200)),
      ),
    ),
    named(
      "the same key twice",
      fc
        .tuple(bare, anyOp)
        .map(([step, op]) => JSON.stringify(step).replace(/}$/, `,"op":${JSON.stringify(op)},"check":false}`)),
    ),
    named(
      "acknowledgements",
      fc.tuple(trick, stolen).map(([text, { step }]) => ({ type: "ack", step: text.length % 2 === 0 ? step : text })),
    ),
    named(
      "checkpoints of other logs",
      fc
        .tuple(trick, fc.nat(100), fc.boolean(), fc.nat())
        .map(([origin, size, own, at]) => checkpoint(origin, size, own, at)),
    ),
    named(
      "words of trust",
      fc.array(trick, { maxLength: 3 }).map((certificates) => ({
        type: "authorities",
        certificates,
        issuing: "ab".repeat(32),
        vouch: { at: 1, signature: "AAAA" },
      })),
    ),
    named(
      "a second welcome",
      lures(dir).map((probe) => welcome(probe)),
    ),
  );
}

/** Greetings on a new connection: half of them would have the agent look where it must not. */
export function greetings(dir: string): fc.Arbitrary<string> {
  const trick = fc.constantFrom(...tricks(dir));
  const plain = fc.option(fc.oneof(fc.constant(probeOf(dir)), lures(dir))).map((probe) => welcome(probe));
  const odd = fc.tuple(plain, fc.nat(), trick).map(([json, at, text]) => altered(json, at, text, 100));
  return fc.oneof(plain, odd).map((said) => JSON.stringify(said));
}

/** What an agent may be told to look at before anybody approved anything. */
function lures(dir: string): fc.Arbitrary<Json> {
  const trick = fc.constantFrom(...tricks(dir));
  const url = fc.oneof(trick, fc.constantFrom("http://10.0.0.1/", "http://127.0.0.1:3000/x", "https://evil.example/"));
  const path = fc.oneof(trick, fc.constantFrom(`${dir}/srv/bin`, `${dir}/srv/versions`, `${dir}/srv/current`));
  const check = fc.oneof(
    fc.record({ kind: fc.constant("command"), command: fc.constant("tidy"), timeoutMs: fc.constant(1) }),
    fc.record({ kind: fc.constant("http"), url, status: fc.constant(200), timeoutMs: fc.constant(1) }),
    fc.record({ kind: fc.constant("metric"), url, metric: trick, equals: fc.constant(1), timeoutMs: fc.constant(1) }),
    fc.record({
      kind: fc.constant("tcp"),
      host: fc.constantFrom("10.0.0.1", "evil.example", "::1", "127.0.0.1"),
      port: fc.constantFrom(1, 9),
      timeoutMs: fc.constant(1),
    }),
  );
  const program = fc.oneof(
    path,
    fc.constantFrom(`${dir}/srv/current/tool`, `${dir}/srv/current/svc`, `${dir}/srv/current/../bin/tool`),
  );
  const entry = fc.record({
    dir: path,
    programs: fc.constantFrom(["tool"], ["svc"], ["state"]),
    below: fc.constantFrom("", "bin"),
  });
  const banner = fc.record({ program, editions: fc.constant([]), fips: fc.constant("fips") });
  return fc.record(
    {
      service: fc.constantFrom("svc", "belay-agent"),
      versionsDir: fc.oneof(
        { weight: 3, arbitrary: fc.constant(`${dir}/srv/versions`) },
        { weight: 1, arbitrary: path },
      ),
      link: fc.oneof({ weight: 3, arbitrary: fc.constant(`${dir}/srv/current`) }, { weight: 1, arbitrary: path }),
      version: fc
        .array(fc.record({ kind: fc.constantFrom("http-json", "metric-label"), url, pointer: fc.constant("/v") }), {
          maxLength: 2,
        })
        .map((all) =>
          all.map(({ kind, url, pointer }) =>
            kind === "http-json" ? { kind, url, pointer } : { kind, url, metric: "m", label: "l" },
          ),
        ),
      checks: fc.array(check, { maxLength: 2 }),
      disks: fc.array(path, { maxLength: 1 }),
      entry: fc.option(entry, { nil: undefined }),
      banner: fc.option(banner, { nil: undefined }),
    },
    { noNullPrototype: true },
  );
}

const keyOfLog = generateKeyPairSync("ed25519").privateKey;

/** Signed well, by a key that the thief has, for a log that may be called like a file somewhere else. */
function checkpoint(text: string, size: number, own: boolean, at: number): unknown {
  const origin = own ? `log-${at % 40}` : text;
  const root = createHash("sha256").update(String(at)).digest();
  const note = signCheckpoint({ origin, size, root, nextKey: null }, [keyOfLog]);
  const { name, hash, key } = verifierOf(origin, keyOfLog);
  const line = `${name}+${hash.toString("hex")}+${Buffer.concat([Buffer.of(1), key]).toString("base64")}`;
  return { type: "checkpoint", note, key: line, from: at % 3, proof: at % 2 === 0 ? [] : [root.toString("base64")] };
}

function lured(step: Step, probe: Json): unknown {
  const kinds: unknown[] = [
    { kind: "facts", probe },
    { kind: "preflight", probe, expect: null, needs: [], healthy: false },
    { kind: "health", probe, expect: null, settleMs: 1, timeoutMs: 1 },
    { ...step.op, probe },
  ];
  return kinds[step.deadlineMs % kinds.length];
}

function stepOf({ plan, approvals }: Spoils, at: number): Step {
  const gate = plan.leaves[at]?.gate;
  const fitting = approvals.filter(({ statement }) => statement.includes(`"gate":"${gate}"`));
  return plan.step(at, fitting.length > 0 ? fitting : approvals.slice(0, 4));
}

export function unproven(op: Op, id: string, check = false, deadlineMs = 50): Step {
  return { type: "step", step: `look/${id}`, fence: 1, check, deadlineMs, op };
}

function withProof(step: Step, more: Partial<Step["proof"]> & object): unknown {
  return { ...step, proof: { ...step.proof, ...more } };
}

function forHost(step: Step, host: string): unknown {
  const leaf = { ...step.proof?.leaf, host };
  return { ...(withProof(step, { leaf } as never) as Json), step: step.step.replace(/host-[12]/, host) };
}

function restated(step: Step, at: number, text: string): unknown {
  const approvals = (step.proof?.approvals ?? []).map(({ statement, signature }) => {
    const said = altered(JSON.parse(statement), at, text, Date.now() + 1000) as Json;
    return { statement: at % 2 === 0 ? canonicalJson(said) : ` ${statement}`, signature };
  });
  return withProof(step, { approvals });
}

/** The statement that would be needed, under a signature that was made for another. */
function madeUp(step: Step, at: number, signature: string): unknown {
  const approvals: SignedStatement[] = (step.proof?.approvals ?? []).map(({ statement, signature: own }) => {
    const said = JSON.parse(statement) as Json;
    const now = Date.now();
    const needed = {
      ...said,
      fleet: "acme",
      run: step.step.split("/")[0],
      gate: step.proof?.leaf.gate,
      at: now - 1000,
      expires: now + 1_000_000,
    };
    return { statement: canonicalJson(needed), signature: at % 2 === 0 ? signature : own };
  });
  return withProof(step, { approvals: [...approvals, ...approvals] });
}
