import { People } from "@belay/controller/people/people";
import { PeopleStore } from "@belay/controller/store/people";
import { openSqlite } from "@belay/controller/store/sqlite";
import { BelayError } from "@belay/shared";
import t, { type Test } from "tap";

async function open(t: Test, groups: Readonly<Record<string, readonly string[]>> = {}) {
  const sqlite = openSqlite(t.testdir());
  t.teardown(() => sqlite.close());
  let secrets = 0;
  const parts = { store: new PeopleStore(sqlite), now: () => 1_000, newSecret: () => `secret-${++secrets}`, groups };
  return People.open({ ...parts, hash: (secret) => Buffer.from(secret).toString("hex") });
}

const signedIn = (name: string, subject: string, groups: readonly string[] = []) =>
  ({ issuer: "https://idp.example", subject, name, roles: ["approver"], groups }) as const;
const ann = { name: "ann", roles: ["viewer"], groups: [] } as const;

/** `yes`, or the code of why not. */
async function outcomes(...tries: Promise<unknown>[]): Promise<string[]> {
  const settled = await Promise.allSettled(tries);
  return settled.map((one) =>
    one.status === "fulfilled" ? "yes" : one.reason instanceof BelayError ? one.reason.code : `${one.reason}`,
  );
}

t.test("of two who come for a name at once, one has it", async (t) => {
  const people = await open(t);
  t.same(await outcomes(people.create(ann, "root"), people.create({ ...ann, roles: ["admin"] }, "root")), [
    "yes",
    "user-exists",
  ]);
  t.same(people.user("ann").roles, ["viewer"]);
  t.same(await outcomes(people.signIn(signedIn("bob", "1")), people.signIn(signedIn("bob", "2"))), [
    "yes",
    "sign-in-refused",
  ]);
  t.equal(people.user("bob").subject, "1");
});

t.test("what comes while somebody is being removed does not bring them back", async (t) => {
  const people = await open(t);
  await people.create(ann, "root");
  const token = { user: "ann", name: "late", roles: null, ttlMs: 60_000 };
  const tries = outcomes(
    people.remove("ann"),
    people.change("ann", { roles: ["admin"] }),
    people.createToken(token, "root"),
    people.remove("ann"),
  );
  t.same(await tries, ["yes", "user-unknown", "user-unknown", "user-unknown"]);
  t.equal(people.find("ann"), null);
  t.same(await people.tokens("ann"), []);
});

t.test("a name that came through the identity provider has none of the groups that belayd.yaml gives it", async (t) => {
  const people = await open(t, { sre: ["ann", "bob", "root"] });
  await people.create({ ...ann, roles: ["approver"] }, "root");
  await people.signIn(signedIn("bob", "1", ["ops"]));
  t.same(people.groupsOf("ann"), ["sre"]);
  t.same(people.groupsOf("bob"), ["ops"]);
  t.same([people.mayApprove("ann", "sre"), people.mayApprove("bob", "sre")], [true, false]);
  await people.remove("bob");
  await people.create({ ...ann, name: "bob" }, "ann", true);
  await people.signIn(signedIn("bob", "1", ["ops"]));
  t.same(people.groupsOf("bob"), ["ops", "sre"], "unless an admin said that this is who is meant");
});
