import { readFileSync } from "node:fs";
import {
  AgentMessage,
  ControllerMessage,
  decodeAgentMessage,
  decodeControllerMessage,
  encode,
  Op,
  PROTOCOL,
  schemaAt,
} from "@belay/shared";
import t from "tap";

/**
 * Frames as the builds of protocol 1 really sent them, recorded from runs with gates, failures, reverts and rollbacks: one
 * of each shape. Only their folders' names were changed. They are never edited: what no longer fits them breaks a promise.
 */
const sides = [
  { side: "agent", decode: decodeAgentMessage, messages: AgentMessage },
  { side: "controller", decode: decodeControllerMessage, messages: ControllerMessage },
] as const;

for (const { side, decode, messages } of sides) {
  const frames = readFileSync(new URL(`frames/v1/${side}.jsonl`, import.meta.url), "utf8")
    .trimEnd()
    .split("\n");

  t.test(`what a ${side} of protocol 1 says is understood, and said again to the byte`, async (t) => {
    for (const frame of frames) {
      const message = decode(frame, 1);
      t.equal(encode(message, 1), frame);
      t.same(decode(frame), message, "nothing of it means anything else today");
    }
  });

  t.test(`the frames of a ${side} are of every kind that protocol 1 had`, async (t) => {
    const seen = new Set(frames.map((frame) => decode(frame, 1).type));
    const first = messages.anyOf.filter((message) => !("since" in message));
    t.same([...seen].sort(), first.map(({ properties }) => properties.type.const).sort());
  });
}

t.test("the steps are of every kind that protocol 1 had", async (t) => {
  const text = readFileSync(new URL("frames/v1/controller.jsonl", import.meta.url), "utf8");
  const ops = new Set([...text.matchAll(/"op":\{"kind":"([a-z-]+)"/g)].map(([, kind]) => kind));
  const first = Op.anyOf.filter((op) => !("since" in op)).map(({ properties }) => properties.kind.const);
  t.same([...ops].sort(), first.sort());
});

t.test("protocol 1 is what it was, to the last limit", async (t) => {
  const text = readFileSync(new URL("frames/v1/schema.json", import.meta.url), "utf8");
  const first = { agent: schemaAt(AgentMessage, 1), controller: schemaAt(ControllerMessage, 1) };
  t.same(JSON.parse(JSON.stringify(first)), JSON.parse(text), "new members carry `since`; see shared/src/since.ts");
});

interface Node {
  readonly since?: number;
  readonly spare?: boolean;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
}

/** Every node of a schema that came after protocol 1, with where it stands and whether it must be there. */
function* later(node: Node, at: string): Generator<{ at: string; node: Node; required: boolean }> {
  for (const [name, member] of Object.entries(node.properties ?? {})) {
    const required = node.required?.includes(name) ?? false;
    if (member.since !== undefined) yield { at: `${at}/${name}`, node: member, required };
    yield* later(member, `${at}/${name}`);
  }
  for (const [index, member] of (node.anyOf ?? []).entries()) {
    if (member.since !== undefined) yield { at: `${at}/${index}`, node: member, required: false };
    else yield* later(member, `${at}/${index}`);
  }
  if (node.items !== undefined) yield* later(node.items, `${at}/*`);
}

t.test("what came later is optional, and of a version that this build speaks", async (t) => {
  for (const messages of [AgentMessage, ControllerMessage]) {
    for (const { at, node, required } of later(messages as Node, "")) {
      t.notOk(required, `${at} is new in protocol ${node.since}: an older peer can't know that it must say it`);
      t.ok(Number(node.since) > 1 && Number(node.since) <= PROTOCOL.newest, `${at} is new in protocol ${node.since}`);
    }
  }
});

t.test("an agent can say all it has to say to an older belayd too", async (t) => {
  for (const { at, node } of later(AgentMessage as Node, "")) {
    t.ok(node.spare, `${at} has no words in protocol ${Number(node.since) - 1}: mark it spare, or find it some`);
  }
  t.ok(AgentMessage.anyOf.length > 0);
});
