import { chooseProtocol, marked, offerProtocols, protocolNamed, schemaAt, valueAt } from "@belay/shared";
import t from "tap";
import Type from "typebox";
import { Compile } from "typebox/compile";

const closed = { additionalProperties: false } as const;
const Again = Type.String({ maxLength: 8 });
const Message = Type.Object(
  {
    name: Type.String(),
    must: Type.Optional(Type.Number({ since: 2 })),
    nice: Type.Optional(Type.String({ since: 2, spare: true })),
    again: Type.Optional(marked(Again, { since: 2, default: "" })),
    off: Type.Optional(Type.Boolean({ since: 3, default: false })),
    parts: Type.Array(
      Type.Union([
        Type.Object({ kind: Type.Literal("old"), more: Type.Optional(Type.String({ since: 2, spare: true })) }, closed),
        Type.Object({ kind: Type.Literal("new"), more: Type.String() }, { ...closed, since: 2 }),
      ]),
    ),
  },
  closed,
);

const fits = (value: unknown, protocol: number) => Compile(schemaAt(Message, protocol)).Check(value);

t.test("an older version of a schema knows nothing of what came later", async (t) => {
  const first = { name: "a", parts: [{ kind: "old" }] };
  for (const protocol of [1, 2, 3]) t.ok(fits(first, protocol));
  for (const [member, since] of [
    [{ must: 1 }, 2],
    [{ nice: "x" }, 2],
    [{ again: "x" }, 2],
    [{ off: true }, 3],
    [{ parts: [{ kind: "new", more: "x" }] }, 2],
    [{ parts: [{ kind: "old", more: "x" }] }, 2],
  ] as const) {
    t.notOk(fits({ ...first, ...member }, since - 1), JSON.stringify(member));
    t.ok(fits({ ...first, ...member }, since), JSON.stringify(member));
  }
});

t.test("what an older peer does right without is left out for it, and nothing else is", async (t) => {
  const light = (value: unknown, protocol: number) => valueAt(Message, value, protocol);
  const part = { kind: "old", more: "x" };
  t.same(light({ name: "a", nice: "x", again: "", off: false, parts: [part] }, 1), {
    name: "a",
    parts: [{ kind: "old" }],
  });
  t.same(light({ name: "a", nice: "x", off: false, parts: [part] }, 2), { name: "a", nice: "x", parts: [part] });
  const needed = { name: "a", must: 1, off: true, parts: [{ kind: "new", more: "x" }] };
  t.same(light(needed, 1), needed, "its absence would mean something else");
  t.notOk(fits(needed, 1), "so that it doesn't go out");
});

t.test("both ends speak the newest version that both know", async (t) => {
  const range = (oldest: number, newest: number) => ({ oldest, newest });
  const meet = (agent: [number, number], belayd: [number, number]) =>
    chooseProtocol(offerProtocols(range(...agent)), range(...belayd));
  t.equal(meet([1, 2], [1, 2]), 2);
  t.equal(meet([1, 1], [1, 2]), 1);
  t.equal(meet([1, 3], [1, 2]), 2);
  t.equal(meet([2, 3], [1, 2]), 2);
  t.equal(meet([3, 4], [1, 2]), null);
  t.equal(chooseProtocol([], range(1, 2)), 1, "who offers nothing is of protocol 1");
  t.equal(chooseProtocol([], range(2, 3)), null);
  t.equal(chooseProtocol(["chat", "belay.x", "belay.2"], range(1, 2)), 2);
  t.equal(offerProtocols(range(1, 3))[0], "belay.1", "the first is what a belayd of protocol 1 answers with");
  t.same(["belay.2", "", "belay.0", "belay.-1", "chat"].map(protocolNamed), [2, 1, null, null, null]);
});
