import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expand, ROLES, type Role } from "@belay/controller/people/roles";
import t from "tap";
import { everyRoute, type Route } from "./routes.js";
import { HttpScene } from "./scene.js";

const routes = everyRoute();

t.test("every route says who may call it", async (t) => {
  t.ok(routes.length >= 70, `${routes.length} routes`);
  t.same(
    routes.filter(({ access }) => access.length === 0),
    [],
  );
});

t.test("the contract lists every route, and no other", async (t) => {
  const file = fileURLToPath(new URL("../../packages/controller/src/api/contract.ts", import.meta.url));
  const listed = [...readFileSync(file, "utf8").matchAll(/^ \* {3}(GET|POST|PUT|DELETE) +(\/v1\/\S+)/gm)].flatMap(
    ([, method = "", path = ""]) => {
      const bare = path.split("?")[0] ?? "";
      const [, list = ""] = /\/([a-z]+(?:\|[a-z]+)+)$/.exec(bare) ?? [];
      return list.split("|").map((word) => `${method} ${bare.replace(list, word)}`);
    },
  );
  const there = routes.filter(({ method }) => method !== "HEAD").map(({ method, url }) => `${method} ${url}`);
  // Hosts alone call these: they are no part of what people and programs of theirs are told.
  const ofHosts = ["GET /v1/artifacts/:sha256", "PUT /v1/backups/:host/:backup/copy"];
  t.same([...listed, ...ofHosts].sort(), there.sort());
});

t.test(
  "every route with every role, with nobody, and with hosts: each is let in where the route says so",
  async (t) => {
    // Hours pass between any two questions: this is about who may, not about how often.
    let hours = 0;
    const scene = await HttpScene.open(t, "", { now: () => Date.now() + hours * 3_700_000 });
    const callers = new Map<string, { token: string | null; may: (route: Route) => boolean }>();
    const host = ({ access }: Route) => access.includes("host") || access.includes("anyone");
    // Hosts come first: among what admins are let do is ending a host's token.
    callers.set("node-1", { token: null, may: host });
    callers.set("auth-1", { token: null, may: (route) => host(route) && !route.url.includes(":host") });
    for (const role of ROLES) callers.set(role, { token: await scene.personOf(role, [role]), may: hasRole([role]) });
    // A token for less than its user may do.
    const narrow = await scene.call("POST", "/v1/tokens", { body: { name: "read", user: "admin", roles: ["viewer"] } });
    callers.set("an admin's token to read", { token: narrow.body.token as string, may: hasRole(["viewer"]) });
    callers.set("root", { token: scene.token, may: hasRole(["admin"]) });
    const anyone = ({ access }: Route) => access.includes("anyone");
    callers.set("nobody", { token: null, may: anyone });
    callers.set("a wrong token", { token: "wrong-token-wrong-token", may: anyone });
    callers.set("a token with a letter more", { token: `${scene.token}x`, may: anyone });
    let asked = 0;
    for (const route of routes) {
      // Whoever is let in gets no further than to what is not there, or is no answer to the question.
      const path = route.url.replace(":host", "node-1").replace(/:[a-z0-9]+/g, "x");
      // A new one for each route, since the one before may have ended it.
      const own = { "node-1": await scene.tokenOf("node-1"), "auth-1": await scene.tokenOf("auth-1") };
      for (const [who, { token: itsToken, may }] of callers) {
        const token = own[who as keyof typeof own] ?? itsToken;
        const { status, body } = await scene.call(route.method, path, { token });
        const refused = route.method === "HEAD" ? [401, 403].includes(status) : isRefusal(status, body.error?.code);
        if (refused === may(route))
          t.fail(`${who} ${may(route) ? "may" : "may not"} ${route.method} ${path}: ${status}`);
        const expected = token === null || who.includes("wrong") || who.includes("letter") ? 401 : 403;
        if (refused && status !== expected) t.fail(`${who} is answered ${status} by ${route.method} ${path}`);
        asked += 1;
        hours += 1;
      }
    }
    t.ok(asked >= 700, `${asked} answers`);
  },
);

function hasRole(roles: readonly Role[]) {
  const all = expand(roles);
  return ({ access }: Route) => access.some((one) => one === "anyone" || all.some((role) => role === one));
}

function isRefusal(status: number, code: string | undefined): boolean {
  return (status === 401 && code === "unauthorized") || (status === 403 && code === "forbidden");
}
