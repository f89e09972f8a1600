import { AUDITED_ROUTES } from "@belay/controller/http/audited-routes";
import t from "tap";
import { everyRoute } from "../http/routes.js";

const READING = ["GET", "HEAD", "OPTIONS"];
/** What a command must never have kept of it, by whatever name. */
const SECRET = /token$|secret|password|private|key$|csr|code|proof|^raw$/i;

t.test("no route that changes something is without its word in the audit log", async (t) => {
  const changing = everyRoute().filter(({ method }) => !READING.includes(method));
  const routes = changing.map(({ method, url }) => `${method} ${url}`);
  t.ok(routes.length >= 20, `${routes.length} routes`);
  t.same(
    routes.filter((route) => AUDITED_ROUTES[route] === undefined),
    [],
    "to be added to http/audited-routes.ts",
  );
});

t.test("no member that could be a secret is kept of any", async (t) => {
  for (const [route, kept] of Object.entries(AUDITED_ROUTES)) {
    const { params = [], query = [], body = [], answer = [] } = kept ?? {};
    const names = [...params, ...query, ...body, ...answer].filter((name) => SECRET.test(name));
    // The id of an API token is no secret: it is how people name one to be revoked.
    t.same(names, route === "DELETE /v1/tokens/:token" ? ["token"] : [], route);
  }
});
