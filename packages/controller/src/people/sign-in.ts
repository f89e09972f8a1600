import { BelayError } from "@belay/shared";
import type { OidcConfig } from "../config-oidc.js";
import type { Claims } from "./provider.js";
import { ROLES, type Role } from "./roles.js";

/** Somebody as belayd will know them, made of what the provider says. */
export interface SignedIn {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
  readonly issuer: string;
  readonly subject: string;
}

const EVERYBODY = "*";

/**
 * Maps claims to a name, groups and roles. Throws `sign-in-refused` where there is no name, where an address stands for
 * one that nobody has verified, or where no role is meant for this person.
 */
export function readClaims(claims: Claims, config: Pick<OidcConfig, "claims" | "roles">): SignedIn {
  const name = claims[config.claims.name];
  if (typeof name !== "string" || name === "") {
    throw new BelayError("sign-in-refused", `the provider says nothing of ${config.claims.name}`, {
      hint: "oidc.claims.name in belayd.yaml names the claim that is a person's name; oidc.scopes may have to ask for it.",
    });
  }
  if (config.claims.name === "email" && claims.email_verified !== true) {
    throw new BelayError("sign-in-refused", `the provider has not verified ${name}`);
  }
  const groups = listOf(claims[config.claims.groups]);
  const roles = ROLES.filter((role) => config.roles[role].some((one) => one === EVERYBODY || groups.includes(one)));
  if (roles.length === 0) {
    throw new BelayError("sign-in-refused", `no role is meant for ${name}`, {
      hint: "oidc.roles in belayd.yaml says which of the provider's groups may do what.",
    });
  }
  return { name: name.toLowerCase(), roles, groups, issuer: claims.iss, subject: claims.sub };
}

function listOf(value: unknown): string[] {
  const list = Array.isArray(value) ? value : [value];
  return list.filter((one): one is string => typeof one === "string" && one !== "");
}
