import Type, { type Static } from "typebox";

export const HOST_NAME = /^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$/;
/** A host's name as declared in fleet.yaml: a DNS-like label path, lower case, at most 64 characters. */
export const HostName = Type.String({ pattern: HOST_NAME.source });
export type HostName = Static<typeof HostName>;

/** A cluster's name as declared in fleet.yaml; same alphabet as a host's. */
export const ClusterName = Type.String({ pattern: "^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$" });
export type ClusterName = Static<typeof ClusterName>;

export const Role = Type.Union([Type.Literal("auth"), Type.Literal("proxy"), Type.Literal("node")]);
export type Role = Static<typeof Role>;

/** The mandated order of roles: what is earlier here moves earlier in a hop. */
export const ROLE_ORDER: readonly Role[] = ["auth", "proxy", "node"];

/** A lower-case SHA-256 in hex. Plans are named by one, artifacts and backups are checked against one. */
export const Sha256 = Type.String({ pattern: "^[0-9a-f]{64}$" });
export type Sha256 = Static<typeof Sha256>;

/**
 * The durable id of one step: `<run>/<stage>/<host>/<index in program>/<attempt>`. The same id never means two
 * different things, so an agent can answer a repeated step from its journal (I7).
 */
export const StepId = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9._:-]*(?:/[A-Za-z0-9][A-Za-z0-9._:-]*){1,7}$",
  maxLength: 256,
});
export type StepId = Static<typeof StepId>;

export const Version = Type.String({
  pattern: "^[0-9]+\\.[0-9]+\\.[0-9]+(?:-[0-9A-Za-z.-]+)?(?:\\+[0-9A-Za-z.-]+)?$",
  maxLength: 64,
});

/** No step takes longer than two days; a timer of more than 24.8 days would fire at once. */
export const MAX_STEP_MS = 172_800_000;
