import { BelayError } from "@belay/shared";
import type { FastifyRequest } from "fastify";
import type { Caller, Person } from "../people/caller.js";
import { includesRole, type Role } from "../people/roles.js";

/**
 * Who may call a route: people with a role, hosts (where the path names a `:host`, each for itself alone), or anyone.
 * Several: any of them. A route that does not say is a mistake, and nobody may call it.
 */
export type Access = Role | "host" | "anyone";

declare module "fastify" {
  interface FastifyContextConfig {
    access?: Access | readonly Access[];
  }
  interface FastifyRequest {
    caller: Caller;
  }
}

/** Throws `unauthorized` where nobody is known to ask, and `forbidden` where it is known who does, and they may not. */
export function checkAccess(request: FastifyRequest, caller: Caller): void {
  const { access = [] } = request.routeOptions.config;
  const allowed = typeof access === "string" ? [access] : access;
  if (allowed.some((one) => isOneOf(one, caller, request))) return;
  if (caller.kind === "anyone") {
    throw new BelayError("unauthorized", "no valid token", {
      hint: "Give belay an API token: belay login, or --token-file, BELAY_TOKEN_FILE or BELAY_TOKEN.",
    });
  }
  const needed = allowed.filter((one) => one !== "host" && one !== "anyone");
  if (caller.kind === "host") throw new BelayError("forbidden", `host ${caller.host} may not do this`);
  throw new BelayError("forbidden", `${caller.name} may not do this (by ${caller.via})`, {
    hint:
      needed.length === 0 ? "Only hosts do." : `It takes the role ${needed.join(" or ")}; belay whoami shows yours.`,
  });
}

/** Anyone may call it: to sign in, or to join. */
export function isOpen({ routeOptions }: FastifyRequest): boolean {
  const { access = [] } = routeOptions.config;
  return access === "anyone" || (typeof access !== "string" && access.includes("anyone"));
}

/** Whoever a record will name. The route's own declaration lets nobody else in; a route that errs there is a defect. */
export function personOf({ caller }: FastifyRequest): Person {
  if (caller.kind === "person") return caller;
  throw new TypeError("a route that acts in a person's name let somebody else in");
}

function isOneOf(access: Access, caller: Caller, request: FastifyRequest): boolean {
  if (access === "anyone") return true;
  if (access !== "host") return caller.kind === "person" && includesRole(caller.roles, access);
  if (caller.kind !== "host") return false;
  const { host } = request.params as { host?: string };
  return host === undefined || host === caller.host;
}
