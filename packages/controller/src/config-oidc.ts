import { BelayError } from "@belay/shared";
import Type, { type Static } from "typebox";
import { ROLES, type Role } from "./people/roles.js";

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const Text = Type.String({ minLength: 1, maxLength: 512 });
const Values = Type.Array(Text, { maxItems: 1_000 });

/** `oidc:` of belayd.yaml: the provider through which people sign in. */
export const OidcFile = Type.Object(
  {
    issuer: Text,
    clientId: Text,
    /** Absent: a public client, which has none. */
    clientSecretFile: Type.Optional(Text),
    /** belayd's own `/v1/login/callback` as browsers reach it; absent: no sign-in by browser. */
    redirectUri: Type.Optional(Text),
    scopes: Type.Optional(Type.Array(Type.String({ pattern: "^[\\x21-\\x7e]+$" }), { minItems: 1, maxItems: 32 })),
    /** Which of the provider's claims are a person's name and groups. */
    claims: Type.Optional(
      Type.Object({ name: Type.Optional(Text), groups: Type.Optional(Text) }, { additionalProperties: false }),
    ),
    /** Whom each role is for: the provider's groups, or `*`. */
    roles: Type.Object(
      {
        viewer: Type.Optional(Values),
        operator: Type.Optional(Values),
        approver: Type.Optional(Values),
        admin: Type.Optional(Values),
      },
      { additionalProperties: false },
    ),
    sessionHours: Type.Optional(Type.Number({ minimum: 0.01, maximum: 720 })),
    idleMinutes: Type.Optional(Type.Number({ minimum: 0.01, maximum: 43_200 })),
  },
  { additionalProperties: false },
);

export interface OidcConfig {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecretFile: string | null;
  readonly redirectUri: string | null;
  readonly scopes: readonly string[];
  readonly claims: { readonly name: string; readonly groups: string };
  readonly roles: Readonly<Record<Role, readonly string[]>>;
  /** A sign-in ends after so long, whatever happens; a browser's also when it was not used for so long. */
  readonly sessionMs: number;
  readonly idleMs: number;
}

/** Throws `config-invalid`, naming the field. `at` makes paths of the file's own folder absolute. */
export function readOidc(
  file: Static<typeof OidcFile> | undefined,
  path: string,
  at: (name: string) => string,
): OidcConfig | null {
  if (file === undefined) return null;
  checkUrl(file.issuer, "oidc.issuer", path);
  if (file.redirectUri !== undefined) checkUrl(file.redirectUri, "oidc.redirectUri", path);
  const { roles } = file;
  if (ROLES.every((role) => (roles[role] ?? []).length === 0)) {
    throw new BelayError("config-invalid", `${path}: oidc.roles gives nobody a role`, {
      hint: "Say whom each role is for, by the provider's groups: operator: [ops], approver: [sre]",
    });
  }
  return {
    issuer: file.issuer,
    clientId: file.clientId,
    clientSecretFile: file.clientSecretFile === undefined ? null : at(file.clientSecretFile),
    redirectUri: file.redirectUri ?? null,
    scopes: file.scopes ?? ["openid", "profile"],
    claims: { name: file.claims?.name ?? "preferred_username", groups: file.claims?.groups ?? "groups" },
    roles: {
      viewer: roles.viewer ?? [],
      operator: roles.operator ?? [],
      approver: roles.approver ?? [],
      admin: roles.admin ?? [],
    },
    sessionMs: (file.sessionHours ?? 12) * HOUR_MS,
    idleMs: (file.idleMinutes ?? 60) * MINUTE_MS,
  };
}

/** Over anything but https, whoever sits in between would sign in as anybody. Loopback is for tests. */
function checkUrl(text: string, field: string, path: string): void {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isLocal = url?.hostname === "localhost" || url?.hostname === "127.0.0.1" || url?.hostname === "[::1]";
  if (url?.protocol === "https:" || (url?.protocol === "http:" && isLocal)) return;
  throw new BelayError("config-invalid", `${path}: ${field}: ${text} is not an https address`);
}
