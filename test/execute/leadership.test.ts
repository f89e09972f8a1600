import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NewEntry } from "@belay/controller/audit/entry";
import { Leadership } from "@belay/controller/execute/leadership";
import { LeaseStore } from "@belay/controller/store/leases";
import { openSqlite } from "@belay/controller/store/sqlite";
import { pino } from "pino";
import t, { type Test } from "tap";

const silent = pino({ level: "silent" });

/** A database whose belayd has given out `fence` numbers, and the audit entries of the one that leads now. */
async function scene(t: Test) {
  const dir = await mkdtemp(join(tmpdir(), "belay-leadership-"));
  const store = openSqlite(dir);
  t.teardown(async () => {
    await store.close();
    await rm(dir, { recursive: true });
  });
  const leases = new LeaseStore(store);
  const said: NewEntry[] = [];
  const audit = { append: async (entry: NewEntry) => void said.push(entry) };
  const begin = () => Leadership.begin(leases, audit, silent);
  const take = (fence: number) =>
    leases.acquire({
      run: `run-${fence}`,
      clusters: [`c${fence}`],
      owner: "me",
      now: 0,
      ttlMs: 1_000,
      ownersAreDead: true,
    });
  return { leases, said, begin, take };
}

t.test("I13: hosts that know this belayd, an earlier start of it, or one that did not say are led on", async (t) => {
  const { begin, take, said } = await scene(t);
  const earlier = await begin();
  await take(1);
  await take(2);
  const now = await begin();
  now.meet("a", {});
  now.meet("b", { lease: { fence: 2, line: earlier.line } });
  now.meet("c", { lease: { fence: 1, line: now.line } });
  now.meet("d", { lease: { fence: 2, line: null } });
  for (const host of ["a", "b", "c", "d"]) t.ok(now.leads(host), host);
  t.doesNotThrow(() => now.mustLead({ a: 1, b: 1 }));
  t.same(said, []);
});

t.test("I13: a number that is not from here, or a belayd that is not, ends what concerns that host", async (t) => {
  const { begin, take, said } = await scene(t);
  await take(1);
  const now = await begin();
  now.meet("ahead", { lease: { fence: 2, line: null } });
  now.meet("strange", { lease: { fence: 1, line: "00000000000000ff" } });
  now.meet("fine", { lease: { fence: 1, line: now.line } });
  t.same(
    ["ahead", "strange", "fine"].map((host) => now.leads(host)),
    [false, false, true],
  );
  t.notOk(now.leadsAll({ fine: 1, ahead: 1 }));
  t.ok(now.leadsAll({ fine: 1 }), "one host's word stops nobody else");
  t.throws(() => now.mustLead({ ahead: 1 }), { code: "superseded", message: /ahead has taken steps under lease 2/ });
  now.meet("ahead", { lease: { fence: 1, line: now.line } });
  t.notOk(now.leads("ahead"), "nor does it come to nothing by another word");
  t.same(
    said.map(({ action, about }) => [action, about.host, about.fence]),
    [
      ["belayd-superseded", "ahead", 2],
      ["belayd-superseded", "strange", 1],
    ],
  );
});

t.test("I13: what our own key has signed, and our log does not hold, ends everything", async (t) => {
  const { begin, said } = await scene(t);
  const now = await begin();
  now.outdone("w", 40);
  now.outdone("w", 41);
  t.notOk(now.leads("any"));
  t.notOk(now.leadsAll({}));
  t.throws(() => now.mustLead({ any: 1 }), { code: "superseded", message: /w holds 40 entries/ });
  t.equal(said.length, 1);
});

t.test("a raised fence answers for what hosts know, and what follows is higher", async (t) => {
  const { begin, take, leases } = await scene(t);
  await take(1);
  await leases.raise(57);
  await leases.raise(20);
  const now = await begin();
  now.meet("a", { lease: { fence: 57, line: "00000000000000ff" } });
  t.ok(now.leads("a"));
  now.meet("b", { lease: { fence: 58, line: "00000000000000ff" } });
  t.notOk(now.leads("b"));
  t.equal((await take(2)).fence, 58);
});
