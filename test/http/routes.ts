import type { Access } from "@belay/controller/http/access";
import { Doors } from "@belay/controller/http/doors/doors";
import { DOOR_LIMITS } from "@belay/controller/http/doors/limits";
import { addRoutes } from "@belay/controller/http/routes";
import { makeServer } from "@belay/controller/http/server";
import type { Services } from "@belay/controller/http/services";
import { pino } from "pino";

export interface Route {
  readonly method: string;
  /** `/v1/runs/:run` */
  readonly url: string;
  /** What the route itself says; empty: nothing. */
  readonly access: readonly Access[];
}

/** The table that fastify itself has of the routes, HEAD and all, so that no new one can be forgotten. */
export function everyRoute(): Route[] {
  const routes: Route[] = [];
  const log = pino({ level: "silent" });
  const doors = new Doors({ limits: DOOR_LIMITS, now: Date.now, log });
  const server = makeServer({ log, doors } as Parameters<typeof makeServer>[0]);
  server.addHook("onRoute", ({ method, url, config }) => {
    const { access = [] } = config ?? {};
    for (const one of [method].flat())
      routes.push({ method: one, url, access: typeof access === "string" ? [access] : access });
  });
  // Handlers are not called here: that they get no services is seen by nobody.
  addRoutes(server, {} as Services);
  return routes;
}
